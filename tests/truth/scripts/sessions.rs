//! Fetch sessions (KIP-227): S24, S25, S26.

use serde_json::{Value, json};

use super::ask;
use crate::batch::Batch;
use crate::run::{Script, plain};
use crate::session::{Answer, Connection, Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[
    plain("sessions/life", life),
    plain("sessions/refused", refused),
    plain("sessions/changed", changed),
    plain("sessions/errors", errors),
    plain("sessions/names_and_ids", names_and_ids),
    plain("sessions/made_again", made_again),
    plain("sessions/forgotten", forgotten),
    plain("sessions/order", order),
];

/// A session's requests, in turn.
struct Poll<'a> {
    connection: &'a Connection,
    version: i16,
    id: i64,
    epoch: i64,
}

impl<'a> Poll<'a> {
    fn new(connection: &'a Connection, version: i16) -> Self {
        Self { connection, version, id: 0, epoch: 0 }
    }

    /// Sends the session's next request; the first makes it.
    fn poll(&mut self, label: &str, topics: Value, forgotten: Value) -> Answer {
        let request = json!({
            "max_wait_ms": 0, "min_bytes": 0, "session_id": self.id, "session_epoch": self.epoch,
            "topics": topics, "forgotten_topics_data": forgotten,
        });
        let answer = self.connection.call(label, "Fetch", self.version, request);
        if self.epoch == 0 {
            self.id = answer.int("session_id");
        }
        self.epoch += 1;
        answer
    }
}

/// Partitions of a topic from these offsets, by name or by id as the version has it.
fn of(topic: &Topic, partitions: &[(i32, i64)]) -> Value {
    let at = |(p, o): &(i32, i64)| json!({"partition": p, "fetch_offset": o, "partition_max_bytes": 10_000});
    let partitions: Vec<Value> = partitions.iter().map(at).collect();
    json!({"topic": topic.name, "topic_id": topic.id, "partitions": partitions})
}

fn forget(topic: &Topic, partitions: &[i32]) -> Value {
    json!([{"topic": topic.name, "topic_id": topic.id, "partitions": partitions}])
}

fn life(s: &Session) {
    let c = s.connect();
    for version in [7, 11, 12, 13, 18] {
        let topic = s.topic(&format!("v{version}"), 2);
        ask::append(s, &topic, &Batch::of("first"));
        let mut session = Poll::new(&c, version);
        session.poll("a session is made", json!([of(&topic, &[(0, 0), (1, 0)])]), json!([]));
        session.poll("the same record again", json!([]), json!([]));
        session.poll("from the end", json!([of(&topic, &[(0, 1)])]), json!([]));
        session.poll("nothing new", json!([]), json!([]));
        ask::append_to(s, &topic, 1, &Batch::of("second"));
        session.poll("the other partition has news", json!([]), json!([]));
        session.poll("from its end", json!([of(&topic, &[(1, 1)])]), json!([]));
        session.poll("nothing new again", json!([]), json!([]));
        let close = json!({"max_wait_ms": 0, "session_id": session.id, "session_epoch": -1, "topics": []});
        c.call("the session is closed", "Fetch", version, close);
        session.poll("and gone", json!([]), json!([]));
    }
}

/// S25: ids and epochs that do not fit.
fn refused(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let request = |id: i64, epoch: i64| json!({"max_wait_ms": 0, "session_id": id, "session_epoch": epoch, "topics": [of(&topic, &[(0, 0)])]});
    c.each("an unknown session", "Fetch", 7..=18, |_| request(123_456_789, 1));
    c.call("an unknown session, to be made", "Fetch", 12, request(123_456_789, 0));
    c.call("an unknown session, to be closed", "Fetch", 12, request(123_456_789, -1));
    c.call("no session, epoch 1", "Fetch", 12, request(0, 1));
    c.call("no session, epoch -2", "Fetch", 12, request(0, -2));
    c.call("no session, epoch -1", "Fetch", 12, request(0, -1));
    for version in [12, 13] {
        let mut session = Poll::new(&c, version);
        session.poll("a session", json!([of(&topic, &[(0, 0)])]), json!([]));
        c.call("epoch 2 instead of 1", "Fetch", version, request(session.id, 2));
        session.poll("the right epoch after it", json!([]), json!([]));
        c.call("epoch 1 again", "Fetch", version, request(session.id, 1));
        c.call("epoch -2", "Fetch", version, request(session.id, -2));
        c.call("a new session in place of the old", "Fetch", version, request(session.id, 0));
        session.poll("the old one", json!([]), json!([]));
    }
}

/// Partitions join, change and leave.
fn changed(s: &Session) {
    let (a, b) = (s.topic("a", 3), s.topic("b", 1));
    for partition in 0..3 {
        ask::append_to(s, &a, partition, &Batch::of(&format!("a{partition}")));
    }
    ask::append(s, &b, &Batch::of("b"));
    let c = s.connect();
    for version in [12, 13] {
        let mut session = Poll::new(&c, version);
        session.poll("one partition", json!([of(&a, &[(0, 1)])]), json!([]));
        session.poll("two more", json!([of(&a, &[(1, 0)]), of(&b, &[(0, 0)])]), json!([]));
        session.poll("both are still unread", json!([]), json!([]));
        session.poll("one of them goes", json!([]), forget(&b, &[0]));
        session.poll("one comes as one goes", json!([of(&a, &[(2, 0)])]), forget(&a, &[1]));
        session.poll("one that was never there goes", json!([]), forget(&b, &[0]));
        session.poll("one goes and comes at once", json!([of(&a, &[(2, 1)])]), forget(&a, &[2]));
        session.poll("what is left", json!([]), json!([]));
        let small = json!([{"topic": a.name, "topic_id": a.id, "partitions": [
            {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1}]}]);
        session.poll("other limits", small, json!([]));
    }
}

/// An error is told once, again when it changes, and the partition comes back whole.
fn errors(s: &Session) {
    let topic = s.topic("a", 2);
    ask::append(s, &topic, &Batch::of("x"));
    let c = s.connect();
    for version in [12, 13] {
        let mut session = Poll::new(&c, version);
        session.poll("out of range", json!([of(&topic, &[(0, 9), (1, 0)])]), json!([]));
        session.poll("still out of range", json!([]), json!([]));
        session.poll("back in range", json!([of(&topic, &[(0, 1)])]), json!([]));
        session.poll("and quiet", json!([]), json!([]));
        session.poll("an unknown partition joins", json!([of(&topic, &[(7, 0)])]), json!([]));
        session.poll("still unknown", json!([]), json!([]));
    }
    let missing = Topic { name: s.name("missing"), id: "EREREREREREREREREREREQ".to_owned() };
    for version in [12, 13] {
        let mut session = Poll::new(&c, version);
        session.poll("an unknown topic", json!([of(&missing, &[(0, 0)]), of(&topic, &[(1, 0)])]), json!([]));
        session.poll("unknown as before", json!([]), json!([]));
        session.poll("and forgotten", json!([]), forget(&missing, &[0]));
    }
}

/// S25: a session is by name or by id, for its whole life.
fn names_and_ids(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    for (first, second) in [(12, 13), (13, 12), (18, 7)] {
        let mut session = Poll::new(&c, first);
        session.poll("a session", json!([of(&topic, &[(0, 0)])]), json!([]));
        session.version = second;
        session.poll("at another version", json!([]), json!([]));
        session.version = first;
        session.epoch = 1;
        session.poll("and back", json!([]), json!([]));
        session.poll("and on", json!([]), json!([]));
    }
}

/// A topic made again under a session.
fn made_again(s: &Session) {
    let old = s.topic("a", 1);
    ask::append(s, &old, &Batch::of("old"));
    let (c, d) = (s.connect(), s.connect());
    let mut by_name = Poll::new(&c, 12);
    by_name.poll("by name", json!([of(&old, &[(0, 1)])]), json!([]));
    let mut by_id = Poll::new(&d, 13);
    by_id.poll("by id", json!([of(&old, &[(0, 1)])]), json!([]));
    s.connect().quiet("DeleteTopics", 5, json!({"topic_names": [old.name], "timeout_ms": 30_000}));
    s.gone(&old.name);
    by_name.poll("by name, gone", json!([]), json!([]));
    by_id.poll("by id, gone", json!([]), json!([]));
    let new = s.topic("a", 1);
    ask::append(s, &new, &Batch::many(2));
    by_name.poll("by name, made again", json!([]), json!([]));
    by_id.poll("by id, made again", json!([]), json!([]));
    by_id.poll("the new id joins", json!([of(&new, &[(0, 0)])]), json!([]));
    by_id.poll("the old one goes", json!([]), forget(&old, &[0]));
}

/// S25: with its last partition a session goes.
fn forgotten(s: &Session) {
    let topic = s.topic("a", 2);
    let c = s.connect();
    for version in [7, 12, 13] {
        let mut session = Poll::new(&c, version);
        session.poll("two partitions", json!([of(&topic, &[(0, 0), (1, 0)])]), json!([]));
        session.poll("one goes", json!([]), forget(&topic, &[0]));
        session.poll("the last goes", json!([]), forget(&topic, &[1]));
        session.poll("the session is gone", json!([of(&topic, &[(0, 0)])]), json!([]));
    }
    let mut empty = Poll::new(&c, 12);
    empty.poll("a session of nothing", json!([]), json!([]));
}

/// S26: with room for one batch, partitions take turns.
fn order(s: &Session) {
    let topic = s.topic("a", 3);
    for partition in 0..3 {
        ask::append_to(s, &topic, partition, &Batch::sized(500));
    }
    let c = s.connect();
    let request = |id: i64, epoch: i64, topics: Value| json!({"max_wait_ms": 0, "min_bytes": 0, "max_bytes": 600, "session_id": id, "session_epoch": epoch, "topics": topics});
    let all = json!([of(&topic, &[(0, 0), (1, 0), (2, 0)])]);
    let made = c.call("room for one batch", "Fetch", 12, request(0, 0, all));
    for epoch in 1..=4 {
        c.call(&format!("turn {epoch}"), "Fetch", 12, request(made.int("session_id"), epoch, json!([])));
    }
}
