//! A member of a classic consumer group, as scripts play it.

use serde_json::{Value, json};

use crate::codec::hex;
use crate::session::{Answer, Connection, Pending, Session};

/// One member with a connection of its own, named after it.
pub(super) struct Member {
    pub(super) c: Connection,
    pub(super) group: String,
    /// Empty until the broker gave one.
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) generation: i64,
    /// Protocols in order of preference, with what the member says of itself in each.
    pub(super) protocols: Vec<(String, Value)>,
    pub(super) session_ms: i32,
    pub(super) rebalance_ms: i32,
}

impl Member {
    pub(super) fn new(s: &Session, group: &str, name: &str) -> Self {
        Self {
            c: s.connect_as(name),
            group: s.name(group),
            id: String::new(),
            instance: None,
            generation: -1,
            protocols: vec![("range".to_owned(), subscription(&[&s.name("t")]))],
            session_ms: 30_000,
            rebalance_ms: 20_000,
        }
    }

    /// A member that keeps its place by an instance id.
    pub(super) fn fixed(s: &Session, group: &str, name: &str) -> Self {
        Self { instance: Some(name.to_owned()), ..Self::new(s, group, name) }
    }

    pub(super) fn join_request(&self) -> Value {
        let protocols: Vec<Value> = self
            .protocols
            .iter()
            .map(|(name, metadata)| json!({"name": name, "metadata": metadata}))
            .collect();
        json!({
            "group_id": self.group, "session_timeout_ms": self.session_ms, "rebalance_timeout_ms": self.rebalance_ms,
            "member_id": self.id, "group_instance_id": self.instance, "protocol_type": "consumer", "protocols": protocols,
        })
    }

    /// Joins; the answer is recorded where [`Self::joined`] reads it.
    pub(super) fn join(&self, label: &str, version: i16) -> Pending<'_> {
        self.c.send(label, "JoinGroup", version, self.join_request())
    }

    /// Takes id and generation from the answer of a join.
    pub(super) fn take(&mut self, answer: &Answer) {
        self.id = answer.text("member_id");
        self.generation = answer.int("generation_id");
    }

    /// Joins and waits for the answer, recorded.
    pub(super) fn join_now(&mut self, label: &str, version: i16) -> Answer {
        let answer = self.join(label, version).answer();
        self.take(&answer);
        answer
    }

    /// Gets an id without joining, unrecorded (KIP-394).
    pub(super) fn get_id(&mut self) {
        self.id.clear();
        let answer = self.c.quiet("JoinGroup", 9, self.join_request());
        assert_eq!(answer.int("error_code"), 79, "{:?}", answer.tree);
        self.id = answer.text("member_id");
    }

    /// Joins as a member that the broker knows, unrecorded; ends with the answer.
    pub(super) fn join_quietly(&mut self) {
        if self.id.is_empty() && self.instance.is_none() {
            self.get_id();
        }
        let answer = self.c.quiet("JoinGroup", 9, self.join_request());
        assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
        self.take(&answer);
    }

    pub(super) fn sync_request(&self, assignments: &[(&Self, &str)]) -> Value {
        let assign = |(member, words): &(&Self, &str)| json!({"member_id": member.id, "assignment": words});
        let assignments: Vec<Value> = assignments.iter().map(assign).collect();
        json!({
            "group_id": self.group, "generation_id": self.generation, "member_id": self.id,
            "group_instance_id": self.instance, "protocol_type": "consumer", "protocol_name": "range",
            "assignments": assignments,
        })
    }

    /// Syncs, as leader with everybody's assignment; the answer is read later.
    pub(super) fn sync(&self, label: &str, version: i16, assignments: &[(&Self, &str)]) -> Pending<'_> {
        self.c.send(label, "SyncGroup", version, self.sync_request(assignments))
    }

    /// Syncs with an assignment for this member alone, unrecorded.
    pub(super) fn sync_quietly(&self) {
        let answer = self.c.quiet("SyncGroup", 5, self.sync_request(&[(self, "mine")]));
        assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
    }

    /// What heartbeats, and syncs and commits, say of the member.
    pub(super) fn heartbeat_request(&self) -> Value {
        json!({
            "group_id": self.group, "generation_id": self.generation, "member_id": self.id,
            "group_instance_id": self.instance,
        })
    }

    pub(super) fn heartbeat(&self, label: &str, version: i16) -> Answer {
        self.c.call(label, "Heartbeat", version, self.heartbeat_request())
    }

    /// Leaves, in the form of all versions.
    pub(super) fn leave_request(&self) -> Value {
        json!({
            "group_id": self.group, "member_id": self.id,
            "members": [{"member_id": self.id, "group_instance_id": self.instance}],
        })
    }

    /// Waits until the group is in this state.
    pub(super) fn until(&self, s: &Session, state: &str) {
        let c = s.connect();
        s.until(&format!("{} is {state}", self.group), || {
            let groups = c.quiet("DescribeGroups", 5, json!({"groups": [self.group]}));
            groups.text("groups[0].group_state") == state
        });
    }

    /// Records how the group is described.
    pub(super) fn describe(&self, label: &str, version: i16) {
        self.c.call(label, "DescribeGroups", version, json!({"groups": [self.group]}));
    }
}

/// A member alone in its group, which is stable.
pub(super) fn alone(s: &Session, group: &str) -> Member {
    let mut member = Member::new(s, group, "lone");
    member.join_quietly();
    member.sync_quietly();
    member
}

/// Two members of a stable group, the leader first.
pub(super) fn pair(s: &Session, group: &str) -> (Member, Member) {
    let mut first = alone(s, group);
    let mut second = Member::new(s, group, "second");
    second.get_id();
    let joining = second.join("", 9);
    first.until(s, "PreparingRebalance");
    first.join_quietly();
    let answer = joining.quiet();
    second.take(&answer);
    let syncing = second.sync("", 5, &[]);
    let answer =
        first.c.quiet("SyncGroup", 5, first.sync_request(&[(&first, "first's"), (&second, "second's")]));
    assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
    syncing.quiet();
    (first, second)
}

/// A consumer's subscription to these topics, in version 0 of the consumer protocol.
pub(super) fn subscription(topics: &[&str]) -> Value {
    let mut out = vec![0, 0];
    out.extend((topics.len() as u32).to_be_bytes());
    for topic in topics {
        out.extend((topic.len() as u16).to_be_bytes());
        out.extend(topic.as_bytes());
    }
    out.extend((-1_i32).to_be_bytes());
    hex(&out)
}
