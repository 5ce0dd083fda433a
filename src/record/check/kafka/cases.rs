//! The batches, each with the topic it is sent to.

use crate::config::topic::Compression;
use crate::record::batch::{Attributes, BatchHeader, HEADER_LEN, edited, seal};
use crate::record::build::{BatchBuilder, NewRecord};
use crate::record::format::put_varint;
use crate::record::iter::HeaderView;
use crate::types::Codec;

/// How streamd's answer stands to Kafka's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// The same answer; the same bytes are stored.
    Same,
    /// The same answer; the same records are stored, in a batch that is made anew.
    Rebuilt,
    /// Another answer, on purpose: this code.
    Differs(i16),
}

pub(super) struct Case {
    pub(super) name: String,
    /// The topic, one for each set of configs.
    pub(super) topic_name: &'static str,
    pub(super) topic: &'static [(&'static str, &'static str)],
    pub(super) version: i16,
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) expect: Expect,
}

/// A time well in the past of every recording, and one well in the future.
const PAST: i64 = 1_500_000_000_000;
const FUTURE: i64 = 4_100_000_000_000;

type Topic = (&'static str, &'static [(&'static str, &'static str)]);
const PLAIN: Topic = ("plain", &[]);
const COMPACT: Topic = ("compact", &[("cleanup.policy", "compact")]);
const APPEND_TIME: Topic = ("append-time", &[("message.timestamp.type", "LogAppendTime")]);
const RECENT: Topic = ("recent", &[("message.timestamp.before.max.ms", "1000")]);
const SMALL: Topic = ("small", &[("max.message.bytes", "1000")]);
const SEGMENT: Topic = ("segment", &[("max.message.bytes", "3000000"), ("segment.bytes", "1048576")]);
const UNCOMPRESSED: Topic = ("uncompressed", &[("compression.type", "uncompressed")]);
const GZIP: Topic = ("gzip", &[("compression.type", "gzip")]);
const SNAPPY: Topic = ("snappy", &[("compression.type", "snappy")]);
const LZ4: Topic = ("lz4", &[("compression.type", "lz4")]);
const ZSTD: Topic = ("zstd", &[("compression.type", "zstd")]);
const SMALL_UNCOMPRESSED: Topic =
    ("small-uncompressed", &[("max.message.bytes", "1000"), ("compression.type", "uncompressed")]);
const GZIP_APPEND_TIME: Topic =
    ("gzip-append-time", &[("compression.type", "gzip"), ("message.timestamp.type", "LogAppendTime")]);
const COMPACT_GZIP: Topic = ("compact-gzip", &[("cleanup.policy", "compact"), ("compression.type", "gzip")]);
const RECENT_GZIP: Topic =
    ("recent-gzip", &[("message.timestamp.before.max.ms", "1000"), ("compression.type", "gzip")]);

/// Every case, in the order of the recording.
pub(super) fn all() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    frames(&mut cases);
    headers(&mut cases);
    record_structure(&mut cases);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        compressed(&mut cases, codec);
    }
    payloads(&mut cases);
    times(&mut cases);
    keys(&mut cases);
    recompression(&mut cases);
    cases.0
}

struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: impl Into<String>, topic: Topic, bytes: Vec<u8>, expect: Expect) {
        self.add_version(name, topic, 8, Some(bytes), expect);
    }

    fn add_version(
        &mut self,
        name: impl Into<String>,
        (topic_name, topic): Topic,
        version: i16,
        bytes: Option<Vec<u8>>,
        expect: Expect,
    ) {
        let name = format!("{topic_name}: {}", name.into());
        self.0.push(Case { name, topic_name, topic, version, bytes, expect });
    }
}

fn frames(cases: &mut Cases) {
    use Expect::Same;
    let good = batch(Codec::None, 3);
    let len = good.len();
    cases.add("a good batch", PLAIN, good.clone(), Same);
    cases.add("no bytes", PLAIN, Vec::new(), Same);
    cases.add("11 bytes", PLAIN, good[..11].to_vec(), Same);
    cases.add("16 bytes", PLAIN, good[..16].to_vec(), Same);
    cases.add("one byte short", PLAIN, good[..len - 1].to_vec(), Same);
    cases.add("two batches", PLAIN, [&good[..], &good].concat(), Same);
    cases.add("and a piece of another", PLAIN, [&good[..], &good[..30]].concat(), Same);
    cases.add("and 11 bytes", PLAIN, [&good[..], &[0; 11]].concat(), Same);
    cases.add("and 12 bytes of zeros", PLAIN, [&good[..], &[0; 12]].concat(), Same);
    let mut magic_3 = good.clone();
    magic_3[16] = 3;
    cases.add("and a piece of magic 3", PLAIN, [&good[..], &magic_3[..20]].concat(), Same);
    for magic in [0, 1, 3, 0xff] {
        let mut bytes = good.clone();
        bytes[16] = magic;
        cases.add(format!("magic {magic}"), PLAIN, bytes, Same);
    }
    for length in [-1, 0, 13, 48] {
        let mut bytes = good.clone();
        bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
        bytes.truncate(usize::try_from(length + 12).unwrap_or(0).max(20));
        cases.add(format!("length {length}"), PLAIN, bytes, Same);
    }
    let zstd = batch(Codec::Zstd, 3);
    cases.add_version("zstd in version 6", PLAIN, 6, Some(zstd.clone()), Same);
    cases.add_version("zstd in version 7", PLAIN, 7, Some(zstd), Same);
    cases.add_version("a good batch in version 3", PLAIN, 3, Some(good), Same);
}

fn headers(cases: &mut Cases) {
    use Expect::{Differs, Same};
    let good = batch(Codec::None, 3);
    let with = |edit: &dyn Fn(&mut BatchHeader)| edited(&good, edit);
    cases.add("base offset 5", PLAIN, with(&|h| h.base_offset = 5), Same);
    cases.add("base offset -1", PLAIN, with(&|h| h.base_offset = -1), Same);
    cases.add("leader epoch 9", PLAIN, with(&|h| h.partition_leader_epoch = 9), Same);
    let mut bad_crc = good.clone();
    bad_crc[20] ^= 1;
    cases.add("bad CRC", PLAIN, bad_crc, Same);
    cases.add(
        "base offset 5, bad CRC",
        PLAIN,
        {
            let mut bytes = good.clone();
            bytes[7] = 5;
            bytes[20] ^= 1;
            bytes
        },
        Same,
    );
    cases.add("no records", PLAIN, with(&|h| (h.records_count, h.last_offset_delta) = (0, -1)), Same);
    cases.add("count 0", PLAIN, with(&|h| h.records_count = 0), Same);
    cases.add("count -1", PLAIN, with(&|h| h.records_count = -1), Same);
    cases.add("count 2 of 3", PLAIN, with(&|h| h.records_count = 2), Same);
    cases.add("last offset delta -5", PLAIN, with(&|h| h.last_offset_delta = -5), Same);
    cases.add("last offset delta 7", PLAIN, with(&|h| h.last_offset_delta = 7), Same);
    let most = with(&|h| (h.records_count, h.last_offset_delta) = (i32::MAX, i32::MAX - 1));
    cases.add("2147483647 records", PLAIN, most, Same);
    cases.add("control", PLAIN, with(&|h| h.attributes = h.attributes.with_control(true)), Same);
    let producer =
        |sequence| with(&|h| (h.producer_id, h.producer_epoch, h.base_sequence) = (77, 0, sequence));
    cases.add("a producer without sequence", PLAIN, producer(-1), Same);
    cases.add("a producer with sequence", PLAIN, producer(0), Same);
    cases.add("a sequence without producer", PLAIN, with(&|h| h.base_sequence = 9), Same);
    for bits in [0x40, 0x80, 0x100] {
        cases.add(format!("attributes {bits:#x}"), PLAIN, with(&|h| h.attributes = Attributes(bits)), Same);
    }
    cases.add("attributes 0x5", PLAIN, with(&|h| h.attributes = Attributes(5)), Differs(87));
    cases.add("attributes 0x7", PLAIN, with(&|h| h.attributes = Attributes(7)), Differs(87));
    let sized = |size: usize| {
        let overhead = one(PAST, Some(b""), &[7; 200]).len() - 200;
        one(PAST, Some(b""), &vec![7; size - overhead])
    };
    cases.add("1000 bytes", SMALL, sized(1000), Same);
    cases.add("1001 bytes", SMALL, sized(1001), Same);
    cases.add("more than a segment", SEGMENT, sized(1_048_577), Same);
}

fn record_structure(cases: &mut Cases) {
    use Expect::{Differs, Same};
    let mut add = |name: &str, records: &[Vec<u8>], count: i32, expect: Expect| {
        cases.add(name, PLAIN, raw(Codec::None, &records.concat(), count), expect);
    };
    let good = |n| Record { offset_delta: n, ..Record::default() };
    add("one record short", &[good(0).bytes(), good(1).bytes()], 3, Same);
    add("one record too many", &[good(0).bytes(), good(1).bytes(), good(2).bytes()], 2, Same);
    add("a byte too many", &[good(0).bytes(), vec![0]], 1, Same);
    add("no payload", &[], 1, Same);
    add("length 1 too small", &[Record { lie: -1, ..good(0) }.bytes()], 1, Same);
    add("length 1 too large", &[Record { lie: 1, ..good(0) }.bytes()], 1, Same);
    add(
        "length 1 too large, then another",
        &[Record { lie: 1, ..good(0) }.bytes(), good(1).bytes()],
        2,
        Same,
    );
    add("negative length", &[vec![1]], 1, Same);
    add("length 0", &[vec![0]], 1, Same);
    add("record attributes", &[Record { attributes: 0xff, ..good(0) }.bytes()], 1, Same);
    add("empty key and value", &[Record { key: vec![0], value: vec![0], ..good(0) }.bytes()], 1, Same);
    add("null key and value", &[Record { key: vec![1], value: vec![1], ..good(0) }.bytes()], 1, Same);
    add("key length -2", &[Record { key: vec![3], ..good(0) }.bytes()], 1, Differs(87));
    add("value length -2", &[Record { value: vec![3], ..good(0) }.bytes()], 1, Differs(87));
    add("key longer than the record", &[Record { key: vec![0x7e, b'k'], ..good(0) }.bytes()], 1, Same);
    add("header count -1", &[Record { headers: vec![1], ..good(0) }.bytes()], 1, Same);
    add("header count 60, no header", &[Record { headers: vec![0x78], ..good(0) }.bytes()], 1, Same);
    add("a header without key", &[Record { headers: vec![2, 1, 1], ..good(0) }.bytes()], 1, Same);
    add("a header of nothing", &[Record { headers: vec![2, 0, 0], ..good(0) }.bytes()], 1, Same);
    add("a null header", &[Record { headers: vec![2, 2, b'h', 1], ..good(0) }.bytes()], 1, Same);
    add(
        "header value length -2",
        &[Record { headers: vec![2, 2, b'h', 3], ..good(0) }.bytes()],
        1,
        Differs(87),
    );
    add(
        "a header key not in UTF-8",
        &[Record { headers: vec![2, 2, 0xff, 2, 0xff], ..good(0) }.bytes()],
        1,
        Same,
    );
    add("a padded number", &[Record { key: vec![0x82, 0x00, b'k'], ..good(0) }.bytes()], 1, Same);
    let six = vec![0x82, 0x80, 0x80, 0x80, 0x80, 0x00, b'k'];
    add("a number of 6 bytes", &[Record { key: six, ..good(0) }.bytes()], 1, Same);
    let wide = vec![0x82, 0x80, 0x80, 0x80, 0x10, b'k'];
    add("a number of 33 bits", &[Record { key: wide, ..good(0) }.bytes()], 1, Differs(87));
    // Kafka stores these as they are.
    add("offset deltas 0 0 0", &[good(0).bytes(), good(0).bytes(), good(0).bytes()], 3, Differs(0));
    add("offset deltas 0 5 2", &[good(0).bytes(), good(5).bytes(), good(2).bytes()], 3, Differs(0));
}

/// What must hold with every codec.
fn compressed(cases: &mut Cases, codec: Codec) {
    use Expect::{Differs, Same};
    let mut add = |name: &str, records: &[Vec<u8>], count: i32, expect: Expect| {
        cases.add(format!("{codec}, {name}"), PLAIN, raw(codec, &records.concat(), count), expect);
    };
    let good = |n| Record { offset_delta: n, ..Record::default() };
    add("good", &[good(0).bytes(), good(1).bytes()], 2, Same);
    let big = Record { value: run(&[b'x'; 100_000]), ..good(0) };
    add("a large record", &[big.bytes(), good(1).bytes()], 2, Same);
    add("one record short", &[good(0).bytes()], 2, Same);
    add("one record too many", &[good(0).bytes(), good(1).bytes(), good(2).bytes()], 2, Same);
    add("length 1 too small", &[Record { lie: -1, ..good(0) }.bytes()], 1, Differs(87));
    add("length 1 too large", &[Record { lie: 1, ..good(0) }.bytes()], 1, Differs(87));
    add("key length -2", &[Record { key: vec![3], ..good(0) }.bytes()], 1, Differs(87));
    add("key longer than the record", &[Record { key: vec![0x7e, b'k'], ..good(0) }.bytes()], 1, Same);
    add("header count -1", &[Record { headers: vec![1], ..good(0) }.bytes()], 1, Same);
    add("a header without key", &[Record { headers: vec![2, 1, 1], ..good(0) }.bytes()], 1, Same);
    add("a header", &[Record { headers: vec![2, 2, b'h', 1], ..good(0) }.bytes()], 1, Same);
    // Kafka means to build these anew, and fails because it has skipped the keys.
    add("offset deltas 0 0 0", &[good(0).bytes(), good(0).bytes(), good(0).bytes()], 3, Differs(0));
    add("offset deltas 2 1 0", &[good(2).bytes(), good(1).bytes(), good(0).bytes()], 3, Differs(0));

    let good = batch(codec, 3);
    let mut add = |name: &str, payload: &[u8], expect: Expect| {
        cases.add(format!("{codec}, {name}"), PLAIN, with_payload(&good, payload), expect);
    };
    let payload = &good[HEADER_LEN..];
    add("no payload", &[], if codec == Codec::Zstd { Same } else { Differs(87) });
    add("garbage", b"this was never compressed", Differs(87));
    add("cut off", &payload[..payload.len() - 1], Differs(87));
    add("cut in half", &payload[..payload.len() / 2], Differs(87));
}

fn payloads(cases: &mut Cases) {
    use Expect::{Differs, Same};
    let records = Record::default().bytes();
    let snappy = snap::raw::Encoder::new().compress_vec(&records).unwrap();
    let plain = raw(Codec::Snappy, &records, 1);
    cases.add("snappy, one raw block", PLAIN, with_payload(&plain, &snappy), Same);
    let framed = &plain[HEADER_LEN..];
    cases.add(
        "snappy, two streams",
        PLAIN,
        {
            let two = [framed, &framed[..16]].concat();
            with_payload(&plain, &two)
        },
        Same,
    );

    let lz4 = raw(Codec::Lz4, &records, 1);
    let frame = &lz4[HEADER_LEN..];
    cases.add("lz4, bytes behind the frame", PLAIN, with_payload(&lz4, &[frame, b"more"].concat()), Same);
    let mut info = lz4_flex::frame::FrameInfo::new();
    info.block_mode = lz4_flex::frame::BlockMode::Linked;
    cases.add("lz4, dependent blocks", PLAIN, with_payload(&lz4, &lz4_frame(info, &records)), Differs(87));
    let mut info = lz4_flex::frame::FrameInfo::new();
    info.content_checksum = true;
    info.block_checksums = true;
    info.content_size = Some(records.len() as u64);
    cases.add("lz4, checksums and size", PLAIN, with_payload(&lz4, &lz4_frame(info, &records)), Same);

    let gzip = raw(Codec::Gzip, &records, 1);
    let (front, back) = records.split_at(4);
    let members =
        [&raw(Codec::Gzip, front, 1)[HEADER_LEN..], &raw(Codec::Gzip, back, 1)[HEADER_LEN..]].concat();
    cases.add("gzip, two members", PLAIN, with_payload(&gzip, &members), Same);
    let zstd = raw(Codec::Zstd, &records, 1);
    let frames =
        [&raw(Codec::Zstd, front, 1)[HEADER_LEN..], &raw(Codec::Zstd, back, 1)[HEADER_LEN..]].concat();
    cases.add("zstd, two frames", PLAIN, with_payload(&zstd, &frames), Same);
}

fn times(cases: &mut Cases) {
    use Expect::{Rebuilt, Same};
    let claim = |bytes: &[u8], max| {
        edited(bytes, |h| {
            h.attributes = h.attributes.with_log_append_time(true);
            h.max_timestamp = max;
        })
    };
    for codec in [Codec::None, Codec::Gzip] {
        let timed = |times: &[i64]| timed(codec, times);
        let name = |name: &str| format!("{codec}, {name}");
        for topic in [PLAIN, RECENT, APPEND_TIME] {
            cases.add(name("no time"), topic, timed(&[-1]), Same);
            cases.add(name("a time in the past"), topic, timed(&[PAST]), Same);
            cases.add(name("a time in the future"), topic, timed(&[PAST, FUTURE, PAST]), Same);
            cases.add(name("time -5"), topic, timed(&[-5]), Same);
            cases.add(name("the first time there is"), topic, timed(&[i64::MIN]), Same);
            cases.add(name("the last time there is"), topic, timed(&[i64::MAX]), Same);
            let wrong_max = edited(&timed(&[PAST, PAST - 1]), |h| h.max_timestamp = FUTURE);
            cases.add(name("a wrong largest time"), topic, wrong_max, Same);
            cases.add(name("claims append time"), topic, claim(&timed(&[PAST - 9]), PAST), Same);
            cases.add(name("claims append time in the future"), topic, claim(&timed(&[PAST]), FUTURE), Same);
            cases.add(name("claims append time -1"), topic, claim(&timed(&[PAST]), -1), Same);
        }
        cases.add(name("claims append time"), GZIP_APPEND_TIME, claim(&timed(&[PAST]), PAST), Same);
        let expect = if codec == Codec::Gzip { Same } else { Rebuilt };
        cases.add(name("times"), GZIP_APPEND_TIME, timed(&[PAST, PAST + 5]), expect);
        cases.add(name("a time in the past"), RECENT_GZIP, timed(&[PAST]), Same);
    }
}

fn keys(cases: &mut Cases) {
    use Expect::Same;
    for codec in [Codec::None, Codec::Lz4] {
        for topic in [COMPACT, COMPACT_GZIP] {
            let name = |name: &str| format!("{codec}, {name}");
            cases.add(
                name("a null key among three"),
                topic,
                keyed(codec, &[Some(b"a"), None, Some(b"b")]),
                Same,
            );
            cases.add(name("five null keys"), topic, keyed(codec, &[None; 5]), Same);
        }
        cases.add(format!("{codec}, an empty key"), COMPACT, keyed(codec, &[Some(b"")]), Same);
        let mut both = builder(codec);
        both.push(&NewRecord { timestamp: FUTURE, key: Some(b"k"), ..NewRecord::default() });
        both.push(&NewRecord { timestamp: FUTURE, ..NewRecord::default() });
        cases.add(
            format!("{codec}, a bad time and a null key"),
            COMPACT,
            both.build().unwrap().to_vec(),
            Same,
        );
    }
}

fn recompression(cases: &mut Cases) {
    use Expect::{Differs, Rebuilt, Same};
    for topic in [UNCOMPRESSED, GZIP, SNAPPY, LZ4, ZSTD] {
        for codec in Codec::ALL {
            let expect = if topic.0 == codec.name() { Same } else { Rebuilt };
            cases.add(format!("{codec}"), topic, batch(codec, 3), expect);
        }
    }
    let headers = [HeaderView { key: b"h", value: Some(b"1") }, HeaderView { key: b"h", value: None }];
    let mut rich = BatchBuilder::new().producer(78, 3, 0);
    for n in 0..4 {
        let record = NewRecord { timestamp: PAST - n, key: None, value: Some(b"v"), headers: &headers };
        rich.push(&record);
    }
    let rich = edited(&rich.build().unwrap(), |h| h.partition_leader_epoch = 4);
    cases.add("headers and a producer", ZSTD, rich.clone(), Rebuilt);
    cases.add(
        "attributes 0x180",
        ZSTD,
        edited(&rich, |h| {
            h.attributes = Attributes(0x180);
            h.producer_id = -1;
            h.base_sequence = -1;
        }),
        Rebuilt,
    );
    let zeros = Record { offset_delta: 0, ..Record::default() }.bytes();
    cases.add("offset deltas 0 0", ZSTD, raw(Codec::Gzip, &[&zeros[..], &zeros].concat(), 2), Rebuilt);
    cases.add("a record cut off", ZSTD, raw(Codec::None, &zeros[..4], 1), Same);
    cases.add("garbage", ZSTD, with_payload(&batch(Codec::Gzip, 1), b"garbage"), Differs(87));
    let mut large = builder(Codec::Gzip);
    large.push(&NewRecord { value: Some(&[0; 2000]), ..NewRecord::default() });
    cases.add("too large when decompressed", SMALL_UNCOMPRESSED, large.build().unwrap().to_vec(), Same);
    // Kafka's builder does not know negative times.
    cases.add("time -5", ZSTD, timed(Codec::None, &[-5]), Differs(0));
}

/// A record written by hand. `key`, `value` and `headers` begin with their length or count.
struct Record {
    attributes: u8,
    offset_delta: i64,
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<u8>,
    /// Added to the length.
    lie: i64,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            attributes: 0,
            offset_delta: 0,
            key: run(b"key"),
            value: run(b"value"),
            headers: vec![0],
            lie: 0,
        }
    }
}

impl Record {
    fn bytes(&self) -> Vec<u8> {
        let mut body = vec![self.attributes, 0];
        put_varint(&mut body, self.offset_delta);
        body.extend([&self.key[..], &self.value, &self.headers].concat());
        let mut out = Vec::new();
        put_varint(&mut out, i64::try_from(body.len()).unwrap() + self.lie);
        out.extend(body);
        out
    }
}

fn run(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, i64::try_from(bytes.len()).unwrap());
    out.extend_from_slice(bytes);
    out
}

fn builder(codec: Codec) -> BatchBuilder {
    BatchBuilder::new().compression(Compression { codec, level: 3 })
}

fn batch(codec: Codec, records: i64) -> Vec<u8> {
    let mut builder = builder(codec);
    for n in 0..records {
        let value = vec![b'v'; 50];
        builder.push(&NewRecord {
            timestamp: PAST + n,
            key: Some(b"key"),
            value: Some(&value),
            headers: &[],
        });
    }
    builder.build().unwrap().to_vec()
}

fn one(timestamp: i64, key: Option<&[u8]>, value: &[u8]) -> Vec<u8> {
    let mut builder = builder(Codec::None);
    builder.push(&NewRecord { timestamp, key, value: Some(value), headers: &[] });
    builder.build().unwrap().to_vec()
}

fn timed(codec: Codec, times: &[i64]) -> Vec<u8> {
    let mut builder = builder(codec);
    for &timestamp in times {
        builder.push(&NewRecord { timestamp, key: Some(b"k"), value: Some(b"v"), headers: &[] });
    }
    builder.build().unwrap().to_vec()
}

fn keyed(codec: Codec, keys: &[Option<&[u8]>]) -> Vec<u8> {
    let mut builder = builder(codec);
    for &key in keys {
        builder.push(&NewRecord { timestamp: PAST, key, value: Some(b"v"), headers: &[] });
    }
    builder.build().unwrap().to_vec()
}

/// A batch of `count` records whose bytes are `records`.
fn raw(codec: Codec, records: &[u8], count: i32) -> Vec<u8> {
    let mut body =
        crate::record::compress::Deflate::new(Compression { codec, level: 3 }, Vec::new()).unwrap();
    body.write(records).unwrap();
    let header = edited(&one(PAST, None, b""), |h| {
        h.attributes = h.attributes.with_codec(codec);
        h.records_count = count;
        h.last_offset_delta = count - 1;
    });
    with_payload(&header, &body.finish().unwrap())
}

fn with_payload(bytes: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = bytes[..HEADER_LEN].to_vec();
    bytes.extend_from_slice(payload);
    let length = i32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    seal(&mut bytes);
    bytes
}

fn lz4_frame(info: lz4_flex::frame::FrameInfo, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let info = info.block_size(lz4_flex::frame::BlockSize::Max64KB);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
