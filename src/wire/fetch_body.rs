//! Fetch responses (key 1, versions 4 to 18) as lists of chunks: the fields are written here, the record batches stay
//! where they are and are named by slices, so that nothing between disk and socket copies them.
//!
//! What the versions brought: 5 the log start offset; 7 the error and the session of the whole response; 11 the
//! preferred read replica; 12 the flexible form with the tagged diverging epoch, current leader and snapshot id; 13
//! topic ids in place of names; 16 the tagged addresses of leaders.

use bytes::BytesMut;

use super::encode::{Chunk, Reply, begin, set_length};
use super::header::ApiSpec;
use super::read::StrBytes;
use super::write::Writer;
use crate::types::{ErrorCode, TopicId};

/// A whole Fetch response. `S` is the storage layer's slice of the log.
#[derive(Debug)]
pub struct FetchResponse<S> {
    /// How long the client is held back by quotas.
    pub throttle_time_ms: i32,
    /// An error of the session or the request as a whole (v7).
    pub error: ErrorCode,
    /// The session that this answer belongs to, 0 for none (v7).
    pub session_id: i32,
    /// Topics in the order of the answer.
    pub topics: Vec<FetchedTopic<S>>,
    /// Where the leaders named in `current_leader` are found (v16).
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// One topic of a Fetch response.
#[derive(Debug)]
pub struct FetchedTopic<S> {
    /// Its name, written up to v12.
    pub name: StrBytes,
    /// Its id, written from v13.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<FetchedPartition<S>>,
}

/// One partition of a Fetch response.
#[derive(Debug)]
pub struct FetchedPartition<S> {
    /// The partition's index.
    pub index: i32,
    /// Its error.
    pub error: ErrorCode,
    /// The high watermark, -1 if unknown.
    pub high_watermark: i64,
    /// The last stable offset, -1 if unknown (S20).
    pub last_stable_offset: i64,
    /// Where the log begins, -1 if unknown (v5).
    pub log_start_offset: i64,
    /// Aborted transactions within the records; `None` for read_uncommitted (S21).
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The replica to read from instead, -1 for none (v11, S29).
    pub preferred_read_replica: i32,
    /// Where the reader's log parts from ours (v12, S28).
    pub diverging_epoch: Option<EpochEnd>,
    /// Who leads, told along with errors that mean somebody else does (v12, S33).
    pub current_leader: Option<CurrentLeader>,
    /// The snapshot to read instead, as metadata logs have them (v12).
    pub snapshot: Option<EpochEnd>,
    /// Whole batches, one slice after the other.
    pub records: Vec<S>,
    /// The bytes of all `records` together.
    pub records_len: usize,
}

/// A transaction whose records a read_committed consumer must drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: i64,
    /// Where its records begin.
    pub first_offset: i64,
}

/// A leader epoch and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: i32,
    /// The offset after its last.
    pub end_offset: i64,
}

/// A partition's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentLeader {
    /// Its node id, -1 if unknown.
    pub leader_id: i32,
    /// Its epoch, -1 if unknown.
    pub leader_epoch: i32,
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// The node.
    pub node_id: i32,
    /// Its host name as clients reach it.
    pub host: StrBytes,
    /// Its port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<StrBytes>,
}

impl<S> FetchedPartition<S> {
    /// A partition that answers with an error and nothing else.
    pub const fn refused(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted: None,
            preferred_read_replica: -1,
            diverging_epoch: None,
            current_leader: None,
            snapshot: None,
            records: Vec::new(),
            records_len: 0,
        }
    }
}

/// Frames `response` for a request of `version` with this correlation id.
pub fn encode<S>(api: &ApiSpec, version: i16, correlation_id: i32, response: FetchResponse<S>) -> Reply<S> {
    let mut body = Body {
        out: begin(api, version, correlation_id, size_of_fields(&response)),
        cuts: Vec::new(),
        records_len: 0,
        version,
        flexible: api.is_flexible(version),
    };
    body.response(response);
    body.into_reply()
}

/// The body under construction: all fields in one buffer, and where the slices cut it.
struct Body<S> {
    out: BytesMut,
    cuts: Vec<(usize, S)>,
    records_len: usize,
    version: i16,
    flexible: bool,
}

impl<S> Body<S> {
    fn writer(&mut self) -> Writer<'_> {
        Writer::new(&mut self.out, self.flexible)
    }

    fn response(&mut self, response: FetchResponse<S>) {
        let version = self.version;
        let mut w = self.writer();
        w.i32(response.throttle_time_ms);
        if version >= 7 {
            w.i16(response.error.code());
            w.i32(response.session_id);
        }
        w.array(response.topics.len());
        for topic in response.topics {
            self.topic(topic);
        }
        if version >= 16 && !response.node_endpoints.is_empty() {
            let endpoints = node_endpoints(&response.node_endpoints);
            self.writer().tags(&[(0, &endpoints)]);
        } else {
            self.writer().end();
        }
    }

    fn topic(&mut self, topic: FetchedTopic<S>) {
        let version = self.version;
        let mut w = self.writer();
        w.name_or_id(version >= 13, &topic.name, topic.id);
        w.array(topic.partitions.len());
        for partition in topic.partitions {
            self.partition(partition);
        }
        self.writer().end();
    }

    fn partition(&mut self, partition: FetchedPartition<S>) {
        let version = self.version;
        let mut w = self.writer();
        w.i32(partition.index);
        w.i16(partition.error.code());
        w.i64(partition.high_watermark);
        w.i64(partition.last_stable_offset);
        if version >= 5 {
            w.i64(partition.log_start_offset);
        }
        w.nullable_array(partition.aborted.as_ref().map(Vec::len));
        for transaction in partition.aborted.iter().flatten() {
            w.i64(transaction.producer_id);
            w.i64(transaction.first_offset);
            w.end();
        }
        if version >= 11 {
            w.i32(partition.preferred_read_replica);
        }
        w.bytes_length(Some(partition.records_len));
        let at = self.out.len();
        self.records_len += partition.records_len;
        let slices = partition.records.into_iter();
        self.cuts.extend(slices.map(|slice| (at, slice)));
        let tags = [
            (0, partition.diverging_epoch.map(epoch_end)),
            (1, partition.current_leader.map(current_leader)),
            (2, partition.snapshot.map(snapshot_id)),
        ];
        // Almost always none: then nothing is allocated.
        let set: Vec<_> = tags.iter().filter_map(|(tag, value)| Some((*tag, &**value.as_ref()?))).collect();
        self.writer().tags(&set);
    }

    fn into_reply(mut self) -> Reply<S> {
        let len = self.out.len() + self.records_len;
        set_length(&mut self.out, len);
        let mut tail = Vec::with_capacity(self.cuts.len() * 2);
        let mut rest = self.out.freeze();
        let mut head = None;
        let mut taken = 0;
        for (at, slice) in self.cuts {
            let bytes = rest.split_to(at - taken);
            taken = at;
            if head.is_none() {
                head = Some(bytes);
            } else if !bytes.is_empty() {
                tail.push(Chunk::Bytes(bytes));
            }
            tail.push(Chunk::Slice(slice));
        }
        match head {
            None => Reply { head: rest, tail, len },
            Some(head) => {
                if !rest.is_empty() {
                    tail.push(Chunk::Bytes(rest));
                }
                Reply { head, tail, len }
            }
        }
    }
}

/// A little more than the fields take, whatever the version, so that the buffer is allocated once.
fn size_of_fields<S>(response: &FetchResponse<S>) -> usize {
    let topic = |topic: &FetchedTopic<S>| {
        let aborted = topic.partitions.iter().flat_map(|p| p.aborted.as_ref()).map(Vec::len).sum::<usize>();
        26 + topic.name.len() + 56 * topic.partitions.len() + 17 * aborted
    };
    32 + response.topics.iter().map(topic).sum::<usize>()
}

fn epoch_end(end: EpochEnd) -> BytesMut {
    tagged(|w| {
        w.i32(end.epoch);
        w.i64(end.end_offset);
        w.end();
    })
}

fn current_leader(leader: CurrentLeader) -> BytesMut {
    tagged(|w| {
        w.i32(leader.leader_id);
        w.i32(leader.leader_epoch);
        w.end();
    })
}

fn snapshot_id(snapshot: EpochEnd) -> BytesMut {
    tagged(|w| {
        w.i64(snapshot.end_offset);
        w.i32(snapshot.epoch);
        w.end();
    })
}

fn node_endpoints(nodes: &[NodeEndpoint]) -> BytesMut {
    tagged(|w| {
        w.array(nodes.len());
        for node in nodes {
            w.i32(node.node_id);
            w.string(&node.host);
            w.i32(node.port);
            w.nullable_string(node.rack.as_deref());
            w.end();
        }
    })
}

/// The bytes of one tagged field.
fn tagged(value: impl FnOnce(&mut Writer<'_>)) -> BytesMut {
    let mut out = BytesMut::new();
    value(&mut Writer::new(&mut out, true));
    out
}

#[cfg(test)]
#[path = "fetch_body_tests.rs"]
mod tests;
