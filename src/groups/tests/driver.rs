//! One shard as the coordinator drives it, without log, task and clock: commands in, answers out, time by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::{CatalogImage, TopicImage};
use crate::config::TopicSettings;
use crate::coord::{BatchKind, Context, Decision, Decoded, LogRecord, Release, StateMachine, Ticket};
use crate::groups::*;
use crate::types::{ErrorCode, Timestamp, TopicId};

/// When every test begins.
pub(super) const START: Timestamp = 1_700_000_000_000;
/// The session timeout of every member that does not say otherwise, in milliseconds.
pub(super) const SESSION_MS: i32 = 10_000;
/// The rebalance timeout of every member that does not say otherwise, in milliseconds.
pub(super) const REBALANCE_MS: i32 = 60_000;

/// A shard, its log and everything it has answered.
pub(super) struct Shard {
    pub(super) hard: Hard,
    pub(super) soft: Soft,
    pub(super) world: World,
    pub(super) now: Timestamp,
    /// The records of the log, a marker's without key and value.
    pub(super) log: Vec<LogRecord>,
    /// The kinds of the batches that they lie in.
    pub(super) kinds: Vec<BatchKind>,
    pub(super) effects: Vec<Effect>,
    pub(super) last_release: Release,
    answers: BTreeMap<Ticket, Reply>,
    waiting: Vec<Ticket>,
    tickets: u64,
    uuids: u8,
}

impl Shard {
    /// A shard with default settings: the initial delay is adaptive.
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A shard with some settings changed, and topics `t` (4 partitions) and `u` (2).
    pub(super) fn with(change: impl FnOnce(&mut GroupSettings)) -> Self {
        let mut settings = GroupSettings::default();
        change(&mut settings);
        let image = image(&[("t", 1, 4), ("u", 2, 2)]);
        let mut shard = Self {
            hard: Hard::default(),
            soft: Soft::default(),
            world: World { settings, image: Arc::new(image) },
            now: START,
            log: Vec::new(),
            kinds: Vec::new(),
            effects: Vec::new(),
            last_release: Release::Appended,
            answers: BTreeMap::new(),
            waiting: Vec::new(),
            tickets: 0,
            uuids: 0,
        };
        shard.restart();
        shard
    }

    /// Makes these the topics that exist: name, id and number of partitions.
    pub(super) fn set_topics(&mut self, topics: &[(&str, u8, i32)]) {
        self.world.image = Arc::new(image(topics));
    }

    /// Posts a command, and carries out what is due at once.
    pub(super) fn post(&mut self, command: Command) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.push(ticket);
        self.decide(|hard, soft, context| Groups::decide(hard, soft, context, ticket, command));
        self.run_due();
        ticket
    }

    /// The answer to a ticket, if it has one.
    pub(super) fn answer(&self, ticket: Ticket) -> Option<&Reply> {
        self.answers.get(&ticket)
    }

    /// Posts a command that must be answered at once.
    pub(super) fn ask(&mut self, command: Command) -> Reply {
        let ticket = self.post(command);
        self.answer(ticket).cloned().expect("an answer at once")
    }

    /// Lets time pass, firing whatever falls due, each at its time.
    pub(super) fn advance(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(due) = Groups::next_deadline(&self.soft).filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.run_due();
        }
        self.now = until;
    }

    /// What a restart leaves: the log. Whoever waits is cut off.
    pub(super) fn restart(&mut self) {
        assert_eq!(replay(self.log.iter().zip(&self.kinds)), self.hard, "replay gives what was there");
        self.waiting.clear();
        let context = Context { now: self.now, wall: self.now, world: &self.world };
        let (soft, effects) = Groups::on_load(&self.hard, &context);
        self.soft = soft;
        self.effects.extend(effects);
        self.run_due();
    }

    /// Tickets that nobody has answered yet.
    pub(super) fn waiting(&self) -> &[Ticket] {
        &self.waiting
    }

    /// 16 bytes that no other call returned.
    pub(super) fn uuid(&mut self) -> [u8; 16] {
        self.uuids = self.uuids.wrapping_add(1);
        let mut bytes = [0; 16];
        bytes[0] = self.uuids;
        bytes[15] = u8::try_from(self.tickets % 256).unwrap_or(0);
        bytes[14] = u8::try_from(self.tickets / 256 % 256).unwrap_or(0);
        bytes
    }

    fn run_due(&mut self) {
        let mut turns = 0;
        while Groups::next_deadline(&self.soft).is_some_and(|due| due <= self.now) {
            self.decide(Groups::on_deadline);
            turns += 1;
            assert!(turns < 100_000, "the deadlines never end");
        }
    }

    fn decide(&mut self, decide: impl FnOnce(&Hard, &mut Soft, &Context<'_, World>) -> Decision<Groups>) {
        let context = Context { now: self.now, wall: self.now, world: &self.world };
        let decision = decide(&self.hard, &mut self.soft, &context);
        let kind = decision.batch;
        let mut records = decision.records;
        if let Some(marker) = Groups::marker(&kind) {
            assert!(records.is_empty(), "a marker stands alone");
            records.push(marker);
        }
        for record in &records {
            let logged = Groups::encode(record);
            assert_eq!(decode(&logged, &kind).as_ref(), Some(record), "the log keeps all of it");
            Groups::apply(&mut self.hard, record);
            self.log.push(logged);
            self.kinds.push(kind);
        }
        self.last_release = decision.release;
        for (ticket, reply) in decision.replies {
            let place = self.waiting.iter().position(|waiting| *waiting == ticket);
            self.waiting.swap_remove(place.expect("an answer to one who waits"));
            self.answers.insert(ticket, reply);
        }
        self.effects.extend(decision.effects);
    }
}

/// What a record of the log says, or the marker that its batch is.
pub(super) fn decode(record: &LogRecord, kind: &BatchKind) -> Option<Record> {
    if let Some(marker) = Groups::marker(kind) {
        return Some(marker);
    }
    match Groups::decode(record, kind) {
        Ok(Decoded::Own(record)) => Some(record),
        other => panic!("a record of ours: {other:?}"),
    }
}

/// The state that a log gives.
pub(super) fn replay<'a>(log: impl Iterator<Item = (&'a LogRecord, &'a BatchKind)>) -> Hard {
    let mut hard = Hard::default();
    for record in log.filter_map(|(record, kind)| decode(record, kind)) {
        Groups::apply(&mut hard, &record);
    }
    hard
}

fn image(topics: &[(&str, u8, i32)]) -> CatalogImage {
    let topic = |(name, id, partitions): &(&str, u8, i32)| {
        Arc::new(TopicImage {
            id: topic_id(*id),
            name: Arc::from(*name),
            partitions: *partitions,
            internal: false,
            epoch_base: 0,
            overrides: Arc::default(),
            settings: Arc::new(TopicSettings::default()),
        })
    };
    CatalogImage::new(1, 1, topics.iter().map(topic))
}

/// The id that the tests' topics have for a number.
pub(super) fn topic_id(n: u8) -> TopicId {
    TopicId::from_bytes([n; 16])
}

/// A subscription to these topics, as consumers of version 0 send it.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend(u32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    bytes.into()
}

/// A JoinGroup request of a current client for group `g`; the tests change what matters to them.
pub(super) fn join(member_id: &str) -> JoinGroup {
    JoinGroup {
        group: "g".into(),
        member_id: member_id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", &subscription(&["t"]))],
        reason: None,
        member_id_required: true,
        can_skip_assignment: true,
        uuid: [0; 16],
    }
}

/// The same for a static member.
pub(super) fn join_static(member_id: &str, instance: &str) -> JoinGroup {
    JoinGroup { instance_id: Some(instance.into()), ..join(member_id) }
}

/// One assignor.
pub(super) fn protocol(name: &str, metadata: &[u8]) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::copy_from_slice(metadata) }
}

/// A SyncGroup request for group `g`.
pub(super) fn sync(member_id: &str, generation: i32, assignments: &[(&str, &str)]) -> SyncGroup {
    let assignment =
        |(member, bytes): &(&str, &str)| (Arc::from(*member), Bytes::copy_from_slice(bytes.as_bytes()));
    SyncGroup {
        group: "g".into(),
        member_id: member_id.into(),
        instance_id: None,
        generation,
        protocol_type: None,
        protocol_name: None,
        assignments: assignments.iter().map(assignment).collect(),
    }
}

/// An OffsetCommit request for group `g` and one partition of topic `t`.
pub(super) fn commit(member_id: &str, generation: i32, partition: i32, offset: i64) -> CommitOffsets {
    CommitOffsets {
        group: "g".into(),
        member_id: member_id.into(),
        instance_id: None,
        generation,
        retention_ms: None,
        topics: vec![commit_topic("t", &[(partition, offset)])],
    }
}

/// Offsets of one topic.
pub(super) fn commit_topic(name: &str, offsets: &[(i32, i64)]) -> CommitTopic {
    let partition = |(partition, offset): &(i32, i64)| CommitPartition {
        partition: *partition,
        offset: *offset,
        leader_epoch: 3,
        metadata: None,
    };
    CommitTopic { topic: TopicKey::Name(name.into()), partitions: offsets.iter().map(partition).collect() }
}

/// The same with the transaction of a producer, at epoch 0.
pub(super) fn pending(producer_id: i64, partition: i32, offset: i64) -> TxnOffsetCommit {
    TxnOffsetCommit {
        group: "g".into(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
        producer_id,
        producer_epoch: 0,
        guard: None,
        topics: vec![commit_topic("t", &[(partition, offset)])],
    }
}

/// The end of a producer's transaction, at epoch 0.
pub(super) fn ended(producer_id: i64, commit: bool) -> EndTransaction {
    EndTransaction { producer_id, producer_epoch: 0, coordinator_epoch: 1, commit, v2: false }
}

/// What tests do most.
impl Shard {
    /// Posts a join.
    pub(super) fn join(&mut self, request: JoinGroup) -> Ticket {
        let uuid = self.uuid();
        self.post(Command::Join(Box::new(JoinGroup { uuid, ..request })))
    }

    /// The answer to a join, which must have come.
    pub(super) fn joined(&self, ticket: Ticket) -> JoinReply {
        self.answer(ticket).cloned().expect("an answer to the join").join().unwrap()
    }

    /// Joins and expects the answer at once.
    pub(super) fn ask_join(&mut self, request: JoinGroup) -> JoinReply {
        let ticket = self.join(request);
        self.joined(ticket)
    }

    /// Gets an id for a new dynamic member.
    pub(super) fn new_id(&mut self) -> String {
        let reply = self.ask_join(join(""));
        assert_eq!(reply.error, ErrorCode::MemberIdRequired);
        reply.member_id.to_string()
    }

    /// Posts a sync.
    pub(super) fn sync(&mut self, request: SyncGroup) -> Ticket {
        self.post(Command::Sync(Box::new(request)))
    }

    /// The answer to a sync, which must have come.
    pub(super) fn synced(&self, ticket: Ticket) -> SyncReply {
        self.answer(ticket).cloned().expect("an answer to the sync").sync().unwrap()
    }

    /// Syncs and expects the answer at once.
    pub(super) fn ask_sync(&mut self, request: SyncGroup) -> SyncReply {
        let ticket = self.sync(request);
        self.synced(ticket)
    }

    /// Beats for a member of group `g`.
    pub(super) fn beat(&mut self, member_id: &str, generation: i32) -> ErrorCode {
        self.beat_as(member_id, None, generation)
    }

    /// Beats for a static member of group `g`.
    pub(super) fn beat_as(&mut self, member_id: &str, instance: Option<&str>, generation: i32) -> ErrorCode {
        let request = Heartbeat {
            group: "g".into(),
            member_id: member_id.into(),
            instance_id: instance.map(Arc::from),
            generation,
        };
        self.ask(Command::Heartbeat(request)).heartbeat().unwrap()
    }

    /// Leaves group `g`, by member id and instance.
    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> LeaveReply {
        let leaver = |(member_id, instance): &(&str, Option<&str>)| Leaver {
            member_id: Arc::from(*member_id),
            instance_id: instance.map(Arc::from),
            reason: None,
        };
        let members = members.iter().map(leaver).collect();
        self.ask(Command::Leave(LeaveGroup { group: "g".into(), members })).leave().unwrap()
    }

    /// Commits, and says what each partition got.
    pub(super) fn commit(&mut self, request: CommitOffsets) -> Vec<(String, i32, ErrorCode)> {
        let reply = self.ask(Command::Commit(request)).commit().unwrap();
        let topic = |topic: CommittedTopic| {
            let name = topic.name.to_string();
            topic.partitions.into_iter().map(move |(partition, error)| (name.clone(), partition, error))
        };
        reply.topics.into_iter().flat_map(topic).collect()
    }

    /// Commits one partition, and says how it went.
    pub(super) fn commit_one(&mut self, request: CommitOffsets) -> ErrorCode {
        let outcome = self.commit(request);
        assert_eq!(outcome.len(), 1);
        outcome[0].2
    }

    /// Commits with a transaction of which the coordinator says that it is open, and says what each partition got.
    pub(super) fn commit_pending(&mut self, mut request: TxnOffsetCommit) -> Vec<(String, i32, ErrorCode)> {
        for _ in 0..2 {
            let reply = self.ask(Command::TxnOffsetCommit(request.clone())).txn_offset_commit().unwrap();
            match reply {
                TxnCommitReply::Unverified(guard) => request.guard = Some(guard),
                TxnCommitReply::Done(reply) => {
                    let topic = |topic: CommittedTopic| {
                        let name = topic.name.to_string();
                        let partitions = topic.partitions.into_iter();
                        partitions.map(move |(partition, error)| (name.clone(), partition, error))
                    };
                    return reply.topics.into_iter().flat_map(topic).collect();
                }
            }
        }
        panic!("a guard that nobody took back does not hold")
    }

    /// The same for one partition.
    pub(super) fn pend(&mut self, request: TxnOffsetCommit) -> ErrorCode {
        let outcome = self.commit_pending(request);
        assert_eq!(outcome.len(), 1);
        outcome[0].2
    }

    /// Ends a transaction.
    pub(super) fn end(&mut self, end: EndTransaction) -> ErrorCode {
        self.ask(Command::EndTransaction(end)).end_transaction().unwrap()
    }

    /// What a consumer that insists on stable offsets is told of a partition of `t` in group `g`.
    pub(super) fn stable_offset(&mut self, partition: i32) -> (i64, ErrorCode) {
        let topics = vec![FetchTopic { topic: TopicKey::Name("t".into()), partitions: vec![partition] }];
        let request = FetchOffsets { group: "g".into(), topics: Some(topics), require_stable: true };
        let reply = self.ask(Command::Fetch(request)).fetch().unwrap();
        let offset = &reply.topics[0].partitions[0];
        (offset.offset, offset.error)
    }

    /// Every offset that a group has: topic, partition, offset.
    pub(super) fn offsets(&mut self, group: &str) -> Vec<(String, i32, i64)> {
        let request = FetchOffsets { group: group.into(), topics: None, require_stable: false };
        let reply = self.ask(Command::Fetch(request)).fetch().unwrap();
        let topic = |topic: FetchedTopic| {
            let name = topic.name.to_string();
            topic.partitions.into_iter().map(move |at| (name.clone(), at.partition, at.offset))
        };
        reply.topics.into_iter().flat_map(topic).collect()
    }

    /// Describes a group.
    pub(super) fn describe(&mut self, group: &str) -> DescribeReply {
        self.ask(Command::Describe { group: group.into() }).describe().unwrap()
    }

    /// The state of group `g`.
    pub(super) fn state(&mut self) -> GroupState {
        self.describe("g").state
    }

    /// Brings a group of this many dynamic members to `Stable`, each with its own id as assignment. Returns their ids,
    /// the leader first, and the generation.
    pub(super) fn stable(&mut self, members: usize) -> (Vec<String>, i32) {
        let ids: Vec<_> = (0..members).map(|_| self.new_id()).collect();
        let joins: Vec<_> = ids.iter().map(|id| self.join(join(id))).collect();
        self.advance(4_000);
        self.settle(ids, &joins)
    }

    /// Syncs members whose joins have been answered.
    pub(super) fn settle(&mut self, mut ids: Vec<String>, joins: &[Ticket]) -> (Vec<String>, i32) {
        let first = self.joined(joins[0]);
        assert_eq!(first.error, ErrorCode::None);
        ids.sort_by_key(|id| **id != *first.leader);
        for id in ids.iter().skip(1).chain(ids.first()) {
            let assignments: Vec<_> = if **id == *first.leader {
                ids.iter().map(|id| (&**id, &**id)).collect()
            } else {
                Vec::new()
            };
            self.sync(sync(id, first.generation, &assignments));
        }
        assert_eq!(self.state(), GroupState::Stable);
        (ids, first.generation)
    }
}
