//! AlterConfigs and IncrementalAlterConfigs (S96).

use serde_json::{Value, json};

use crate::run::{Script, plain};
use crate::session::{Connection, Session};

pub(super) const SCRIPTS: &[Script] = &[
    plain("alter_configs/replace", replace),
    plain("alter_configs/each", each),
    plain("alter_configs/lists", lists),
    plain("alter_configs/values", values),
    plain("alter_configs/validate_only", validate_only),
    plain("alter_configs/malformed", malformed),
    plain("alter_configs/several", several),
    plain("alter_configs/unknown", unknown),
    plain("alter_configs/brokers", brokers),
    plain("alter_configs/others", others),
    plain("alter_configs/internal", internal),
];

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;

const OLD: &str = "AlterConfigs";
const NEW: &str = "IncrementalAlterConfigs";

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Keys with values, as AlterConfigs has them.
fn all(kind: i8, name: &str, configs: &[(&str, Value)]) -> Value {
    let configs: Vec<_> = configs.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({"resource_type": kind, "resource_name": name, "configs": configs})
}

/// Keys with operations and values, as IncrementalAlterConfigs has them.
fn ops(kind: i8, name: &str, ops: &[(&str, i8, Value)]) -> Value {
    let config =
        |(name, op, value): &(&str, i8, Value)| json!({"name": name, "config_operation": op, "value": value});
    let configs: Vec<_> = ops.iter().map(config).collect();
    json!({"resource_type": kind, "resource_name": name, "configs": configs})
}

fn of(resource: Value) -> Value {
    json!({"resources": [resource]})
}

const WATCHED: [&str; 5] =
    ["retention.ms", "cleanup.policy", "segment.bytes", "flush.ms", "max.message.bytes"];

/// The settings as they are, once `name` has this value of its own (`None`: no own value).
fn described(s: &Session, c: &Connection, label: &str, topic: &str, name: &str, value: Option<&str>) {
    let ask = json!({"include_synonyms": true, "resources": [
        {"resource_type": TOPIC, "resource_name": topic, "configuration_keys": WATCHED}]});
    s.until("the settings are in force", || {
        let answer = s.connect().quiet("DescribeConfigs", 4, ask.clone());
        (0..WATCHED.len()).any(|row| {
            let row = format!("results[0].configs[{row}]");
            answer.text(&format!("{row}.name")) == name
                && match value {
                    Some(value) => {
                        answer.int(&format!("{row}.config_source")) == 1
                            && answer.text(&format!("{row}.value")) == value
                    }
                    None => answer.int(&format!("{row}.config_source")) != 1,
                }
        })
    });
    c.call(label, "DescribeConfigs", 4, ask);
}

fn replace(s: &Session) {
    let topic = s.topic_with("t", 1, &[("retention.ms", "5000"), ("flush.ms", "9000")]).name;
    let c = s.connect();
    for (version, ms) in [(0, "1000"), (1, "2000"), (2, "3000")] {
        let settings = [("retention.ms", json!(ms)), ("segment.bytes", json!("2000000"))];
        c.call("two settings", OLD, version, of(all(TOPIC, &topic, &settings)));
        described(s, &c, "as they are now", &topic, "retention.ms", Some(ms));
    }
    c.call("the same again", OLD, 2, of(all(TOPIC, &topic, &[("retention.ms", json!("3000"))])));
    c.call("none", OLD, 2, of(all(TOPIC, &topic, &[])));
    described(s, &c, "all gone", &topic, "retention.ms", None);
    c.every("nothing at all", OLD, |_| json!({"resources": []}));
}

fn each(s: &Session) {
    let topic = s.topic_with("t", 1, &[("flush.ms", "9000")]).name;
    let c = s.connect();
    for (version, ms) in [(0, "1000"), (1, "2000")] {
        c.call("set one", NEW, version, of(ops(TOPIC, &topic, &[("retention.ms", SET, json!(ms))])));
        described(s, &c, "the other stays", &topic, "retention.ms", Some(ms));
    }
    c.call("take one back", NEW, 1, of(ops(TOPIC, &topic, &[("retention.ms", DELETE, Value::Null)])));
    described(s, &c, "by default", &topic, "retention.ms", None);
    c.call(
        "take back what is not set",
        NEW,
        1,
        of(ops(TOPIC, &topic, &[("retention.ms", DELETE, Value::Null)])),
    );
    c.call("take back with a value", NEW, 1, of(ops(TOPIC, &topic, &[("flush.ms", DELETE, json!("3"))])));
    c.call(
        "take back what nobody knows",
        NEW,
        1,
        of(ops(TOPIC, &topic, &[("no.such", DELETE, Value::Null)])),
    );
    c.call("no changes", NEW, 1, of(ops(TOPIC, &topic, &[])));
    c.every("nothing at all", NEW, |_| json!({"resources": []}));
}

fn lists(s: &Session) {
    let topic = s.topic("t", 1).name;
    let c = s.connect();
    let policy = |label: &str, op: i8, value: &str| {
        c.call(label, NEW, 1, of(ops(TOPIC, &topic, &[("cleanup.policy", op, json!(value))])));
    };
    policy("append to the default", APPEND, "compact");
    described(s, &c, "both", &topic, "cleanup.policy", Some("delete,compact"));
    policy("append what is there", APPEND, "delete,compact");
    policy("subtract", SUBTRACT, "delete");
    described(s, &c, "compact alone", &topic, "cleanup.policy", Some("compact"));
    policy("subtract what is not there", SUBTRACT, "delete");
    policy("append nonsense", APPEND, "shred");
    policy("subtract nonsense", SUBTRACT, "shred");
    c.call("append to a number", NEW, 1, of(ops(TOPIC, &topic, &[("retention.ms", APPEND, json!("1"))])));
    c.call("subtract from a number", NEW, 1, of(ops(TOPIC, &topic, &[("flush.ms", SUBTRACT, json!("1"))])));
    c.call("append to what nobody knows", NEW, 1, of(ops(TOPIC, &topic, &[("no.such", APPEND, json!("1"))])));
}

/// What may be set, and what not: the old and the new API agree.
fn values(s: &Session) {
    let topic = s.topic("t", 1).name;
    let c = s.connect();
    for (name, value) in [
        ("retention.ms", "soon"),
        ("retention.ms", "-2"),
        ("retention.ms", ""),
        ("retention.ms", " 7 "),
        ("retention.ms", "99999999999999999999"),
        ("no.such", "1"),
        ("cleanup.policy", "shred"),
        ("compression.type", "zip"),
        ("preallocate", "maybe"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("segment.ms", "0"),
        ("min.compaction.lag.ms", "9223372036854775807"),
        ("remote.storage.enable", "true"),
    ] {
        let label = format!("{name} = {value:?}");
        c.call(&label, OLD, 2, of(all(TOPIC, &topic, &[(name, json!(value))])));
        c.call(&label, NEW, 1, of(ops(TOPIC, &topic, &[(name, SET, json!(value))])));
    }
    let both = [("flush.ms", SET, json!("7")), ("retention.ms", SET, json!("soon"))];
    c.call("one good and one bad", NEW, 1, of(ops(TOPIC, &topic, &both)));
    let lags = [("min.compaction.lag.ms", SET, json!("5")), ("max.compaction.lag.ms", SET, json!("4"))];
    c.call("two that do not go together", NEW, 1, of(ops(TOPIC, &topic, &lags)));
    described(s, &c, "nothing has changed", &topic, "flush.ms", None);
}

fn validate_only(s: &Session) {
    let topic = s.topic("t", 1).name;
    let c = s.connect();
    let only = |mut request: Value| {
        request["validate_only"] = true.into();
        request
    };
    c.every("good", OLD, |_| only(of(all(TOPIC, &topic, &[("flush.ms", json!("7"))]))));
    c.every("good", NEW, |_| only(of(ops(TOPIC, &topic, &[("flush.ms", SET, json!("7"))]))));
    c.call("bad", OLD, 2, only(of(all(TOPIC, &topic, &[("flush.ms", json!("x"))]))));
    c.call("bad", NEW, 1, only(of(ops(TOPIC, &topic, &[("flush.ms", SET, json!("x"))]))));
    c.call("unknown", NEW, 1, only(of(ops(TOPIC, &s.name("missing"), &[("flush.ms", SET, json!("7"))]))));
    described(s, &c, "nothing has changed", &topic, "flush.ms", None);
}

fn malformed(s: &Session) {
    let topic = s.topic("t", 1).name;
    let c = s.connect();
    c.every("no value", OLD, |_| {
        of(all(TOPIC, &topic, &[("flush.ms", Value::Null), ("segment.ms", Value::Null)]))
    });
    for (label, op) in [("set", SET), ("append", APPEND), ("subtract", SUBTRACT)] {
        c.call(
            &format!("{label} no value"),
            NEW,
            1,
            of(ops(TOPIC, &topic, &[("cleanup.policy", op, Value::Null)])),
        );
    }
    let twice = [("flush.ms", json!("7")), ("flush.ms", json!("8"))];
    c.call("a key twice", OLD, 2, of(all(TOPIC, &topic, &twice)));
    let twice = [("flush.ms", SET, json!("7")), ("flush.ms", DELETE, Value::Null)];
    c.call("a key twice", NEW, 1, of(ops(TOPIC, &topic, &twice)));
    described(s, &c, "nothing has changed", &topic, "flush.ms", None);
}

fn several(s: &Session) {
    let (a, b) = (s.topic("a", 1).name, s.topic("b", 1).name);
    let c = s.connect();
    let good = |name: &str, ms: &str| ops(TOPIC, name, &[("flush.ms", SET, json!(ms))]);
    let bad = |name: &str| ops(TOPIC, name, &[("flush.ms", SET, json!("x"))]);
    c.call("two topics", NEW, 1, json!({"resources": [good(&a, "1"), good(&b, "2")]}));
    described(s, &c, "the first", &a, "flush.ms", Some("1"));
    described(s, &c, "the second", &b, "flush.ms", Some("2"));
    c.call("a good one and a bad one", NEW, 1, json!({"resources": [good(&a, "3"), bad(&b)]}));
    described(s, &c, "the good one", &a, "flush.ms", Some("3"));
    c.call("a topic twice", NEW, 1, json!({"resources": [good(&a, "4"), good(&a, "5"), good(&b, "6")]}));
    described(s, &c, "the other one", &b, "flush.ms", Some("6"));
    let old = |name: &str, ms: &str| all(TOPIC, name, &[("flush.ms", json!(ms))]);
    let twice = json!({"resources": [old(&a, "4"), old(&a, "5"), old(&b, "7")]});
    s.connect().call("a topic twice", OLD, 2, twice);
}

fn unknown(s: &Session) {
    let missing = s.name("missing");
    let c = s.connect();
    let long = "x".repeat(250);
    for name in [missing.as_str(), "", "a b", ".", &long, "__cluster_metadata"] {
        let label = format!("topic {name:.24?}");
        c.call(&label, OLD, 2, of(all(TOPIC, name, &[("flush.ms", json!("7"))])));
        c.call(&label, NEW, 1, of(ops(TOPIC, name, &[("flush.ms", SET, json!("7"))])));
    }
    c.call(
        "bad settings of an unknown topic",
        NEW,
        1,
        of(ops(TOPIC, &missing, &[("flush.ms", SET, json!("x"))])),
    );
    c.call("no settings of an unknown topic", NEW, 1, of(ops(TOPIC, &missing, &[])));
    c.call("no settings of an unknown topic", OLD, 2, of(all(TOPIC, &missing, &[])));
}

/// Brokers' settings that cannot change while they run, and names that are none.
fn brokers(s: &Session) {
    let c = s.connect();
    for name in ["1", ""] {
        let label = format!("broker {name:?}");
        c.call(&format!("{label}, fixed"), NEW, 1, of(ops(BROKER, name, &[("log.dirs", SET, json!("/x"))])));
        c.call(&format!("{label}, fixed"), OLD, 2, of(all(BROKER, name, &[("node.id", json!("7"))])));
        c.call(&format!("{label}, none"), NEW, 1, of(ops(BROKER, name, &[])));
        c.call(&format!("{label}, none"), OLD, 2, of(all(BROKER, name, &[])));
        let gone = of(ops(BROKER, name, &[("log.retention.ms", DELETE, Value::Null)]));
        c.call(&format!("{label}, take back"), NEW, 1, gone);
        let append = of(ops(BROKER, name, &[("num.io.threads", APPEND, json!("7"))]));
        c.call(&format!("{label}, append to a number"), NEW, 1, append);
    }
    for name in ["2", "-1", "x"] {
        c.call(&format!("broker {name:?}"), NEW, 1, of(ops(BROKER, name, &[])));
        c.call(&format!("broker {name:?}"), OLD, 2, of(all(BROKER, name, &[])));
    }
}

fn others(s: &Session) {
    let c = s.connect();
    for kind in [0, 1, 3, 99, -1] {
        c.call(&format!("kind {kind}"), NEW, 1, of(ops(kind, "x", &[])));
        c.call(&format!("kind {kind}"), OLD, 2, of(all(kind, "x", &[])));
    }
    c.call("loggers, the old way", OLD, 2, of(all(LOGGER, "1", &[])));
    c.call("loggers of another broker", NEW, 1, of(ops(LOGGER, "2", &[])));
    c.call("loggers of no broker", NEW, 1, of(ops(LOGGER, "x", &[])));
    c.call("a logger that is not there", NEW, 1, of(ops(LOGGER, "1", &[("no.such", SET, json!("DEBUG"))])));
    c.call("append to a logger", NEW, 1, of(ops(LOGGER, "1", &[("no.such", APPEND, json!("DEBUG"))])));
    c.call("no loggers", NEW, 1, of(ops(LOGGER, "1", &[])));
}

/// The broker's own topics change as others do.
fn internal(s: &Session) {
    let c = s.connect();
    let group = s.name("g");
    s.until("the offsets topic is there", || {
        s.connect()
            .quiet("FindCoordinator", 4, json!({"key_type": 0, "coordinator_keys": [group]}))
            .int("coordinators[0].error_code")
            == 0
    });
    let topic = "__consumer_offsets";
    c.call("set", NEW, 1, of(ops(TOPIC, topic, &[("flush.ms", SET, json!("123456"))])));
    described(s, &c, "as it is", topic, "flush.ms", Some("123456"));
    c.call("take back", NEW, 1, of(ops(TOPIC, topic, &[("flush.ms", DELETE, Value::Null)])));
}
