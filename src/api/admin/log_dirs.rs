//! DescribeLogDirs (key 35), versions 1 to 5: the data directory, its file system's space, and what partitions take of
//! it (KIP-113).
//!
//! v2 the flexible form; v3 an error for the whole; v4 the file system's space (KIP-827); v5 whether the directory takes
//! no new partitions. A partition that holds nothing has size 0; one that does not exist is left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Api, Call, Started, done};
use crate::broker::Broker;
use crate::catalog::TopicImage;
use crate::partition::off_worker;
use crate::types::{ErrorCode, TopicPartition};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes, Writer};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 35, name: "DescribeLogDirs", min: 1, max: 5, flexible_from: 2 };

/// A DescribeLogDirs request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The partitions to tell of; `None` for all.
    pub topics: Option<Vec<Topic>>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// Their indexes.
    pub partitions: Vec<i32>,
}

impl Request {
    /// Reads the body of a request of any version: only their form differs.
    pub fn decode(r: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let request = Self { topics: r.nullable_array(Topic::decode)? };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let topic = Self { name: r.string()?, partitions: r.array(Reader::i32)? };
        r.end()?;
        Ok(topic)
    }
}

/// A DescribeLogDirs response, written by hand: the protocol crate ends at v4. There is one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// How long the client is held back by quotas.
    pub throttle_time_ms: i32,
    /// What is wrong with the directory, if anything.
    pub error: ErrorCode,
    /// Its absolute path.
    pub log_dir: String,
    /// What is told of partitions, by topic.
    pub topics: BTreeMap<String, Vec<Told>>,
    /// Bytes of the file system; -1 if unknown.
    pub total_bytes: i64,
    /// Bytes of it that may still be used; -1 if unknown.
    pub usable_bytes: i64,
}

/// What is told of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its index.
    pub index: i32,
    /// Bytes of its logs.
    pub bytes: i64,
    /// What is damaged of it, a line each: the first offset, the one behind, the reason. A tagged field of our own
    /// ([`DAMAGE_TAG`]), which other programs pass over; only for partitions that were asked for by name.
    pub damage: String,
}

/// The tag of [`Told::damage`], far above those that Kafka gives.
pub const DAMAGE_TAG: u32 = 21_000;

impl Response {
    /// Writes the body of a response of `version`.
    pub fn write(&self, w: &mut Writer<'_>, version: i16) {
        w.i32(self.throttle_time_ms);
        if version >= 3 {
            w.i16(ErrorCode::None.code());
        }
        w.array(1);
        w.i16(self.error.code());
        w.string(&self.log_dir);
        w.array(self.topics.len());
        for (name, partitions) in &self.topics {
            w.string(name);
            w.array(partitions.len());
            for told in partitions {
                w.i32(told.index);
                w.i64(told.bytes);
                // No follower lags, and no log moves between directories.
                w.i64(0);
                w.bool(false);
                match told.damage.as_bytes() {
                    [] => w.end(),
                    damage => w.tags(&[(DAMAGE_TAG, damage)]),
                }
            }
            w.end();
        }
        if version >= 4 {
            w.i64(self.total_bytes);
            w.i64(self.usable_bytes);
        }
        if version >= 5 {
            w.bool(false);
        }
        w.end();
        w.end();
    }
}

/// Tells of the data directory.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    // What is known to be damaged may have to be read from a partition's directory.
    let response = off_worker(|| describe(call.api, &request));
    let partitions: usize = response.topics.values().map(Vec::len).sum();
    let version = call.version;
    Ok(done(call.responder.reply_with(128 + 32 * partitions, |w| response.write(w, version))))
}

fn describe(api: &Api, request: &Request) -> Response {
    let broker = &api.broker;
    let dir = broker.data_dir();
    let log_dir = dir.full_path().display().to_string();
    let mut response = Response {
        throttle_time_ms: 0,
        error: ErrorCode::None,
        log_dir,
        topics: BTreeMap::new(),
        total_bytes: -1,
        usable_bytes: -1,
    };
    if dir.health().is_failed() {
        response.error = ErrorCode::KafkaStorageError;
        return response;
    }
    if let Ok(space) = dir.space() {
        response.total_bytes = i64::try_from(space.total_bytes).unwrap_or(i64::MAX);
        response.usable_bytes = i64::try_from(space.free_bytes).unwrap_or(i64::MAX);
    }
    let image = broker.image();
    let size = |topic: &TopicImage, partition| {
        let bytes = broker.partition_bytes(TopicPartition { topic: topic.id, partition });
        Told { index: partition, bytes: i64::try_from(bytes).unwrap_or(i64::MAX), damage: String::new() }
    };
    match &request.topics {
        None => {
            for topic in image.topics() {
                let sizes = (0..topic.partitions).map(|partition| size(topic, partition)).collect();
                response.topics.insert(topic.name.to_string(), sizes);
            }
        }
        Some(wanted) => {
            let mut partitions: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
            for topic in wanted {
                partitions.entry(&topic.name).or_default().extend(&topic.partitions);
            }
            for (name, partitions) in partitions {
                let Some(topic) = image.topic(name) else { continue };
                let known = partitions.into_iter().filter(|index| (0..topic.partitions).contains(index));
                let told =
                    |partition| Told { damage: damage(broker, topic, partition), ..size(topic, partition) };
                let sizes: Vec<_> = known.map(told).collect();
                if !sizes.is_empty() {
                    response.topics.insert(name.to_owned(), sizes);
                }
            }
        }
    }
    response
}

fn damage(broker: &Broker, topic: &TopicImage, partition: i32) -> String {
    let id = TopicPartition { topic: topic.id, partition };
    let known = broker.known_damage(&topic.name, id);
    let lines =
        known.iter().take(DAMAGE_LINES_MAX).map(|one| format!("{} {} {}\n", one.first, one.next, one.why));
    lines.collect()
}

/// Damaged stretches of a partition that are told.
const DAMAGE_LINES_MAX: usize = 100;
