//! The group machine by itself, without log and task: what a commit, a heartbeat and a whole generation cost.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use streamd::catalog::{CatalogImage, TopicImage};
use streamd::coord::{Context, Decision, StateMachine, Ticket};
use streamd::groups::{
    Command, CommitOffsets, CommitPartition, CommitTopic, Groups, Hard, Heartbeat, JoinGroup, Protocol,
    Reply, Soft, SyncGroup, TopicKey, World,
};
use streamd::types::TopicId;

const NOW: i64 = 1_700_000_000_000;

/// A shard that keeps the members' replies and nothing else.
struct Shard {
    hard: Hard,
    soft: Soft,
    world: World,
    replies: Vec<Reply>,
}

impl Shard {
    fn new() -> Self {
        let topic = TopicImage {
            id: TopicId::from_bytes([7; 16]),
            name: "orders".into(),
            partitions: 64,
            internal: false,
            epoch_base: 0,
            overrides: Arc::default(),
            settings: Arc::default(),
        };
        let image = CatalogImage::new(1, 1, [Arc::new(topic)]);
        let world = World { image: Arc::new(image), ..World::default() };
        let hard = Hard::default();
        let (soft, _) = Groups::on_load(&hard, &Context { now: NOW, wall: NOW, world: &world });
        Self { hard, soft, world, replies: Vec::new() }
    }

    /// Decides, encodes and applies, as a step does.
    fn post(&mut self, command: Command) {
        let context = Context { now: NOW, wall: NOW, world: &self.world };
        let decision = Groups::decide(&self.hard, &mut self.soft, &context, Ticket(0), command);
        let Decision { records, replies, .. } = decision;
        for record in &records {
            black_box(Groups::encode(record));
            Groups::apply(&mut self.hard, record);
        }
        self.replies.extend(replies.into_iter().map(|(_, reply)| reply));
    }

    /// A generation of this many members from nothing to assignments. Returns their ids.
    fn generation(&mut self, members: u8) -> Vec<Arc<str>> {
        for member in 0..members {
            self.post(Command::Join(Box::new(join("", member))));
        }
        let ids: Vec<Arc<str>> =
            self.replies.drain(..).map(|reply| reply.join().unwrap().member_id).collect();
        for (member, id) in (0..members).zip(&ids) {
            self.post(Command::Join(Box::new(join(id, member))));
        }
        let leader = self.replies.drain(..).map(|reply| reply.join().unwrap().leader).next().unwrap();
        for id in &ids {
            let assigned = if *id == leader { &*ids } else { &[] };
            self.post(Command::Sync(Box::new(sync(id, assigned))));
        }
        assert_eq!(self.replies.len(), ids.len());
        self.replies.clear();
        ids
    }
}

fn join(member_id: &str, member: u8) -> JoinGroup {
    let metadata = Bytes::from_static(b"\0\x01\0\0\0\x01\0\x06orders\xff\xff\xff\xff\0\0\0\0");
    JoinGroup {
        group: "group".into(),
        member_id: member_id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        protocol_type: "consumer".into(),
        protocols: vec![
            Protocol { name: "range".into(), metadata: metadata.clone() },
            Protocol { name: "cooperative-sticky".into(), metadata },
        ],
        reason: None,
        member_id_required: true,
        can_skip_assignment: true,
        uuid: [member; 16],
    }
}

fn sync(member_id: &Arc<str>, assigned: &[Arc<str>]) -> SyncGroup {
    let assignment = Bytes::from_static(&[1; 48]);
    SyncGroup {
        group: "group".into(),
        member_id: Arc::clone(member_id),
        instance_id: None,
        generation: 1,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assigned.iter().map(|id| (Arc::clone(id), assignment.clone())).collect(),
    }
}

fn commit(member_id: &Arc<str>, offset: i64) -> CommitOffsets {
    let partition = CommitPartition { partition: 3, offset, leader_epoch: 0, metadata: None };
    CommitOffsets {
        group: "group".into(),
        member_id: Arc::clone(member_id),
        instance_id: None,
        generation: 1,
        retention_ms: None,
        topics: vec![CommitTopic { topic: TopicKey::Name("orders".into()), partitions: vec![partition] }],
    }
}

fn benches(criterion: &mut Criterion) {
    criterion.bench_function("groups/commit of one partition", |bencher| {
        let mut shard = Shard::new();
        let member = shard.generation(1).remove(0);
        let mut offset = 0;
        bencher.iter(|| {
            offset += 1;
            shard.post(Command::Commit(commit(&member, offset)));
            assert!(shard.replies.pop().unwrap().commit().unwrap().topics[0].partitions[0].1.is_none());
        });
    });
    criterion.bench_function("groups/heartbeat of one of 100 members", |bencher| {
        let mut shard = Shard::new();
        let members = shard.generation(100);
        let group: Arc<str> = "group".into();
        bencher.iter(|| {
            let beat = Heartbeat {
                group: Arc::clone(&group),
                member_id: Arc::clone(&members[50]),
                instance_id: None,
                generation: 1,
            };
            shard.post(Command::Heartbeat(beat));
            assert!(shard.replies.pop().unwrap().heartbeat().unwrap().is_none());
        });
    });
    criterion.bench_function("groups/join and sync of 100 members", |bencher| {
        bencher.iter_batched_ref(Shard::new, |shard| shard.generation(100), BatchSize::SmallInput);
    });
}

criterion_group!(all, benches);
criterion_main!(all);
