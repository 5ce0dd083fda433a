//! Classic groups, one member and one request at a time (S62, S63, S69, S70, S72, S77).

use serde_json::{Value, json};

use super::member::{Member, alone, pair, subscription};
use crate::run::{Script, plain, strict};
use crate::session::Session;

pub(super) const SCRIPTS: &[Script] = &[
    plain("groups/coordinator", coordinator),
    plain("groups/coordinator_keys", coordinator_keys),
    plain("groups/join", join),
    plain("groups/join_refused", join_refused),
    plain("groups/join_timeouts", join_timeouts),
    plain("groups/join_protocols", join_protocols),
    plain("groups/join_ids", join_ids),
    plain("groups/sync", sync),
    plain("groups/sync_refused", sync_refused),
    plain("groups/heartbeat", heartbeat),
    plain("groups/leave", leave),
    plain("groups/leave_several", leave_several),
    strict("groups/limits", limits),
    strict("groups/initial_delay", initial_delay),
    strict("groups/session_timeout", session_timeout),
];

/// Where a group's coordinator is, in the form of all versions.
fn find(kind: i8, keys: &[&str]) -> Value {
    json!({"key": keys.first(), "key_type": kind, "coordinator_keys": keys})
}

fn coordinator(s: &Session) {
    let (c, group) = (s.connect(), s.name("g"));
    c.every("of a group", "FindCoordinator", |_| find(0, &[&group]));
    c.every("of no name", "FindCoordinator", |_| find(0, &[""]));
    for kind in [3, 9, -1] {
        c.each(&format!("of kind {kind}"), "FindCoordinator", 1..=6, |_| find(kind, &[&group]));
    }
}

fn coordinator_keys(s: &Session) {
    let c = s.connect();
    let (a, b) = (s.name("a"), s.name("b"));
    c.each("of two groups", "FindCoordinator", 4..=6, |_| find(0, &[&a, &b]));
    c.each("of none", "FindCoordinator", 4..=6, |_| json!({"key_type": 0}));
    c.each("of one, twice", "FindCoordinator", 4..=6, |_| find(0, &[&a, &a]));
    c.each("of one with and one without name", "FindCoordinator", 4..=6, |_| find(0, &[&a, ""]));
    for key in ["g", "", "g:EREREREREREREREREREREQ:x", "g:not-an-id:0", ":EREREREREREREREREREREQ:0"] {
        c.each(&format!("of a share group's {key:?}"), "FindCoordinator", 4..=6, |_| find(2, &[key]));
    }
}

/// S63: from version 4 on a new member is first given an id.
fn join(s: &Session) {
    for version in 0..=9 {
        let mut member = Member::new(s, &format!("v{version}"), "alone");
        let first = member.join_now("a new member", version);
        if first.int("error_code") == 79 {
            member.join_now("with the id it was given", version);
        }
        member.join_now("once more, before it syncs", version);
        member.sync_quietly();
        member.join_now("once more, when all is stable", version);
    }
}

fn join_refused(s: &Session) {
    let c = s.connect();
    let plain = Member::new(s, "a", "x");
    let request = |field: &str, value: Value| {
        let mut request = plain.join_request();
        request[field] = value;
        request
    };
    c.every("no group", "JoinGroup", |_| request("group_id", "".into()));
    c.every("an unknown member", "JoinGroup", |_| request("member_id", "nobody".into()));
    c.every("no protocols", "JoinGroup", |_| request("protocols", json!([])));
    c.every("no kind of protocol", "JoinGroup", |_| request("protocol_type", "".into()));
    c.call("all of it", "JoinGroup", 9, json!({"protocol_type": ""}));
    let member = alone(s, "there");
    let mut other = member.join_request();
    other["member_id"] = "nobody".into();
    c.every("an unknown member of a group that is there", "JoinGroup", |_| other.clone());
}

/// S62: sessions of 6 s to 30 min.
fn join_timeouts(s: &Session) {
    for (i, timeout) in [0, -1, 5_999, 6_000, 1_800_000, 1_800_001, i32::MAX].into_iter().enumerate() {
        let mut member = Member::new(s, &format!("s{i}"), "x");
        member.session_ms = timeout;
        member.join(&format!("a session of {timeout} ms"), 3).answer();
        member.join(&format!("a session of {timeout} ms"), 9).answer();
    }
    for (i, timeout) in [0, -1, i32::MAX].into_iter().enumerate() {
        let mut member = Member::new(s, &format!("r{i}"), "x");
        member.rebalance_ms = timeout;
        member.join(&format!("a rebalance of {timeout} ms"), 9).answer();
    }
}

/// S62: one kind of protocol, and one that all have in common.
fn join_protocols(s: &Session) {
    let mut first = alone(s, "a");
    let text = |name: &str| (name.to_owned(), subscription(&["t"]));
    let mut other = Member::new(s, "a", "other");
    for (label, kind, protocols) in [
        ("another kind", "connect", &["range"][..]),
        ("none in common", "consumer", &["roundrobin", "sticky"]),
        ("another kind and none in common", "connect", &["sticky"]),
        ("none", "consumer", &[]),
    ] {
        other.protocols = protocols.iter().map(|name| text(name)).collect();
        let mut request = other.join_request();
        request["protocol_type"] = kind.into();
        for version in [3, 6, 7, 9] {
            other.c.call(label, "JoinGroup", version, request.clone());
        }
    }
    first.protocols = vec![text("sticky")];
    first.join_now("the only member with another protocol", 9);
    let odd =
        Member { protocols: vec![text(""), text("range"), text("range")], ..Member::new(s, "b", "odd") };
    odd.join("a protocol without name and one twice", 3).answer();
    let spoken = |words: &str| vec![("range".to_owned(), json!(words))];
    let mut odd = Member { protocols: spoken("x"), ..Member::new(s, "c", "odd") };
    odd.join_now("a subscription cut short", 3);
    odd.sync("its sync", 3, &[(&odd, "words")]).answer();
    odd.describe("as it is described", 5);
    let odd = Member { protocols: spoken("this is no subscription"), ..Member::new(s, "d", "odd") };
    odd.c.wait_only(std::time::Duration::from_secs(3));
    odd.join("a subscription that does not parse", 3).answer();
}

/// KIP-394: ids that were given, and whose they are.
fn join_ids(s: &Session) {
    let mut a = Member::new(s, "a", "a");
    a.join_now("gets an id", 4);
    let mut b = Member::new(s, "a", "b");
    b.join_now("gets an id too", 9);
    b.heartbeat("of a member that has not joined", 4);
    let joining = a.join("joins with its id", 4);
    let c = s.connect();
    c.call("an id for a third", "JoinGroup", 9, Member::new(s, "a", "c").join_request());
    let mut left = a.leave_request();
    left["members"] = json!([{"member_id": b.id}]);
    c.call("the second gives its id back", "LeaveGroup", 5, left.clone());
    c.call("and again", "LeaveGroup", 5, left);
    let answer = b.join("with the id it gave back", 9).answer();
    assert_eq!(answer.int("error_code"), 25);
    drop(joining);
}

fn sync(s: &Session) {
    for version in 0..=5 {
        let mut member = Member::new(s, &format!("v{version}"), "alone");
        member.join_quietly();
        member.sync("its own assignment", version, &[(&member, "mine")]).answer();
        member.sync("again, with another", version, &[(&member, "other")]).answer();
        member.sync("again, without", version, &[]).answer();
    }
    let mut bare = Member::new(s, "bare", "alone");
    bare.join_quietly();
    bare.sync("nothing assigned", 5, &[]).answer();
    let mut odd = Member::new(s, "odd", "alone");
    odd.join_quietly();
    let mut request = odd.sync_request(&[(&odd, "mine")]);
    request["assignments"] = json!([
        {"member_id": odd.id, "assignment": "first"}, {"member_id": "nobody", "assignment": "x"},
        {"member_id": odd.id, "assignment": "second"}]);
    odd.c.call("assigned twice, and to nobody", "SyncGroup", 5, request);
}

fn sync_refused(s: &Session) {
    let member = alone(s, "a");
    let request = |field: &str, value: Value| {
        let mut request = member.sync_request(&[(&member, "mine")]);
        request[field] = value;
        request
    };
    let c = s.connect();
    c.every("no group", "SyncGroup", |_| request("group_id", "".into()));
    c.every("an unknown group", "SyncGroup", |_| request("group_id", s.name("missing").into()));
    c.every("an unknown member", "SyncGroup", |_| request("member_id", "nobody".into()));
    c.every("no member", "SyncGroup", |_| request("member_id", "".into()));
    c.every("an older generation", "SyncGroup", |_| request("generation_id", 0.into()));
    c.every("a later generation", "SyncGroup", |_| request("generation_id", 9.into()));
    c.every("generation -1", "SyncGroup", |_| request("generation_id", (-1).into()));
    c.each("an unknown instance", "SyncGroup", 3..=5, |_| request("group_instance_id", "i".into()));
    c.each("another kind of protocol", "SyncGroup", 4..=5, |_| request("protocol_type", "connect".into()));
    c.each("another protocol", "SyncGroup", 4..=5, |_| request("protocol_name", "sticky".into()));
    c.each("no kind of protocol", "SyncGroup", 4..=5, |_| request("protocol_type", Value::Null));
    c.each("no protocol", "SyncGroup", 4..=5, |_| request("protocol_name", Value::Null));
    let mut both = request("protocol_name", Value::Null);
    both["generation_id"] = 9.into();
    both["member_id"] = "nobody".into();
    c.call("all of it", "SyncGroup", 5, both);
}

fn heartbeat(s: &Session) {
    let mut member = Member::new(s, "a", "alone");
    member.join_quietly();
    for version in 0..=4 {
        member.heartbeat("before the sync", version);
    }
    member.sync_quietly();
    for version in 0..=4 {
        member.heartbeat("when all is stable", version);
    }
    let request = |field: &str, value: Value| {
        let mut request = member.heartbeat_request();
        request[field] = value;
        request
    };
    let c = s.connect();
    c.every("no group", "Heartbeat", |_| request("group_id", "".into()));
    c.every("an unknown group", "Heartbeat", |_| request("group_id", s.name("missing").into()));
    c.every("an unknown member", "Heartbeat", |_| request("member_id", "nobody".into()));
    c.every("no member", "Heartbeat", |_| request("member_id", "".into()));
    c.every("an older generation", "Heartbeat", |_| request("generation_id", 0.into()));
    c.every("a later generation", "Heartbeat", |_| request("generation_id", 9.into()));
    c.every("generation -1", "Heartbeat", |_| request("generation_id", (-1).into()));
    c.each("an unknown instance", "Heartbeat", 3..=4, |_| request("group_instance_id", "i".into()));
    c.quiet("LeaveGroup", 5, member.leave_request());
    c.every("of one that left", "Heartbeat", |_| member.heartbeat_request());
}

fn leave(s: &Session) {
    let c = s.connect();
    for version in 0..=5 {
        let member = alone(s, &format!("v{version}"));
        c.call("the only member", "LeaveGroup", version, member.leave_request());
        c.call("a member that left", "LeaveGroup", version, member.leave_request());
        member.describe("what is left", 5);
    }
    let request = |group: &str, member: &str| json!({"group_id": group, "member_id": member, "members": [{"member_id": member}]});
    c.every("no group", "LeaveGroup", |_| request("", "m"));
    c.every("an unknown group", "LeaveGroup", |_| request(&s.name("missing"), "m"));
    let member = alone(s, "a");
    c.every("an unknown member", "LeaveGroup", |_| request(&member.group, "m"));
    c.every("no member", "LeaveGroup", |_| request(&member.group, ""));
    member.heartbeat("the member is still there", 4);
}

/// S72: from version 3 on several may leave in one request.
fn leave_several(s: &Session) {
    let c = s.connect();
    for version in 3..=5 {
        let (first, second) = pair(s, &format!("v{version}"));
        let members = json!([
            {"member_id": "nobody"}, {"member_id": first.id, "reason": "enough"}, {"member_id": second.id},
            {"member_id": second.id}, {"member_id": "", "group_instance_id": "unknown"}]);
        c.call(
            "two, one of them twice, and two unknown",
            "LeaveGroup",
            version,
            json!({"group_id": first.group, "members": members}),
        );
        first.describe("what is left", 5);
    }
    c.each("nobody", "LeaveGroup", 3..=5, |_| json!({"group_id": s.name("v3"), "members": []}));
    let (mut first, second) = pair(s, "one");
    c.call("one of two", "LeaveGroup", 5, second.leave_request());
    first.heartbeat("the other is told to join again", 4);
    first.join_now("and joins", 9);
}

/// The strict profile allows two members and sessions of 1 s to 20 s.
fn limits(s: &Session) {
    for (i, timeout) in [999, 1_000, 20_000, 20_001].into_iter().enumerate() {
        let mut member = Member::new(s, &format!("s{i}"), "x");
        member.session_ms = timeout;
        member.join(&format!("a session of {timeout} ms"), 9).answer();
    }
    let member = |name: &str| Member { session_ms: 20_000, ..Member::new(s, "full", name) };
    let (mut a, mut b, mut third) = (member("a"), member("b"), member("third"));
    a.get_id();
    b.get_id();
    let (joining_a, joining_b) = (a.join("", 9), b.join("", 9));
    let (a_joined, b_joined) = (joining_a.quiet(), joining_b.quiet());
    a.take(&a_joined);
    b.take(&b_joined);
    third.join_now("a third asks for an id", 9);
    third.join_now("and joins with it", 9);
    third.id.clear();
    for version in [0, 3] {
        third.join("a third at an older version", version).answer();
    }
}

/// S64: the first member of a new group waits for others.
fn initial_delay(s: &Session) {
    let mut member = Member { session_ms: 20_000, ..Member::new(s, "a", "x") };
    member.get_id();
    let wait = std::time::Duration::from_millis(1000);
    let answer = member.c.timed("alone in a new group", "JoinGroup", 9, wait, member.join_request());
    member.take(&answer);
    member.sync_quietly();
    member.c.timed("again", "JoinGroup", 9, wait, member.join_request());
}

/// A member that is silent longer than its session is gone.
fn session_timeout(s: &Session) {
    let mut member = Member { session_ms: 1_500, ..Member::new(s, "a", "x") };
    member.join_quietly();
    member.sync_quietly();
    member.heartbeat("in time", 4);
    member.until(s, "Empty");
    member.heartbeat("too late", 4);
    member.describe("nobody is left", 5);
    member.join("with the id it had", 9).answer();
    member.id.clear();
    member.join_quietly();
    member.sync_quietly();
    member.heartbeat("as a new member", 4);
}
