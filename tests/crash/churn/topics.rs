//! The topics of the churn, what each is allowed to forget, and the records that are written to them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use streamd::config::topic::Compression;
use streamd::record::HeaderView;
use streamd::record::build::{BatchBuilder, NewRecord};
use streamd::types::Codec;

use crate::history::Sent;
use crate::load::Build;
use crate::random::mix;

/// A topic, and what it may forget.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) partitions: i32,
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Of each key only the last record stays, and deletions go in time.
    pub(crate) is_compacted: bool,
    /// The oldest records go when more than so many bytes lie behind them.
    pub(crate) bytes: Option<u64>,
    /// Records of this age go.
    pub(crate) age: Option<Duration>,
    /// Records are deleted by DeleteRecords.
    pub(crate) is_trimmed: bool,
}

/// Of nothing more than a few batches is a segment, so that each round rolls many; files go almost at once.
macro_rules! settings {
    ($($key:literal: $value:literal),*) => {
        &[
            ("segment.bytes", "8000"),
            ("index.interval.bytes", "500"),
            ("file.delete.delay.ms", "30"),
            ("delete.retention.ms", "400"),
            ("min.cleanable.dirty.ratio", "0.01"),
            $(($key, $value)),*
        ]
    };
}

pub(crate) const TOPICS: [Topic; 5] = [
    Topic {
        name: "latest",
        partitions: 2,
        settings: settings!("cleanup.policy": "compact"),
        is_compacted: true,
        bytes: None,
        age: None,
        is_trimmed: false,
    },
    Topic {
        name: "both",
        partitions: 1,
        settings: settings!("cleanup.policy": "compact,delete", "retention.bytes": "24000"),
        is_compacted: true,
        bytes: Some(24_000),
        age: None,
        is_trimmed: false,
    },
    Topic {
        name: "sized",
        partitions: 1,
        settings: settings!("retention.bytes": "30000"),
        is_compacted: false,
        bytes: Some(30_000),
        age: None,
        is_trimmed: false,
    },
    Topic {
        name: "aged",
        partitions: 1,
        settings: settings!("retention.ms": "4000", "segment.ms": "700"),
        is_compacted: false,
        bytes: None,
        age: Some(Duration::from_secs(4)),
        is_trimmed: false,
    },
    Topic {
        name: "trimmed",
        partitions: 1,
        settings: settings!("retention.ms": "-1"),
        is_compacted: false,
        bytes: None,
        age: None,
        is_trimmed: true,
    },
];

impl Topic {
    pub(crate) fn by_name(name: &str) -> &'static Self {
        TOPICS.iter().find(|topic| topic.name == name).expect("a topic of the churn")
    }

    /// What makes its batches.
    pub(crate) fn build(&self) -> Build {
        if self.is_compacted { with_deletions } else { without_deletions }
    }

    /// What a record has for a value: `None` deletes its key.
    pub(crate) fn value(&self, sent: Sent) -> Option<Vec<u8>> {
        (!self.is_compacted || !deletes(sent)).then(|| sent.value())
    }

    /// Whether anything may leave the log's front.
    pub(crate) fn may_move_its_start(&self) -> bool {
        self.bytes.is_some() || self.age.is_some() || self.is_trimmed
    }
}

/// Keys that a producer has in a partition.
const KEYS: u64 = 10;
/// The record header that says who a record is, its value or not.
const IDENTITY: &[u8] = b"n";

fn number(sent: Sent, salt: u64) -> u64 {
    mix(&mut (u64::from(sent.seq) << 16 ^ u64::from(sent.producer) << 4 ^ salt))
}

/// A record's key. No other producer has it.
pub(crate) fn key(sent: Sent) -> Vec<u8> {
    format!("{}/{}/{}", sent.producer, sent.partition, number(sent, 1) % KEYS).into_bytes()
}

/// Whether a record of a compacted topic deletes its key.
pub(crate) fn deletes(sent: Sent) -> bool {
    number(sent, 2).is_multiple_of(5)
}

/// Who a record is, by its headers.
pub(crate) fn identity(mut headers: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Option<Sent> {
    let (_, text) = headers.find(|(key, _)| key == IDENTITY)?;
    let mut numbers = std::str::from_utf8(&text).ok()?.split('/');
    Some(Sent {
        producer: numbers.next()?.parse().ok()?,
        partition: numbers.next()?.parse().ok()?,
        seq: numbers.next()?.parse().ok()?,
    })
}

fn with_deletions(known_as: Option<(i64, i16)>, sequence: i32, records: &[Sent]) -> Bytes {
    build(known_as, sequence, records, |sent| !deletes(sent))
}

fn without_deletions(known_as: Option<(i64, i16)>, sequence: i32, records: &[Sent]) -> Bytes {
    build(known_as, sequence, records, |_| true)
}

fn build(
    known_as: Option<(i64, i16)>,
    sequence: i32,
    records: &[Sent],
    has_value: fn(Sent) -> bool,
) -> Bytes {
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let codec = codecs[usize::try_from(sequence).expect("a sequence") % codecs.len()];
    let level = if codec == Codec::Zstd { 3 } else { -1 };
    let (id, epoch) = known_as.expect("producers of the churn are idempotent");
    let builder = BatchBuilder::new().compression(Compression { codec, level });
    let mut builder = builder.producer(id, epoch, sequence);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    for &sent in records {
        let (key, value) = (key(sent), sent.value());
        let identity = format!("{}/{}/{}", sent.producer, sent.partition, sent.seq);
        builder.push(&NewRecord {
            timestamp: i64::try_from(now).expect("not that late"),
            key: Some(&key),
            value: has_value(sent).then_some(&value),
            headers: &[HeaderView { key: IDENTITY, value: Some(identity.as_bytes()) }],
        });
    }
    builder.build().expect("a batch")
}
