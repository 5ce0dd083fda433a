//! Membership of a consumer group by the classic protocol: join, get partitions, commit, leave (JoinGroup, SyncGroup,
//! LeaveGroup).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::sleep;

use super::assignor::{self, RANGE, Subscriber};
use super::cluster::{At, Lane};
use super::connection::millis;
use super::coordinator::{self, Committer, Coordinated};
use super::heartbeat::{Heartbeat, Pulse};
use super::metadata::text;
use super::retry::{Backoff, retry};
use super::{Client, Error, Wanted};
use crate::types::ErrorCode;

pub use super::assignor::Assignment;
pub use super::coordinator::Offsets;

/// The group's kind, among those who share the protocol.
const PROTOCOL_TYPE: &str = "consumer";
/// Without heartbeats for so long the coordinator gives the member's partitions to others.
const SESSION: Duration = Duration::from_secs(10);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// How long the coordinator waits for this member when the group rebalances.
const REBALANCE: Duration = Duration::from_secs(60);
/// How long a join may take: as long as the slowest member of the group is given. Java's default is five minutes.
const JOIN_MAX: Duration = Duration::from_secs(10 * 60);

/// A member of a group.
#[derive(Debug)]
pub struct Membership {
    client: Client,
    group: String,
    topics: Vec<String>,
    coordinator: i32,
    /// This member's id, empty before the coordinator has given one, and the generation it joined.
    committer: Committer,
    assignment: Assignment,
    is_leader: bool,
    heartbeat: Option<Heartbeat>,
}

/// Why a member has to join again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Members come or go. Commits still count.
    Rebalance,
    /// The group went on without this member, which was not heard for too long. Its commits are refused.
    Dropped,
}

impl Membership {
    /// A member that has not joined yet.
    pub fn new(client: Client, group: &str, topics: &[String]) -> Self {
        Self {
            client,
            group: group.to_owned(),
            topics: topics.to_vec(),
            coordinator: -1,
            committer: Committer { member_id: StrBytes::new(), generation: -1 },
            assignment: Assignment::new(),
            is_leader: false,
            heartbeat: None,
        }
    }

    /// Joins, or joins again, and returns with this member's partitions. May be dropped while it waits, and then
    /// called again.
    ///
    /// # Errors
    /// The group refuses, or no coordinator answers for as long as the client waits.
    pub async fn join(&mut self) -> Result<&Assignment, Error> {
        self.heartbeat = None;
        self.assignment.clear();
        let mut backoff = Backoff::new(self.client.options().timeout);
        loop {
            let is_new = self.committer.member_id.is_empty();
            let error = match self.try_join().await {
                Ok(assignment) => {
                    self.assignment = assignment;
                    self.start_heartbeat();
                    return Ok(&self.assignment);
                }
                Err(error) => error,
            };
            match error.code() {
                // The id was just given (KIP-394), or a rebalance began between join and sync: at once.
                Some(ErrorCode::MemberIdRequired) if is_new => continue,
                Some(ErrorCode::RebalanceInProgress) => continue,
                Some(ErrorCode::UnknownMemberId) => self.committer.member_id = StrBytes::new(),
                Some(ErrorCode::IllegalGeneration) => {}
                _ if error.may_pass() => self.coordinator = -1,
                _ => return Err(error),
            }
            sleep(backoff.after(error)?).await;
        }
    }

    /// The partitions that this member has.
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Whether this member divides the partitions: then it is the one to join again when a topic has grown.
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }

    /// Waits until this member has to join again; never before it has joined. May be dropped while it waits.
    ///
    /// # Errors
    /// The coordinator refuses for good, or does not answer for as long as the client waits.
    pub async fn disturbed(&mut self) -> Result<Disturbance, Error> {
        let Some(heartbeat) = &mut self.heartbeat else {
            std::future::pending::<()>().await;
            return Ok(Disturbance::Rebalance);
        };
        match heartbeat.disturbed().await {
            Pulse::Steady | Pulse::Rebalance => Ok(Disturbance::Rebalance),
            Pulse::Dropped { forgotten } => {
                if forgotten {
                    self.committer.member_id = StrBytes::new();
                }
                Ok(Disturbance::Dropped)
            }
            Pulse::Failed(error) => Err(error),
        }
    }

    /// What the group has committed.
    ///
    /// # Errors
    /// The coordinator refuses, or does not answer.
    pub async fn committed(&self) -> Result<Offsets, Error> {
        let found = self.coordinator;
        retry(&self.client, async || coordinator::committed(&self.client, found, &self.group, true).await)
            .await
    }

    /// Commits offsets: those of the next records to read. Tried once, or twice when the coordinator has moved.
    ///
    /// # Errors
    /// The coordinator refuses, since this member is not part of the group's current generation any more, or it does
    /// not answer.
    pub async fn commit(&mut self, offsets: &Offsets) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let (client, group) = (&self.client, &self.group);
        let tried = coordinator::commit(client, self.coordinator, group, &self.committer, offsets).await;
        let has_moved = |error: &Error| {
            matches!(error.code(), Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable))
        };
        match tried {
            Err(error) if has_moved(&error) => {
                self.coordinator = coordinator::find(client, Coordinated::Group, group).await?;
                coordinator::commit(client, self.coordinator, group, &self.committer, offsets).await
            }
            tried => tried,
        }
    }

    /// Leaves, so that the others need not wait for this member's session to run out.
    ///
    /// # Errors
    /// The coordinator does not answer; the member is then dropped when its session is over.
    pub async fn leave(mut self) -> Result<(), Error> {
        self.heartbeat = None;
        if self.committer.member_id.is_empty() || self.coordinator < 0 {
            return Ok(());
        }
        let make = |version| leave_request(version, &self.group, &self.committer.member_id);
        let answer = self.client.call(At::Broker(self.coordinator), Lane::Questions, make).await?;
        Error::check(format!("leave group {}", self.group), answer.error_code, None)
    }

    fn start_heartbeat(&mut self) {
        self.heartbeat = Some(Heartbeat::start(
            self.client.clone(),
            self.group.clone(),
            self.committer.clone(),
            self.coordinator,
            HEARTBEAT_INTERVAL,
        ));
    }

    /// One round: join, and as the leader divide the partitions; then get one's own.
    async fn try_join(&mut self) -> Result<Assignment, Error> {
        if self.coordinator < 0 {
            self.coordinator = coordinator::find(&self.client, Coordinated::Group, &self.group).await?;
        }
        let make = |version| join_request(version, &self.group, &self.committer.member_id, &self.topics);
        let joined =
            self.client.call_within(At::Broker(self.coordinator), Lane::Group, JOIN_MAX, make).await?;
        if !joined.member_id.is_empty() {
            self.committer.member_id = joined.member_id.clone();
        }
        Error::check(format!("join group {}", self.group), joined.error_code, None)?;
        self.committer.generation = joined.generation_id;
        self.is_leader = joined.leader == joined.member_id;
        let shared = if self.is_leader { self.divide(&joined).await? } else { BTreeMap::new() };
        let make = |version| sync_request(version, &self.group, &self.committer, &shared);
        let synced =
            self.client.call_within(At::Broker(self.coordinator), Lane::Group, JOIN_MAX, make).await?;
        Error::check(format!("join group {}", self.group), synced.error_code, None)?;
        assignor::read_assignment(&synced.assignment).map_err(|error| Error::Malformed {
            address: format!("group {}", self.group),
            reason: format!("the assignment cannot be read: {error}"),
        })
    }

    /// As the group's leader: who gets what.
    async fn divide(&self, joined: &JoinGroupResponse) -> Result<BTreeMap<String, Assignment>, Error> {
        let subscribers: Vec<_> = joined.members.iter().map(subscriber).collect();
        let names: BTreeSet<&str> =
            subscribers.iter().flat_map(|one| &one.topics).map(String::as_str).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let metadata = self.client.metadata(Wanted::Named(&names), false).await?;
        let partitions = metadata
            .topics
            .into_iter()
            .map(|(name, topic)| (name, topic.partitions.iter().map(|partition| partition.index).collect()));
        Ok(assignor::range(&subscribers, &partitions.collect()))
    }
}

/// A member as the leader sees it. One whose subscription cannot be read gets nothing.
fn subscriber(member: &JoinGroupResponseMember) -> Subscriber {
    Subscriber {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        topics: assignor::read_subscription(&member.metadata).unwrap_or_default(),
    }
}

pub(super) fn join_request(
    version: i16,
    group: &str,
    member_id: &StrBytes,
    topics: &[String],
) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str(RANGE))
        .with_metadata(assignor::subscription(topics));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(millis(SESSION))
        .with_member_id(member_id.clone())
        .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
        .with_protocols(vec![protocol]);
    if version < 1 { request } else { request.with_rebalance_timeout_ms(millis(REBALANCE)) }
}

pub(super) fn sync_request(
    version: i16,
    group: &str,
    committer: &Committer,
    shared: &BTreeMap<String, Assignment>,
) -> SyncGroupRequest {
    let rows = shared.iter().map(|(member, assignment)| {
        let bytes: Bytes = assignor::assignment(assignment);
        SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(bytes)
    });
    let request = SyncGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id(committer.generation)
        .with_member_id(committer.member_id.clone())
        .with_assignments(rows.collect());
    if version < 5 {
        return request;
    }
    request
        .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
        .with_protocol_name(Some(StrBytes::from_static_str(RANGE)))
}

pub(super) fn leave_request(version: i16, group: &str, member_id: &StrBytes) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(GroupId(text(group)));
    if version < 3 {
        return request.with_member_id(member_id.clone());
    }
    request.with_members(vec![MemberIdentity::default().with_member_id(member_id.clone())])
}
