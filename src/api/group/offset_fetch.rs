//! OffsetFetch (key 9), versions 1 to 10: how far groups have read.
//!
//! v2 null for all topics, and an error for the whole answer; v3 the throttle time; v5 the leader epoch; v6 the
//! flexible form; v7 whether to wait for open transactions; v8 many groups; v9 members of KIP-848 groups; v10 topic ids
//! in place of names. What was never committed is offset -1, epoch -1, empty metadata and no error; neither is an
//! unknown group one (S74).

use std::collections::HashSet;
use std::sync::Arc;

use super::{ask, shared, text, topic_key};
use crate::api::{AnswerRoom, Call, Started, waits};
use crate::groups::{Command, FetchOffsets, FetchTopic, FetchedOffset, FetchedTopic};
use crate::types::{ErrorCode, TopicId};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes, Writer};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 9, name: "OffsetFetch", min: 1, max: 10, flexible_from: 6 };

/// The first version that asks for several groups.
const MANY_GROUPS: i16 = 8;
/// From this version on topics go by their ids.
const TOPIC_IDS: i16 = 10;
/// About what a partition takes in an answer, beside its metadata.
const PARTITION_BYTES: usize = 20;

/// An OffsetFetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The groups; before v8 exactly one.
    pub groups: Vec<Group>,
    /// Whether offsets that an open transaction may change are refused with 88 (v7, S60).
    pub require_stable: bool,
}

/// One group of an OffsetFetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The group.
    pub group_id: StrBytes,
    /// The member that asks, of a KIP-848 group (v9).
    pub member_id: Option<StrBytes>,
    /// Its epoch, -1 for none (v9).
    pub member_epoch: i32,
    /// What to look up; `None` (from v2) for all that the group has.
    pub topics: Option<Vec<Topic>>,
}

/// One topic of an OffsetFetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name; empty from v10.
    pub name: StrBytes,
    /// Its id; zero before v10.
    pub id: TopicId,
    /// Indexes of its partitions.
    pub partitions: Vec<i32>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let groups = if version < MANY_GROUPS {
            vec![Group {
                group_id: r.string()?,
                member_id: None,
                member_epoch: -1,
                topics: match version {
                    1 => Some(r.array(|r| Topic::decode(r, version))?),
                    _ => r.nullable_array(|r| Topic::decode(r, version))?,
                },
            }]
        } else {
            r.array(|r| Group::decode(r, version))?
        };
        let request = Self { groups, require_stable: if version >= 7 { r.bool()? } else { false } };
        r.end()?;
        Ok(request)
    }
}

impl Group {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let group = Self {
            group_id: r.string()?,
            member_id: if version >= 9 { r.nullable_string()? } else { None },
            member_epoch: if version >= 9 { r.i32()? } else { -1 },
            topics: r.nullable_array(|r| Topic::decode(r, version))?,
        };
        r.end()?;
        Ok(group)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let (name, id) = r.name_or_id(version >= TOPIC_IDS)?;
        let topic = Self { name, id, partitions: r.array(Reader::i32)? };
        r.end()?;
        Ok(topic)
    }
}

/// An OffsetFetch response, written by hand as the request is read: the protocol crate has v10 only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// How long the client is held back by quotas.
    pub throttle_time_ms: i32,
    /// The answers, one for each group of the request; before v8 only the first is written.
    pub groups: Vec<GroupOffsets>,
}

/// One group of an OffsetFetch response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffsets {
    /// The group.
    pub group_id: StrBytes,
    /// An error for all of it. v1 has no place for it: it must then be in every partition, too.
    pub error: ErrorCode,
    /// The offsets, by topic.
    pub topics: Vec<TopicOffsets>,
}

/// One topic of an OffsetFetch response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOffsets {
    /// Its name, written up to v9.
    pub name: StrBytes,
    /// Its id, written from v10.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<PartitionOffset>,
}

/// One partition of an OffsetFetch response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOffset {
    /// Its index.
    pub index: i32,
    /// The committed offset, -1 for none.
    pub committed_offset: i64,
    /// Its leader epoch, -1 for none.
    pub committed_leader_epoch: i32,
    /// What the client kept with it; empty, not null, where nothing was committed.
    pub metadata: Option<StrBytes>,
    /// Its error.
    pub error: ErrorCode,
}

impl Response {
    /// Writes the body of a response of `version`.
    pub fn write(&self, w: &mut Writer<'_>, version: i16) {
        if version >= 3 {
            w.i32(self.throttle_time_ms);
        }
        if version < MANY_GROUPS {
            let (topics, error) = match self.groups.first() {
                Some(group) => (&*group.topics, group.error),
                None => (&[][..], ErrorCode::None),
            };
            write_topics(topics, w, version);
            if version >= 2 {
                w.i16(error.code());
            }
        } else {
            w.array(self.groups.len());
            for group in &self.groups {
                w.string(&group.group_id);
                write_topics(&group.topics, w, version);
                w.i16(group.error.code());
                w.end();
            }
        }
        w.end();
    }
}

fn write_topics(topics: &[TopicOffsets], w: &mut Writer<'_>, version: i16) {
    w.array(topics.len());
    for topic in topics {
        w.name_or_id(version >= TOPIC_IDS, &topic.name, topic.id);
        w.array(topic.partitions.len());
        for partition in &topic.partitions {
            w.i32(partition.index);
            w.i64(partition.committed_offset);
            if version >= 5 {
                w.i32(partition.committed_leader_epoch);
            }
            w.nullable_string(partition.metadata.as_deref());
            w.i16(partition.error.code());
            w.end();
        }
        w.end();
    }
}

/// Answers with committed offsets, one group after the other; all of a group once.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let version = responder.version;
        let mut groups = Vec::with_capacity(request.groups.len());
        let mut room = AnswerRoom::new();
        let mut seen = HashSet::new();
        let first = |group: &Group| group.topics.is_some() || seen.insert(group.group_id.clone());
        for group in request.groups.into_iter().filter(first) {
            let command = Command::Fetch(group.to_command(version, request.require_stable));
            groups.push(match ask(&api, &group.group_id, command).await.fetch() {
                Ok(reply) => {
                    if let Some(producer_id) = reply.barred_by {
                        api.broker.note_barred(&group.group_id, producer_id);
                    }
                    let Some(topics) =
                        reply.topics.into_iter().map(|topic| offsets(topic, &mut room)).collect()
                    else {
                        return responder.too_large();
                    };
                    GroupOffsets { group_id: group.group_id, error: ErrorCode::None, topics }
                }
                Err(error) => group.refused(error),
            });
        }
        let response = Response { throttle_time_ms: 0, groups };
        responder.reply_with(256, |w| response.write(w, version))
    }))
}

impl Group {
    fn to_command(&self, version: i16, require_stable: bool) -> FetchOffsets {
        let topic = |topic: &Topic| FetchTopic {
            topic: topic_key(version >= TOPIC_IDS, &topic.name, topic.id),
            partitions: topic.partitions.clone(),
        };
        FetchOffsets {
            group: shared(&self.group_id),
            topics: self.topics.as_ref().map(|topics| topics.iter().map(topic).collect()),
            require_stable,
        }
    }

    /// The error at the top, and in every partition for versions that have no top.
    fn refused(self, error: ErrorCode) -> GroupOffsets {
        let partition = |index: i32| PartitionOffset {
            index,
            committed_offset: -1,
            committed_leader_epoch: -1,
            metadata: Some(StrBytes::new()),
            error,
        };
        let topics = self.topics.into_iter().flatten().map(|topic| TopicOffsets {
            name: topic.name,
            id: topic.id,
            partitions: topic.partitions.into_iter().map(partition).collect(),
        });
        GroupOffsets { group_id: self.group_id, error, topics: topics.collect() }
    }
}

/// The offsets of one topic, if there is room for them.
fn offsets(topic: FetchedTopic, room: &mut AnswerRoom) -> Option<TopicOffsets> {
    let texts = topic.partitions.iter().map(|offset| offset.metadata.as_ref().map_or(0, |text| text.len()));
    room.take(topic.partitions.len() * PARTITION_BYTES + topic.name.len() + texts.sum::<usize>())?;
    let partition = |offset: FetchedOffset| PartitionOffset {
        index: offset.partition,
        committed_offset: offset.offset,
        committed_leader_epoch: offset.leader_epoch,
        metadata: Some(text(offset.metadata.as_deref().unwrap_or_default())),
        error: offset.error,
    };
    Some(TopicOffsets {
        name: text(&topic.name),
        id: topic.id,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    })
}
