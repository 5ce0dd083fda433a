//! Questions of administration about consumer groups: which there are, who is in them, what they have committed.

use std::collections::BTreeMap;

use kafka_protocol::messages::consumer_group_describe_response as consumer;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest,
};

use super::assignor::{self, Assignment};
use super::cluster::{At, Lane};
use super::coordinator::{self, Coordinated, Offsets};
use super::metadata::text;
use super::retry::retry;
use super::{Client, Error, Wanted};
use crate::types::ErrorCode;

/// The state of a group that is not there.
const DEAD: &str = "Dead";

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub group: String,
    /// Its state; `None` before Kafka 2.6.
    pub state: Option<String>,
    /// Its kind, such as `Classic` or `Consumer`; `None` before Kafka 3.8.
    pub kind: Option<String>,
    /// What its members share: `consumer` for consumer groups; empty without members.
    pub protocol_type: String,
    /// The broker that coordinates it.
    pub coordinator: i32,
}

/// A group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its id.
    pub group: String,
    /// Its state.
    pub state: String,
    /// How partitions are assigned: `range`, for example. Empty without members.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// Its members.
    pub members: Vec<Member>,
    /// What it has committed.
    pub committed: Offsets,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its member id.
    pub id: String,
    /// Its static id, if it has one (KIP-345).
    pub instance_id: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// The partitions that it has.
    pub assignment: Assignment,
}

/// All groups, by id. Every broker is asked, for each knows those that it coordinates.
///
/// # Errors
/// A broker refuses, or does not answer.
pub async fn list(client: &Client) -> Result<Vec<Listed>, Error> {
    client.metadata(Wanted::None, false).await?;
    let mut groups = Vec::new();
    for broker in client.broker_ids() {
        let answer = retry(client, async || {
            let make = |_| ListGroupsRequest::default();
            let answer = client.call(At::Broker(broker), Lane::Questions, make).await?;
            Error::check("list groups", answer.error_code, None)?;
            Ok(answer)
        })
        .await?;
        let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        groups.extend(answer.groups.iter().map(|row| Listed {
            group: row.group_id.to_string(),
            state: told(&row.group_state),
            kind: told(&row.group_type),
            protocol_type: row.protocol_type.to_string(),
            coordinator: broker,
        }));
    }
    groups.sort_unstable_by(|a, b| a.group.cmp(&b.group));
    Ok(groups)
}

/// One group.
///
/// # Errors
/// `GROUP_ID_NOT_FOUND` when there is none of this name, another refusal, or no answer.
pub async fn describe(client: &Client, group: &str) -> Result<Described, Error> {
    retry(client, async || {
        let coordinator = coordinator::find(client, Coordinated::Group, group).await?;
        let described = match classic(client, coordinator, group).await? {
            Some(described) => Some(described),
            None => by_epochs(client, coordinator, group).await?,
        };
        let Some(mut described) = described else {
            let code = ErrorCode::GroupIdNotFound.code();
            return Err(Error::refused(format!("describe group {group}"), code, None));
        };
        described.committed = coordinator::committed(client, coordinator, group, false).await?;
        Ok(described)
    })
    .await
}

/// A group of the classic protocol, or one that only has commits.
async fn classic(client: &Client, coordinator: i32, group: &str) -> Result<Option<Described>, Error> {
    let answer = client.call(At::Broker(coordinator), Lane::Questions, |_| classic_request(group)).await?;
    let Some(row) = answer.groups.into_iter().next() else { return Ok(None) };
    if row.error_code == ErrorCode::GroupIdNotFound.code() || *row.group_state == *DEAD {
        return Ok(None);
    }
    Error::check(format!("describe group {group}"), row.error_code, row.error_message.as_deref())?;
    Ok(Some(classic_row(&row, coordinator)))
}

pub(super) fn classic_request(group: &str) -> DescribeGroupsRequest {
    DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))])
}

fn classic_row(row: &DescribedGroup, coordinator: i32) -> Described {
    let member = |member: &DescribedGroupMember| Member {
        id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        host: host(&member.client_host),
        // Groups that are not of consumers keep something else there.
        assignment: assignor::read_assignment(&member.member_assignment).unwrap_or_default(),
    };
    Described {
        group: row.group_id.to_string(),
        state: row.group_state.to_string(),
        assignor: row.protocol_data.to_string(),
        coordinator,
        members: row.members.iter().map(member).collect(),
        committed: Offsets::new(),
    }
}

/// A group of the newer protocol (KIP-848), where the broker knows it.
async fn by_epochs(client: &Client, coordinator: i32, group: &str) -> Result<Option<Described>, Error> {
    let connection = client.connection(At::Broker(coordinator), Lane::Questions).await?;
    if !connection.knows::<ConsumerGroupDescribeRequest>() {
        return Ok(None);
    }
    let make = |_| ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text(group))]);
    let answer = client.call(At::Broker(coordinator), Lane::Questions, make).await?;
    let Some(row) = answer.groups.into_iter().next() else { return Ok(None) };
    if row.error_code == ErrorCode::GroupIdNotFound.code() {
        return Ok(None);
    }
    Error::check(format!("describe group {group}"), row.error_code, row.error_message.as_deref())?;
    let member = |member: &consumer::Member| Member {
        id: member.member_id.to_string(),
        instance_id: member.instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        host: host(&member.client_host),
        assignment: by_name(&member.assignment),
    };
    Ok(Some(Described {
        group: row.group_id.to_string(),
        state: row.group_state.to_string(),
        assignor: row.assignor_name.to_string(),
        coordinator,
        members: row.members.iter().map(member).collect(),
        committed: Offsets::new(),
    }))
}

fn by_name(assignment: &consumer::Assignment) -> Assignment {
    let rows =
        assignment.topic_partitions.iter().map(|row| (row.topic_name.to_string(), row.partitions.clone()));
    rows.collect::<BTreeMap<_, _>>()
}

/// An address as coordinators tell it, without Java's leading slash.
fn host(told: &str) -> String {
    told.trim_start_matches('/').to_owned()
}
