//! DescribeGroups, ListGroups and DeleteGroups (S76).

use serde_json::{Value, json};

use super::member::{Member, alone, pair};
use crate::run::{Script, plain};
use crate::session::Session;

pub(super) const SCRIPTS: &[Script] = &[
    plain("group_admin/describe", describe),
    plain("group_admin/describe_unknown", describe_unknown),
    plain("group_admin/list", list),
    plain("group_admin/list_filtered", list_filtered),
    plain("group_admin/delete", delete),
    plain("group_admin/delete_refused", delete_refused),
];

/// Makes a group of offsets without members.
fn offsets_only(s: &Session, group: &str) -> String {
    let (topic, group) = (s.name("t"), s.name(group));
    let partitions = json!([{"partition_index": 0, "committed_offset": 1}]);
    let request = json!({"group_id": group, "topics": [{"name": topic, "partitions": partitions}]});
    let answer = s.connect().quiet("OffsetCommit", 8, request);
    assert_eq!(answer.int("topics[0].partitions[0].error_code"), 0);
    group
}

fn describe(s: &Session) {
    s.topic("t", 1);
    let (first, _second) = pair(s, "two");
    let lone = alone(s, "one");
    let empty = alone(s, "empty");
    empty.c.quiet("LeaveGroup", 5, empty.leave_request());
    let simple = offsets_only(s, "simple");
    let c = s.connect();
    let groups = json!([first.group, lone.group, empty.group, simple, lone.group]);
    c.every("five, one of them twice", "DescribeGroups", |_| json!({"groups": groups}));
    let request = json!({"groups": [lone.group], "include_authorized_operations": true});
    c.each("with operations", "DescribeGroups", 3..=6, |_| request.clone());
    c.every("none", "DescribeGroups", |_| json!({}));
    let mut waiting = Member::new(s, "joined", "waiting");
    waiting.join_quietly();
    for version in 0..=6 {
        waiting.describe("before the sync", version);
    }
}

fn describe_unknown(s: &Session) {
    let c = s.connect();
    c.every("an unknown group", "DescribeGroups", |_| json!({"groups": [s.name("missing")]}));
}

fn list(s: &Session) {
    s.topic("t", 1);
    let c = s.connect();
    let list = |label: &str| {
        for version in 0..=5 {
            c.send(label, "ListGroups", version, json!({})).own().answer();
        }
    };
    list("none yet");
    let lone = alone(s, "one");
    let mut waiting = Member::new(s, "joined", "waiting");
    waiting.join_quietly();
    offsets_only(s, "simple");
    list("stable, joined and simple");
    c.quiet("LeaveGroup", 5, lone.leave_request());
    list("the stable one is empty");
}

fn list_filtered(s: &Session) {
    s.topic("t", 1);
    let lone = alone(s, "one");
    offsets_only(s, "simple");
    let c = s.connect();
    let states: [&[&str]; 8] = [
        &["Stable"],
        &["stable"],
        &["Empty"],
        &["Empty", "Stable"],
        &["Dead"],
        &["Unknown"],
        &["no such"],
        &[""],
    ];
    for wanted in states {
        for version in [4, 5] {
            let request = json!({"states_filter": wanted});
            c.send(&format!("in state {wanted:?}"), "ListGroups", version, request).own().answer();
        }
    }
    let types: [&[&str]; 7] = [
        &["classic"],
        &["Classic"],
        &["CLASSIC", "consumer"],
        &["consumer"],
        &["share"],
        &["no such"],
        &["unknown"],
    ];
    for wanted in types {
        let request = json!({"types_filter": wanted});
        c.send(&format!("of type {wanted:?}"), "ListGroups", 5, request).own().answer();
    }
    let request = json!({"states_filter": ["Stable"], "types_filter": ["classic"]});
    c.send("stable and classic", "ListGroups", 5, request).own().answer();
    drop(lone);
}

fn delete(s: &Session) {
    s.topic("t", 1);
    let c = s.connect();
    for version in 0..=2 {
        let empty = alone(s, &format!("empty{version}"));
        c.quiet("LeaveGroup", 5, empty.leave_request());
        let simple = offsets_only(s, &format!("simple{version}"));
        let groups = json!([empty.group, simple]);
        c.call("an empty one and a simple one", "DeleteGroups", version, json!({"groups_names": groups}));
        c.call("both again", "DeleteGroups", version, json!({"groups_names": groups}));
        c.call("as described", "DescribeGroups", 6, json!({"groups": groups}));
        let fetch = json!({"groups": [{"group_id": simple, "topics": null}]});
        c.call("its offsets", "OffsetFetch", 8, fetch);
    }
}

fn delete_refused(s: &Session) {
    s.topic("t", 1);
    let c = s.connect();
    let live = alone(s, "live");
    let call = |label: &str, groups: Value| {
        c.every(label, "DeleteGroups", |_| json!({"groups_names": groups}));
    };
    call("with a member", json!([live.group]));
    call("unknown", json!([s.name("missing")]));
    call("none", json!([]));
    let simple = offsets_only(s, "simple");
    c.call(
        "one twice, one with a member",
        "DeleteGroups",
        2,
        json!({"groups_names": [simple, live.group, simple]}),
    );
}
