//! Frames and headers: what closes a connection and what does not (S1, S2, S4, S5, S7, S10).

use serde_json::json;

use super::ask;
use crate::batch::Batch;

use crate::run::{Script, plain, strict};
use crate::schema;
use crate::session::{As, Connection, Session};

pub(super) const SCRIPTS: &[Script] = &[
    plain("connection/unsupported", s4_s5_unsupported),
    plain("connection/unknown_keys", s5_unknown_keys),
    plain("connection/frame_lengths", s1_frame_lengths),
    strict("connection/frame_limit", s1_frame_limit),
    plain("connection/foreign_protocols", foreign_protocols),
    plain("connection/headers", s2_headers),
    plain("connection/order", s7_order),
    plain("connection/pipeline", s7_pipeline),
    plain("connection/closed_behind", s8_closed_behind),
    plain("connection/bodies", bodies),
    plain("connection/tags", s10_tags),
];

/// The APIs whose versions this harness knows.
const APIS: [&str; 24] = [
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "DescribeGroups",
    "ListGroups",
    "ApiVersions",
    "CreateTopics",
    "DeleteTopics",
    "InitProducerId",
    "OffsetForLeaderEpoch",
    "DescribeConfigs",
    "CreatePartitions",
    "DeleteGroups",
    "OffsetDelete",
    "DescribeCluster",
    "DescribeTopicPartitions",
];

fn s4_s5_unsupported(s: &Session) {
    for name in APIS.into_iter().filter(|name| *name != "ApiVersions") {
        let api = schema::api(name);
        let below = (*api.versions.start() > 0).then(|| api.versions.start() - 1);
        for version in below.into_iter().chain([api.versions.end() + 1]) {
            let c = s.connect();
            let frame = c.frame_of(api.key, version, api.flexible(version), &[]);
            c.raw("no such version", &format!("{name} v{version}"), &frame, As::Nothing);
        }
    }
}

fn s5_unknown_keys(s: &Session) {
    for key in [-1, 4, 5, 6, 7, 52, 67, 93, 200, i16::MAX] {
        let c = s.connect();
        let frame = c.frame_of(key, 0, false, &[]);
        c.raw("no such API for clients", &format!("key {key} v0"), &frame, As::Nothing);
    }
}

/// The request that shows that a connection is alive.
fn alive(c: &Connection, label: &str) {
    c.send(label, "ApiVersions", 0, json!({})).hiding(&["api_keys"]).answer();
}

fn s1_frame_lengths(s: &Session) {
    for length in [-1, i32::MIN, 104_857_601, i32::MAX] {
        let c = s.connect();
        c.raw("a length out of bounds", &format!("length {length}"), &length.to_be_bytes(), As::Nothing);
    }
    for length in 0..=9_u8 {
        let c = s.connect();
        let mut frame = vec![0, 0, 0, length];
        frame.extend(&[0, 18, 0, 0, 0, 0, 0, 1, 0, 0][..usize::from(length)]);
        c.raw("a header cut short", &format!("{length} bytes of ApiVersions v0"), &frame, As::Nothing);
    }
    let c = s.connect();
    c.write(&[0, 0, 0, 100, 0, 18, 0, 0, 0, 0, 0, 1]);
    c.hang_up();
    c.raw("gone in the middle of a frame", "8 of 100 bytes, then the end", &[], As::Nothing);
}

/// The strict profile allows frames of 1,000,000 bytes.
fn s1_frame_limit(s: &Session) {
    let frame = |c: &Connection, size: usize| {
        let plain = c.frame_of(18, 0, false, &[]).len() - 4;
        c.frame_of(18, 0, false, &vec![0; size - plain])
    };
    let c = s.connect();
    c.raw(
        "just short enough",
        "1000000 bytes",
        &frame(&c, 1_000_000),
        As::Hiding("ApiVersions", 0, &["api_keys"]),
    );
    c.raw("one byte too long", "1000001 bytes", &frame(&c, 1_000_001), As::Nothing);
}

fn foreign_protocols(s: &Session) {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more of a TLS hello";
    s.connect().raw("TLS", "a TLS hello", hello, As::Nothing);
    let http = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    s.connect().raw("HTTP", "an HTTP request", http, As::Nothing);
    s.connect().raw("SSH", "an SSH banner", b"SSH-2.0-OpenSSH_9.6\r\n", As::Nothing);
}

fn s2_headers(s: &Session) {
    let header = |client: &[u8], rest: &[u8]| {
        let mut inner = vec![0, 18, 0, 0, 0xff, 0xff, 0xff, 0xfe];
        inner.extend(client);
        inner.extend(rest);
        let mut frame = (inner.len() as u32).to_be_bytes().to_vec();
        frame.extend(inner);
        frame
    };
    let read = As::Hiding("ApiVersions", 0, &["api_keys"]);
    let cases: [(&str, &[u8]); 6] = [
        ("a client id of null", &[0xff, 0xff]),
        ("an empty client id", &[0, 0]),
        ("a client id that is not UTF-8", &[0, 2, 0xc3, 0x28]),
        ("a client id of length -2", &[0xff, 0xfe]),
        ("a client id longer than the frame", &[0, 9, b'a']),
        ("a client id with odd letters", &[0, 3, b'"', b'\n', 0]),
    ];
    for (label, client) in cases {
        let c = s.connect();
        let frame = header(client, &[]);
        c.raw(label, "ApiVersions v0", &frame, read);
    }
    let c = s.connect();
    let long = [&[0x7f, 0xff][..], &[b'x'; 0x7fff][..]].concat();
    c.raw("the longest client id", "ApiVersions v0", &header(&long, &[]), read);
}

/// S7: answers come in the order of the requests, however these are cut into packets.
fn s7_order(s: &Session) {
    let c = s.connect();
    let topic = s.topic("a", 1);
    let metadata = || json!({"topics": [{"name": topic.name}]});
    let wait = json!({"max_wait_ms": 300, "min_bytes": 1, "topics": [
        {"topic": topic.name, "partitions": [{"partition": 0, "partition_max_bytes": 1000}]}]});
    let first = c.send("a fetch that waits", "Fetch", 4, wait);
    let second = c.send("behind it", "Metadata", 1, metadata());
    let third = c.send("behind both", "Metadata", 0, metadata());
    first.answer();
    second.answer();
    third.answer();

    let c = s.connect();
    for byte in c.frame("Metadata", 1, &metadata()) {
        c.write(&[byte]);
    }
    c.raw_answer("byte by byte", "Metadata v1", 1, As::Answer("Metadata", 1));
}

/// S7: produces that were sent together are appended and answered in their order, and what follows sees them all.
fn s7_pipeline(s: &Session) {
    let (topic, c) = (s.topic("a", 2), s.connect());
    let produce = |i: usize, acks: i16| {
        let mut request = ask::produce(&topic, &Batch::of(&format!("{i}")));
        request["acks"] = acks.into();
        c.send(&format!("produce {i}, acks {acks}"), "Produce", 9, request)
    };
    let mut sent: Vec<_> =
        [-1, 1, -1, -1].into_iter().enumerate().map(|(i, acks)| produce(i, acks)).collect();
    let other =
        json!([{"name": topic.name, "partition_data": [{"index": 1, "records": Batch::many(3).value()}]}]);
    let request = json!({"acks": -1, "timeout_ms": 30_000, "topic_data": other});
    sent.push(c.send("to another partition", "Produce", 9, request));
    sent.push(c.send("the end", "ListOffsets", 7, ask::list_offset(&topic, -1)));
    sent.push(c.send("all of it", "Fetch", 12, ask::fetch(&topic, 0)));
    sent.into_iter().for_each(|pending| drop(pending.answer()));
}

/// S8: what was asked before a failed acks=0 is answered, what was asked behind it is not.
fn s8_closed_behind(s: &Session) {
    let (topic, c) = (s.topic("a", 1), s.connect());
    let before = c.send("before", "Produce", 9, ask::produce(&topic, &Batch::of("x")));
    let mut broken = ask::produce(&topic, &Batch::of("y").edit(17, &[1, 2, 3, 4]));
    broken["acks"] = 0.into();
    drop(c.send("broken", "Produce", 9, broken));
    let behind = c.send("behind", "Metadata", 1, json!({"topics": []}));
    before.answer();
    behind.answer();
}

/// Bodies that do not parse close the connection; what follows a body is not looked at.
fn bodies(s: &Session) {
    let broken: [(&str, &str, i16, &[u8]); 11] = [
        ("no body", "Metadata", 1, &[]),
        ("half a count", "Metadata", 1, &[0, 0]),
        ("a count of 2147483647", "Metadata", 1, &[0x7f, 0xff, 0xff, 0xff]),
        ("a name longer than the body", "Metadata", 1, &[0, 0, 0, 1, 0, 9, b'a']),
        ("a name that is null", "Metadata", 1, &[0, 0, 0, 1, 0xff, 0xff]),
        ("a name of length -2", "Metadata", 1, &[0, 0, 0, 1, 0xff, 0xfe]),
        ("a compact count of 4294967295", "Metadata", 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("a varint of six bytes", "Metadata", 9, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ("a compact name that is null", "Metadata", 9, &[2, 0, 0, 0, 0, 0, 0]),
        ("no tagged fields", "Metadata", 9, &[1, 0, 0, 0]),
        ("a tag longer than the body", "Metadata", 9, &[1, 0, 0, 0, 1, 0, 9, 0]),
    ];
    for (label, api, version, body) in broken {
        let c = s.connect();
        let shown = format!("{api} v{version} {body:?}");
        let api = schema::api(api);
        let frame = c.frame_of(api.key, version, api.flexible(version), body);
        c.raw(label, &shown, &frame, As::Nothing);
    }
    let c = s.connect();
    let frame = c.frame_of(3, 1, false, &[0, 0, 0, 0, b'm', b'o', b'r', b'e']);
    c.raw("bytes after the body", "Metadata v1 and 4 bytes", &frame, As::Answer("Metadata", 1));
    let frame = c.frame_of(3, 1, false, &[0xff, 0xff, 0xff, 0xfe]);
    c.raw("a count of -2", "Metadata v1", &frame, As::Hiding("Metadata", 1, &["topics"]));
    let frame = c.frame_of(3, 4, false, &[0, 0, 0, 0, 7]);
    c.raw("a bool of 7", "Metadata v4", &frame, As::Answer("Metadata", 4));
    let frame = c.frame_of(3, 1, false, &[0, 0, 0, 1, 0, 2, 0xc3, 0x28]);
    c.raw("a name that is not UTF-8", "Metadata v1", &frame, As::Answer("Metadata", 1));
    alive(&c, "the connection goes on");
}

/// S10: unknown tagged fields are skipped, wherever they stand.
fn s10_tags(s: &Session) {
    let c = s.connect();
    let none: &[u8] = &[1, 0, 0, 0];
    let cases: [(&str, &[u8]); 4] = [
        ("an unknown tag", &[1, 77, 2, 1, 2]),
        ("two unknown tags", &[2, 77, 0, 0x80, 1, 1, 9]),
        ("tags that fall", &[2, 9, 0, 8, 0]),
        ("a tag twice", &[2, 8, 0, 8, 0]),
    ];
    for (label, tags) in cases {
        let c = s.connect();
        let body = [none, tags].concat();
        let frame = c.frame_of(3, 9, true, &body);
        c.raw(
            &format!("{label} in the body"),
            &format!("Metadata v9 {tags:?}"),
            &frame,
            As::Answer("Metadata", 9),
        );
        let body = [tags, none, &[0]].concat();
        let frame = c.frame_of(3, 9, false, &body);
        c.raw(
            &format!("{label} in the header"),
            &format!("Metadata v9 {tags:?}"),
            &frame,
            As::Answer("Metadata", 9),
        );
    }
    alive(&c, "a connection goes on");
}
