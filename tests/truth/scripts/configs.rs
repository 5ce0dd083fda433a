//! DescribeConfigs (S95) and DescribeTopicPartitions (S89).

use serde_json::{Value, json};

use crate::run::{Script, plain, strict};
use crate::session::Session;

pub(super) const SCRIPTS: &[Script] = &[
    plain("configs/topic", topic),
    plain("configs/topic_named", topic_named),
    strict("configs/topic_inherited", topic_inherited),
    plain("configs/broker", broker),
    strict("configs/broker_set", broker_set),
    plain("configs/refused", refused),
    plain("pages/topics", pages),
    plain("pages/several", several_pages),
    strict("pages/limit", page_limit),
];

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn resource(kind: i8, name: &str, keys: Value) -> Value {
    json!({"resource_type": kind, "resource_name": name, "configuration_keys": keys})
}

fn ask(resources: Value) -> Value {
    json!({"resources": resources, "include_synonyms": true})
}

/// Every setting of a topic: value, source, type, synonyms.
fn topic(s: &Session) {
    let topic = s.topic_with(
        "t",
        1,
        &[
            ("retention.ms", "1000"),
            ("cleanup.policy", "compact,delete"),
            ("max.message.bytes", "1048588"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("preallocate", "false"),
        ],
    );
    let c = s.connect();
    let all = json!([resource(TOPIC, &topic.name, Value::Null)]);
    c.every("all settings", "DescribeConfigs", |_| json!({"resources": all}));
    c.every("with synonyms", "DescribeConfigs", |_| ask(all.clone()));
    let documented = json!({"resources": all, "include_documentation": true});
    c.each("with documentation", "DescribeConfigs", 3..=4, |_| documented.clone());
}

fn topic_named(s: &Session) {
    let topic = s.topic("t", 1);
    let c = s.connect();
    let keys = |keys: Value| ask(json!([resource(TOPIC, &topic.name, keys.clone())]));
    c.every("two settings", "DescribeConfigs", |_| keys(json!(["retention.ms", "cleanup.policy"])));
    c.every("no settings", "DescribeConfigs", |_| keys(json!([])));
    c.every("unknown settings", "DescribeConfigs", |_| keys(json!(["no.such", "retention.ms", ""])));
    c.call("a setting twice", "DescribeConfigs", 4, keys(json!(["retention.ms", "retention.ms"])));
    let both = json!([
        resource(TOPIC, &topic.name, json!(["retention.ms"])),
        resource(TOPIC, &s.name("missing"), json!(["retention.ms"])),
        resource(BROKER, "1", json!(["num.partitions"]))
    ]);
    c.every("several resources", "DescribeConfigs", |_| json!({"resources": both}));
    let twice = json!([
        resource(TOPIC, &topic.name, json!(["retention.ms"])),
        resource(TOPIC, &topic.name, json!(["cleanup.policy"]))
    ]);
    c.call("a topic twice", "DescribeConfigs", 4, json!({"resources": twice}));
}

/// What the strict broker's settings make of a topic's.
fn topic_inherited(s: &Session) {
    let topic = s.topic_with("t", 1, &[("compression.type", "zstd")]);
    let c = s.connect();
    let keys = json!([
        "retention.ms",
        "compression.type",
        "max.message.bytes",
        "message.timestamp.type",
        "cleanup.policy"
    ]);
    c.every("inherited settings", "DescribeConfigs", |_| {
        ask(json!([resource(TOPIC, &topic.name, keys.clone())]))
    });
}

/// Broker settings that users and their tools look at.
const SETTINGS: [&str; 30] = [
    "auto.create.topics.enable",
    "broker.id",
    "broker.rack",
    "compression.type",
    "connections.max.idle.ms",
    "default.replication.factor",
    "delete.topic.enable",
    "fetch.max.bytes",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.min.session.timeout.ms",
    "log.cleanup.policy",
    "log.message.timestamp.type",
    "log.retention.bytes",
    "log.retention.hours",
    "log.retention.minutes",
    "log.retention.ms",
    "log.segment.bytes",
    "max.connections",
    "max.connections.per.ip",
    "message.max.bytes",
    "min.insync.replicas",
    "node.id",
    "num.partitions",
    "offset.metadata.max.bytes",
    "offsets.retention.minutes",
    "offsets.topic.num.partitions",
    "offsets.topic.replication.factor",
    "socket.request.max.bytes",
    "unclean.leader.election.enable",
];

fn broker(s: &Session) {
    let c = s.connect();
    let some = json!([resource(BROKER, "1", json!(SETTINGS))]);
    c.every("of broker 1", "DescribeConfigs", |_| json!({"resources": some}));
    c.call("with synonyms", "DescribeConfigs", 4, ask(some));
    let default = json!([resource(BROKER, "", Value::Null)]);
    c.every("of all brokers", "DescribeConfigs", |_| json!({"resources": default}));
    let unknown = json!([resource(BROKER, "1", json!(["no.such.setting"]))]);
    c.call("an unknown setting", "DescribeConfigs", 4, json!({"resources": unknown}));
}

fn broker_set(s: &Session) {
    let c = s.connect();
    let keys = json!([
        "auto.create.topics.enable",
        "delete.topic.enable",
        "num.partitions",
        "log.retention.ms",
        "group.max.size",
        "message.max.bytes",
        "compression.type",
        "socket.request.max.bytes"
    ]);
    c.each("settings from the file", "DescribeConfigs", 1..=4, |_| {
        ask(json!([resource(BROKER, "1", keys.clone())]))
    });
}

fn refused(s: &Session) {
    let c = s.connect();
    for name in ["2", "-1", "x", "1 ", "01"] {
        let wanted = json!([resource(BROKER, name, json!(["num.partitions"]))]);
        c.call(&format!("broker {name:?}"), "DescribeConfigs", 4, json!({"resources": wanted}));
    }
    for name in ["", "a b", "."] {
        let wanted = json!([resource(TOPIC, name, Value::Null)]);
        c.every(&format!("topic {name:?}"), "DescribeConfigs", |_| json!({"resources": wanted}));
    }
    c.every(
        "an unknown topic",
        "DescribeConfigs",
        |_| json!({"resources": [resource(TOPIC, &s.name("missing"), Value::Null)]}),
    );
    for kind in [0, 1, 3, 99, -1] {
        let wanted = json!([resource(kind, "x", Value::Null)]);
        s.connect().call(&format!("kind {kind}"), "DescribeConfigs", 4, json!({"resources": wanted}));
    }
    c.every("nothing", "DescribeConfigs", |_| json!({"resources": []}));
}

fn page(names: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> Value {
    let topics: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
    let cursor = cursor.map(|(name, partition)| json!({"topic_name": name, "partition_index": partition}));
    json!({"topics": topics, "response_partition_limit": limit, "cursor": cursor})
}

fn pages(s: &Session) {
    let (b, a) = (s.topic("b", 2), s.topic("a", 3));
    let (missing, c) = (s.name("missing"), s.connect());
    let call = |label: &str, request: Value| {
        c.call(label, "DescribeTopicPartitions", 0, request);
    };
    call("two topics", page(&[&b.name, &a.name], 2000, None));
    call("one twice", page(&[&a.name, &a.name], 2000, None));
    call("one unknown", page(&[&missing, &a.name], 2000, None));
    call("bad names", page(&["", "a b"], 2000, None));
    for limit in [4, 3, 1, 0, -1] {
        call(&format!("{limit} partitions"), page(&[&b.name, &a.name], limit, None));
    }
    call("from the second topic", page(&[&b.name, &a.name], 2000, Some((&b.name, 0))));
    call("from inside the first", page(&[&b.name, &a.name], 2000, Some((&a.name, 2))));
    call("from behind a topic's end", page(&[&b.name, &a.name], 2000, Some((&a.name, 7))));
    call("from an unknown topic between", page(&[&b.name, &a.name], 2000, Some((&s.name("aa"), 0))));
    call("from behind all", page(&[&b.name, &a.name], 2000, Some((&s.name("z"), 0))));
    call("from partition -1", page(&[&a.name], 2000, Some((&a.name, -1))));
}

/// The whole walk, page by page.
fn several_pages(s: &Session) {
    let (a, b) = (s.topic("a", 3), s.topic("b", 2));
    let c = s.connect();
    let mut cursor: Option<(String, i32)> = None;
    for turn in 1.. {
        let from = cursor.as_ref().map(|(name, partition)| (name.as_str(), *partition));
        let request = page(&[&a.name, &b.name], 2, from);
        let answer = c.call(&format!("page {turn}"), "DescribeTopicPartitions", 0, request);
        if answer.tree.at("next_cursor.topic_name").is_none() {
            break;
        }
        cursor =
            Some((answer.text("next_cursor.topic_name"), answer.int("next_cursor.partition_index") as i32));
    }
    c.send("all topics", "DescribeTopicPartitions", 0, page(&[], 2000, None)).own().answer();
}

/// The strict broker tells of three partitions at a time.
fn page_limit(s: &Session) {
    let (a, b) = (s.topic("a", 2), s.topic("b", 2));
    s.connect().call("four partitions", "DescribeTopicPartitions", 0, page(&[&a.name, &b.name], 2000, None));
}
