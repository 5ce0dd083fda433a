//! Metadata and DescribeCluster (S14, S83, S97, S99).

use serde_json::{Value, json};

use crate::codec::ZERO_UUID;
use crate::run::{Script, plain, strict};
use crate::session::Session;

pub(super) const SCRIPTS: &[Script] = &[
    plain("metadata/known", known),
    plain("metadata/all", all),
    plain("metadata/unknown", unknown),
    plain("metadata/names", s83_names),
    plain("metadata/auto_create", s83_auto_create),
    strict("metadata/auto_create_off", auto_create_off),
    plain("metadata/by_id", s83_by_id),
    plain("metadata/operations", s97_operations),
    plain("metadata/internal", internal),
    plain("metadata/cluster", cluster),
];

/// An id that no topic has.
const NO_SUCH_ID: &str = "EREREREREREREREREREREQ";

/// A request for these names that creates nothing, from version 4 on.
fn only(names: &[&str]) -> Value {
    let topics: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
    json!({"topics": topics, "allow_auto_topic_creation": false})
}

fn known(s: &Session) {
    let (a, b) = (s.topic("a", 1), s.topic("b", 3));
    let c = s.connect();
    c.every("two topics", "Metadata", |_| only(&[&b.name, &a.name]));
    c.each("one topic twice", "Metadata", 11..=12, |_| only(&[&a.name, &a.name]));
    c.each("brokers only", "Metadata", 1..=13, |_| json!({"topics": []}));
}

fn all(s: &Session) {
    s.topic("a", 2);
    s.topic("b", 1);
    let c = s.connect();
    c.send("all topics", "Metadata", 0, json!({"topics": []})).own().answer();
    for version in 1..=13 {
        c.send("all topics", "Metadata", version, json!({"topics": null})).own().answer();
    }
}

fn unknown(s: &Session) {
    let (a, missing) = (s.topic("a", 1), s.name("missing"));
    let c = s.connect();
    c.each("one is unknown", "Metadata", 4..=13, |_| only(&[&missing, &a.name]));
}

/// S83: names that cannot be are 17, whether creation is allowed or not.
fn s83_names(s: &Session) {
    let c = s.connect();
    let long = "x".repeat(250);
    let bad = ["", ".", "..", "a/b", "with space", "ä", "colon:", "tab\t", &long];
    for name in bad {
        c.call(&format!("{:.20?} without creation", name), "Metadata", 8, only(&[name]));
    }
    for name in bad {
        c.call(&format!("{:.20?} with creation", name), "Metadata", 8, json!({"topics": [{"name": name}]}));
    }
    c.call("a bad name at the newest version", "Metadata", 13, only(&["a/b"]));
    c.call("a good name of 249 letters", "Metadata", 8, only(&[&long[1..]]));
}

fn s83_auto_create(s: &Session) {
    let c = s.connect();
    for (version, suffix) in
        [(0, "v0"), (1, "v1"), (3, "v3"), (4, "v4"), (8, "v8"), (9, "v9"), (12, "v12"), (13, "v13")]
    {
        let name = s.name(suffix);
        let request = || json!({"topics": [{"name": name}]});
        c.call("first request", "Metadata", version, request());
        s.served(&name, 1);
        c.call("once it is there", "Metadata", version, request());
    }
    // `a.b` and `a_b` would share a metric's name: whichever is second is refused.
    let (dotted, lined) = (s.name("a.b"), s.name("a_b"));
    c.quiet("Metadata", 8, json!({"topics": [{"name": dotted}]}));
    s.served(&dotted, 1);
    c.call("a name that collides", "Metadata", 8, json!({"topics": [{"name": lined}]}));
    c.call("a name that collides, again", "Metadata", 8, only(&[&lined]));
    let names = [s.name("w"), s.name("x"), s.name("w")];
    let topics: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
    c.call("two new names, one of them twice", "Metadata", 8, json!({"topics": topics}));
    s.served(&names[0], 1);
    s.served(&names[1], 1);
}

fn auto_create_off(s: &Session) {
    let (c, name) = (s.connect(), s.name("a"));
    c.each("creation is off", "Metadata", 0..=13, |_| json!({"topics": [{"name": name}]}));
}

/// Topics asked for by id, from version 12 on.
fn s83_by_id(s: &Session) {
    let (a, b) = (s.topic("a", 1), s.topic("b", 1));
    let c = s.connect();
    let topics = |topics: Value| json!({"topics": topics, "allow_auto_topic_creation": false});
    for version in 10..=13 {
        c.call("by id", "Metadata", version, topics(json!([{"topic_id": a.id, "name": null}])));
        c.call("by id and name", "Metadata", version, topics(json!([{"topic_id": a.id, "name": a.name}])));
        c.call(
            "by id and another's name",
            "Metadata",
            version,
            topics(json!([{"topic_id": a.id, "name": b.name}])),
        );
        c.call("an unknown id", "Metadata", version, topics(json!([{"topic_id": NO_SUCH_ID, "name": null}])));
        c.call("no id, no name", "Metadata", version, topics(json!([{"topic_id": ZERO_UUID, "name": null}])));
        let mixed = json!([{"topic_id": a.id, "name": null}, {"name": b.name}]);
        c.call("one by id, one by name", "Metadata", version, topics(mixed));
    }
    let twice = json!([{"topic_id": a.id, "name": null}, {"topic_id": a.id, "name": null}]);
    c.call("by id, twice", "Metadata", 12, topics(twice));
    let both = json!([{"topic_id": a.id, "name": null}, {"topic_id": NO_SUCH_ID, "name": null}]);
    c.call("by id, one unknown", "Metadata", 12, topics(both));
}

/// S97: operations are int32 min unless asked for.
fn s97_operations(s: &Session) {
    let (a, c) = (s.topic("a", 1), s.connect());
    let asked = |topic: bool, cluster: bool| {
        let mut request = only(&[&a.name]);
        request["include_topic_authorized_operations"] = topic.into();
        request["include_cluster_authorized_operations"] = cluster.into();
        request
    };
    c.each("for topics", "Metadata", 8..=13, |_| asked(true, false));
    c.each("for the cluster", "Metadata", 8..=13, |_| asked(false, true));
}

fn internal(s: &Session) {
    let c = s.connect();
    let request = only(&["__consumer_offsets"]);
    c.send("the offsets topic", "Metadata", 9, request).hiding(&["partitions"]).answer();
    c.each("topics of a later day", "Metadata", 8..=8, |_| only(&["__no_such_internal_topic"]));
}

fn cluster(s: &Session) {
    let c = s.connect();
    c.every("brokers", "DescribeCluster", |_| json!({}));
    c.every("with operations", "DescribeCluster", |_| json!({"include_cluster_authorized_operations": true}));
    for kind in [2, 3, 0, -1] {
        let request = json!({"endpoint_type": kind});
        c.each(&format!("endpoints of type {kind}"), "DescribeCluster", 1..=2, |_| request.clone());
    }
    c.call("fenced brokers too", "DescribeCluster", 2, json!({"include_fenced_brokers": true}));
}
