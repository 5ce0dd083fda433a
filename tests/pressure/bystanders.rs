//! Those who need nothing of the disk while it is slow: a member of a group, readers of what is in memory, whoever asks.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, MetadataRequest, OffsetCommitRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::support::Broker;
use crate::support::raw::{self, Connection};

/// How long anything that does not wait for the disk may take.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// A member of the group `g` that commits as it goes.
pub(crate) struct Member {
    connection: Connection,
    id: StrBytes,
    generation: i32,
    commits: bool,
}

impl Member {
    pub(crate) fn join(broker: &Broker, commits: bool) -> Self {
        let mut connection = Connection::to(broker.address());
        let group = GroupId(StrBytes::from_static_str("g"));
        let range = JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str("range"));
        let join = JoinGroupRequest::default()
            .with_group_id(group.clone())
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(30_000)
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![range.with_metadata(Bytes::from_static(b"m"))]);
        let joined = connection.call(3, &join);
        assert_eq!(joined.error_code, 0);
        let (id, generation) = (joined.member_id, joined.generation_id);
        let sync = SyncGroupRequest::default()
            .with_group_id(group)
            .with_generation_id(generation)
            .with_member_id(id.clone());
        assert_eq!(connection.call(3, &sync).error_code, 0);
        let mut member = Self { connection, id, generation, commits };
        member.goes_on();
        member
    }

    /// A heartbeat and, where that does not wait for the disk, a commit are answered soon.
    pub(crate) fn goes_on(&mut self) {
        self.connection.patience(SOON);
        let group = GroupId(StrBytes::from_static_str("g"));
        let heartbeat = HeartbeatRequest::default()
            .with_group_id(group.clone())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        assert_eq!(self.connection.ask(3, &heartbeat).expect("a heartbeat waits").error_code, 0);
        if !self.commits {
            return;
        }
        let place = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(1);
        let topic =
            OffsetCommitRequestTopic::default().with_name(raw::name("t")).with_partitions(vec![place]);
        let commit = OffsetCommitRequest::default()
            .with_group_id(group)
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone())
            .with_topics(vec![topic]);
        let committed = self.connection.ask(7, &commit).expect("a commit waits");
        assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    }
}

pub(crate) fn is_served_soon(connection: &mut Connection, what: &str) {
    connection.patience(SOON);
    let metadata = MetadataRequest::default().with_topics(None);
    assert!(connection.ask(9, &metadata).is_ok(), "Metadata waits: {what}");
}

/// The first record of a topic is read soon.
pub(crate) fn is_read_soon(connection: &mut Connection, topic: &str) {
    connection.patience(SOON);
    let response = connection.ask(11, &raw::fetch(topic, 0, 0, 0).with_max_bytes(1)).expect("a fetch waits");
    let (error, _, records) = raw::fetched(&response, 0);
    assert!(error == 0 && !records.is_empty(), "error {error}, {} records", records.len());
}
