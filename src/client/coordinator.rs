//! Coordinators: which broker it is (FindCoordinator), and the offsets that a group's keeps (OffsetCommit, OffsetFetch).

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, OffsetCommitRequest, OffsetFetchRequest,
    OffsetFetchResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::cluster::{At, Lane};
use super::metadata::{text, topic_name};
use super::{Address, Client, Error};
use crate::types::ErrorCode;
use crate::types::offset::NO_EPOCH;

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// Who commits: a member of a generation, whose commits are refused when it is not current any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committer {
    /// The member's id.
    pub(super) member_id: StrBytes,
    /// The generation it belongs to.
    pub(super) generation: i32,
}

/// What a broker coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coordinated {
    /// A consumer group.
    Group,
    /// The transactions of a transactional id.
    Transactions,
}

impl Coordinated {
    const fn code(self) -> i8 {
        match self {
            Self::Group => 0,
            Self::Transactions => 1,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Transactions => "transactional id",
        }
    }
}

/// The broker that coordinates a group, or a transactional id.
pub(super) async fn find(client: &Client, kind: Coordinated, key: &str) -> Result<i32, Error> {
    let answer = client.call(At::Any, Lane::Questions, |version| find_request(version, kind, key)).await?;
    let found = found(answer);
    let doing = || format!("find the coordinator of {} {key}", kind.name());
    Error::check(doing(), found.code, found.message.as_deref())?;
    let port = u16::try_from(found.port).map_err(|_| {
        Error::refused(doing(), ErrorCode::CoordinatorNotAvailable.code(), Some("its port is out of range"))
    })?;
    client.learn(found.id, Address { host: found.host.to_string(), port });
    Ok(found.id)
}

pub(super) fn find_request(version: i16, kind: Coordinated, key: &str) -> FindCoordinatorRequest {
    let request = FindCoordinatorRequest::default().with_key_type(kind.code());
    if version < 4 { request.with_key(text(key)) } else { request.with_coordinator_keys(vec![text(key)]) }
}

/// FindCoordinator's answer, whose form changed with version 4.
struct Found {
    code: i16,
    message: Option<StrBytes>,
    id: i32,
    host: StrBytes,
    port: i32,
}

fn found(answer: FindCoordinatorResponse) -> Found {
    match answer.coordinators.into_iter().next() {
        Some(row) => Found {
            code: row.error_code,
            message: row.error_message,
            id: *row.node_id,
            host: row.host,
            port: row.port,
        },
        None => Found {
            code: answer.error_code,
            message: answer.error_message,
            id: *answer.node_id,
            host: answer.host,
            port: answer.port,
        },
    }
}

/// What a group has committed; partitions without a commit are left out. With `stable` offsets of open transactions
/// are waited for (KIP-447).
pub(super) async fn committed(
    client: &Client,
    coordinator: i32,
    group: &str,
    stable: bool,
) -> Result<Offsets, Error> {
    let make = |version| committed_request(version, group, stable);
    let answer = client.call(At::Broker(coordinator), Lane::Questions, make).await?;
    read_committed(answer, group)
}

pub(super) fn committed_request(version: i16, group: &str, stable: bool) -> OffsetFetchRequest {
    let group_id = GroupId(text(group));
    let request = if version < 8 {
        OffsetFetchRequest::default().with_group_id(group_id).with_topics(None)
    } else {
        let all = OffsetFetchRequestGroup::default().with_group_id(group_id).with_topics(None);
        OffsetFetchRequest::default().with_groups(vec![all])
    };
    if version < 7 { request } else { request.with_require_stable(stable) }
}

fn read_committed(answer: OffsetFetchResponse, group: &str) -> Result<Offsets, Error> {
    let doing = || format!("read the offsets of group {group}");
    Error::check(doing(), answer.error_code, None)?;
    let mut rows = Vec::new();
    for topic in answer.topics {
        for row in topic.partitions {
            rows.push((topic.name.to_string(), row.partition_index, row.error_code, row.committed_offset));
        }
    }
    for group in answer.groups {
        Error::check(doing(), group.error_code, None)?;
        for topic in group.topics {
            for row in topic.partitions {
                rows.push((
                    topic.name.to_string(),
                    row.partition_index,
                    row.error_code,
                    row.committed_offset,
                ));
            }
        }
    }
    let mut offsets = Offsets::new();
    for (topic, partition, code, offset) in rows {
        Error::check(doing(), code, None)?;
        if offset >= 0 {
            offsets.insert((topic, partition), offset);
        }
    }
    Ok(offsets)
}

/// Commits offsets: those of the next records to read.
pub(super) async fn commit(
    client: &Client,
    coordinator: i32,
    group: &str,
    committer: &Committer,
    offsets: &Offsets,
) -> Result<(), Error> {
    let make = |version| commit_request(version, group, committer, offsets);
    let answer = client.call(At::Broker(coordinator), Lane::Group, make).await?;
    for row in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        Error::check(format!("commit offsets of group {group}"), row.error_code, None)?;
    }
    Ok(())
}

pub(super) fn commit_request(
    version: i16,
    group: &str,
    committer: &Committer,
    offsets: &Offsets,
) -> OffsetCommitRequest {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for ((topic, partition), offset) in offsets {
        let row = OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_metadata(Some(StrBytes::new()));
        let row = if version < 6 { row } else { row.with_committed_leader_epoch(NO_EPOCH) };
        topics.entry(topic).or_default().push(row);
    }
    let topics = topics.into_iter().map(|(name, rows)| {
        OffsetCommitRequestTopic::default().with_name(topic_name(name)).with_partitions(rows)
    });
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(committer.generation)
        .with_member_id(committer.member_id.clone())
        .with_topics(topics.collect())
}
