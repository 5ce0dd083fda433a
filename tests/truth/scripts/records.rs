//! Record batches right and wrong (S35, S36, S40, S41, S42).

use serde_json::json;

use super::ask;
use crate::batch::{Batch, Codec, HEADER_BYTES, put_varint};
use crate::codec::hex;
use crate::run::{Script, plain};
use crate::session::{Connection, Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[
    plain("records/codecs", codecs),
    plain("records/number_of_batches", number_of_batches),
    plain("records/headers", headers),
    plain("records/cut", cut),
    plain("records/record_fields", record_fields),
    plain("records/record_headers", record_headers),
    plain("records/compressed_and_broken", compressed_and_broken),
    plain("records/compacted", compacted),
    plain("records/compression_type", compression_type),
    plain("records/unpacked_offsets", unpacked_offsets),
];

fn try_bytes(c: &Connection, label: &str, version: i16, topic: &Topic, bytes: &[u8]) {
    c.call(label, "Produce", version, ask::produce_bytes(topic, hex(bytes)));
}

fn codecs(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    for codec in Codec::ALL {
        let batch = Batch::many(20).codec(codec);
        c.each(&format!("{codec:?}"), "Produce", 3..=9, |_| ask::produce(&topic, &batch));
    }
    for codec in [5, 6, 7] {
        c.call(
            &format!("codec {codec}"),
            "Produce",
            9,
            ask::produce(&topic, &Batch::of("x").attributes(codec)),
        );
    }
    c.call("old readers of zstd", "Fetch", 9, ask::fetch(&topic, 600));
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 460));
}

/// S35: exactly one batch of the newest kind.
fn number_of_batches(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let (one, other) = (Batch::of("x").bytes(), Batch::of("y").bytes());
    for version in [3, 8, 9, 13] {
        try_bytes(&c, "two batches", version, &topic, &[&one[..], &other[..]].concat());
    }
    for magic in [0, 1, 3, 0xff] {
        let mut bytes = one.clone();
        bytes[16] = magic;
        try_bytes(&c, &format!("magic {magic}"), 9, &topic, &bytes);
    }
    // A message of Kafka 0.10: offset, size, checksum, magic 1, attributes, time, no key, the value "x".
    let old = [
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 23, 0xc0, 0xdd, 0x55, 0x5d, 1, 0][..],
        &[0; 8],
        &[0xff; 4],
        &[0, 0, 0, 1, b'x'],
    ]
    .concat();
    for version in [3, 9] {
        try_bytes(&c, "a message of 0.10", version, &topic, &old);
    }
    c.call("what came in", "ListOffsets", 7, ask::list_offset(&topic, -1));
}

/// S36: what the header says about itself.
fn headers(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let three = || Batch::many(3);
    let cases: [(&str, Batch); 20] = [
        ("base offset 5", three().edit(0, &5_i64.to_be_bytes())),
        ("base offset -1", three().edit(0, &(-1_i64).to_be_bytes())),
        ("leader epoch 7", three().edit(12, &7_i32.to_be_bytes())),
        ("a wrong checksum", three().edit(17, &[1, 2, 3, 4])),
        ("last delta 1 of 3 records", three().edit(23, &1_i32.to_be_bytes())),
        ("last delta 5 of 3 records", three().edit(23, &5_i32.to_be_bytes())),
        ("last delta -1", three().edit(23, &(-1_i32).to_be_bytes())),
        ("2 records said, 3 there", three().edit(23, &1_i32.to_be_bytes()).edit(57, &2_i32.to_be_bytes())),
        ("4 records said, 3 there", three().edit(23, &3_i32.to_be_bytes()).edit(57, &4_i32.to_be_bytes())),
        ("0 records", Batch::new().edit(23, &(-1_i32).to_be_bytes())),
        ("0 records said, 1 there", Batch::of("x").edit(57, &[0; 4]).edit(23, &(-1_i32).to_be_bytes())),
        ("-1 records", Batch::of("x").edit(57, &(-1_i32).to_be_bytes())),
        (
            "2147483647 records",
            three().edit(57, &i32::MAX.to_be_bytes()).edit(23, &(i32::MAX - 1).to_be_bytes()),
        ),
        ("a control batch", three().attributes(0x20)),
        ("a transactional batch without a producer", three().attributes(0x10)),
        ("a delete horizon", three().attributes(0x40)),
        ("unknown attributes", three().attributes(0x0780)),
        ("a producer without sequence", three().producer(7_000_001, 0, -1)),
        ("a producer without epoch", three().producer(7_000_002, -1, 0)),
        ("an epoch and sequence without producer", three().producer(-1, 0, 0)),
    ];
    for (label, batch) in cases {
        c.call(label, "Produce", 9, ask::produce(&topic, &batch));
    }
    c.each("a wrong checksum", "Produce", 3..=8, |_| ask::produce(&topic, &three().edit(17, &[1, 2, 3, 4])));
    c.each("base offset 5", "Produce", 3..=8, |_| {
        ask::produce(&topic, &three().edit(0, &5_i64.to_be_bytes()))
    });
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 0));
}

fn cut(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let whole = Batch::many(3).bytes();
    for length in [1, 11, 12, 17, HEADER_BYTES - 1, HEADER_BYTES, whole.len() - 1] {
        try_bytes(&c, &format!("{length} of {} bytes", whole.len()), 9, &topic, &whole[..length]);
    }
    try_bytes(&c, "a byte behind the batch", 9, &topic, &[&whole[..], &[0]].concat());
    try_bytes(&c, "17 bytes behind the batch", 9, &topic, &[&whole[..], &[0; 17]].concat());
    for (label, length) in
        [("0", 0_i32), ("48", 48), ("-1", -1), ("one less", whole.len() as i32 - 13), ("1 GiB", 1 << 30)]
    {
        let mut bytes = whole.clone();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        try_bytes(&c, &format!("a length of {label}"), 9, &topic, &bytes);
    }
    c.call("what came in", "ListOffsets", 7, ask::list_offset(&topic, -1));
}

/// A record of these varints and bytes, with its length before it.
fn record(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = Vec::new();
    put_varint(&mut out, body.len() as i64);
    out.extend(body);
    out
}

/// A signed varint.
fn v(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, value);
    out
}

fn record_fields(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let (zero, one) = (v(0), v(1));
    let good = || record(&[&[0], &zero, &zero, &one, b"k", &one, b"v", &zero]);
    let cases: [(&str, Vec<u8>); 14] = [
        ("as it should be", good()),
        ("attributes 255", record(&[&[0xff], &zero, &zero, &one, b"k", &one, b"v", &zero])),
        ("offset delta 1", record(&[&[0], &zero, &one, &one, b"k", &one, b"v", &zero])),
        ("offset delta -1", record(&[&[0], &zero, &v(-1), &one, b"k", &one, b"v", &zero])),
        ("a time delta below the base", record(&[&[0], &v(-5), &zero, &one, b"k", &one, b"v", &zero])),
        ("no key, no value", record(&[&[0], &zero, &zero, &v(-1), &v(-1), &zero])),
        ("empty key and value", record(&[&[0], &zero, &zero, &zero, &zero, &zero])),
        ("a key of length -2", record(&[&[0], &zero, &zero, &v(-2), &one, b"v", &zero])),
        ("a key longer than the record", record(&[&[0], &zero, &zero, &v(99), b"k", &one, b"v", &zero])),
        ("a byte too many inside", record(&[&[0], &zero, &zero, &one, b"k", &one, b"v", &zero, &[0]])),
        ("a length of 0", vec![0]),
        ("a length below 0", [&v(-1)[..], &good()[1..]].concat()),
        ("a length too long", [&v(99)[..], &good()[1..]].concat()),
        ("a byte behind the record", [&good()[..], &[0]].concat()),
    ];
    for (label, body) in cases {
        c.call(label, "Produce", 9, ask::produce(&topic, &Batch::of("v").body(&body)));
    }
    let long = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    let body = record(&[&[0], &long, &zero, &one, b"k", &one, b"v", &zero]);
    c.call("a varint of eleven bytes", "Produce", 9, ask::produce(&topic, &Batch::of("v").body(&body)));
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 0));
}

/// KIP-82: headers are a list; names may repeat.
fn record_headers(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let listed =
        Batch::of("x").header("b", Some("1")).header("a", None).header("b", Some("2")).header("", Some(""));
    c.call("names that repeat", "Produce", 9, ask::produce(&topic, &listed));
    let (zero, one) = (v(0), v(1));
    let with = |headers: &[&[u8]]| record(&[&[0], &zero, &zero, &one, b"k", &one, b"v", &headers.concat()]);
    let cases: [(&str, Vec<u8>); 6] = [
        ("a count of -1", with(&[&v(-1)])),
        ("a count of 2147483647", with(&[&v(i64::from(i32::MAX))])),
        ("a name of null", with(&[&one, &v(-1), &one, b"v"])),
        ("a name that is not UTF-8", with(&[&one, &v(2), &[0xc3, 0x28], &one, b"v"])),
        ("a name longer than the record", with(&[&one, &v(50), b"a", &one, b"v"])),
        ("a value of length -2", with(&[&one, &one, b"a", &v(-2)])),
    ];
    for (label, body) in cases {
        c.call(label, "Produce", 9, ask::produce(&topic, &Batch::of("v").body(&body)));
    }
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 0));
}

/// S42: what is inside counts.
fn compressed_and_broken(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let call = |label: &str, batch: &Batch| {
            c.call(&format!("{codec:?}: {label}"), "Produce", 9, ask::produce(&topic, batch));
        };
        let garbage = Batch::of("this is not compressed").attributes(codec as i16);
        call("not compressed at all", &garbage);
        let fewer = Batch::many(3).body(&Batch::many(2).encoded_records()).codec(codec);
        call("two records of three", &fewer);
        let more = Batch::many(2).body(&Batch::many(3).encoded_records()).codec(codec);
        call("three records of two", &more);
        let mut gap = Batch::of("value-0").encoded_records();
        gap.extend(record(&[&[0], &v(0), &v(5), &v(1), b"k", &v(1), b"v", &v(0)]));
        call("offset deltas 0 and 5", &Batch::many(2).body(&gap).codec(codec));
        call("empty inside", &Batch::many(2).body(&[]).codec(codec));
    }
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 0));
}

/// S40: a compacted topic takes no record without key.
fn compacted(s: &Session) {
    let topic = s.topic_with("a", 1, &[("cleanup.policy", "compact")]);
    let c = s.connect();
    let keyless = || Batch::of("fine").raw_record(None, Some(b"one")).raw_record(None, None);
    c.every("two of three without key", "Produce", |_| ask::produce(&topic, &keyless()));
    let many = (0..6).fold(Batch::new(), |b, _| b.raw_record(None, Some(b"x")));
    c.call("six without key", "Produce", 9, ask::produce(&topic, &many));
    c.call("compressed", "Produce", 9, ask::produce(&topic, &keyless().codec(Codec::Lz4)));
    c.call("an empty key", "Produce", 9, ask::produce(&topic, &Batch::new().record("", "x")));
    c.call("a tombstone", "Produce", 9, ask::produce(&topic, &Batch::new().raw_record(Some(b"k"), None)));
    let both = s.topic_with("b", 1, &[("cleanup.policy", "compact,delete")]);
    c.call("compacted and deleted", "Produce", 9, ask::produce(&both, &keyless()));
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 0));
}

/// S41: a topic's own codec wins over the sender's.
fn compression_type(s: &Session) {
    let c = s.connect();
    for kind in ["uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"] {
        let topic = s.topic_with(kind, 1, &[("compression.type", kind)]);
        for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
            let batch = Batch::many(3).codec(codec).producer(7_000_003, 2, 3 * codec as i32);
            let batch = if codec == Codec::None { batch } else { batch.producer(-1, -1, -1) };
            c.call(&format!("{codec:?} to {kind}"), "Produce", 9, ask::produce(&topic, &batch));
        }
        c.call(&format!("what {kind} holds"), "Fetch", 12, ask::fetch(&topic, 0));
    }
}

/// Offset deltas that do not count up, in a batch that is not compressed.
fn unpacked_offsets(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let mut body = Batch::of("value-0").encoded_records();
    body.extend(record(&[&[0], &v(0), &v(5), &v(1), b"k", &v(1), b"v", &v(0)]));
    c.call("deltas 0 and 5", "Produce", 9, ask::produce(&topic, &Batch::many(2).body(&body)));
    let mut body = Batch::of("value-0").encoded_records();
    body.extend(Batch::of("value-1").encoded_records());
    c.call("deltas 0 and 0", "Produce", 9, ask::produce(&topic, &Batch::many(2).body(&body)));
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 0));
    c.call(
        "its end",
        "ListOffsets",
        7,
        json!({"replica_id": -1, "topics": [
        {"name": topic.name, "partitions": [{"partition_index": 0, "timestamp": -1}]}]}),
    );
}
