//! A model run: clients that do the right thing, the wrong thing and nothing at all, in any order, with restarts. What
//! must hold for every group at any time is checked after every step.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::driver::*;
use crate::coord::Ticket;
use crate::groups::classic::ClassicGroup;
use crate::groups::members::Member;
use crate::groups::soft::Timer;
use crate::groups::*;
use crate::types::{ErrorCode, Timestamp};

const GROUPS: [&str; 2] = ["g", "h"];
const CLIENTS: usize = 6;
const RETENTION_MS: i64 = 2_000_000;
const CHECK_MS: i64 = 300_000;

#[derive(Debug, Clone)]
enum Step {
    Join { client: usize, fresh: bool, changed: bool, old: bool },
    Sync { client: usize },
    Beat { client: usize },
    Leave { client: usize },
    Commit { client: usize, partition: i32, offset: i64 },
    CommitOutside { group: usize, partition: i32, offset: i64, brief: bool },
    Stray { client: usize, member: usize, generation: i32 },
    DeleteGroup { group: usize },
    DeleteOffset { group: usize, partition: i32 },
    RemakeTopic { at_once: bool },
    Pass { ms: i64 },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let group = 0..GROUPS.len();
    let step = prop_oneof![
        12 => (client.clone(), prop::bool::weighted(0.2), prop::bool::weighted(0.1), prop::bool::weighted(0.2))
            .prop_map(|(client, fresh, changed, old)| Step::Join { client, fresh, changed, old }),
        12 => client.clone().prop_map(|client| Step::Sync { client }),
        6 => client.clone().prop_map(|client| Step::Beat { client }),
        2 => client.clone().prop_map(|client| Step::Leave { client }),
        5 => (client.clone(), 0..4, 0..1_000_i64)
            .prop_map(|(client, partition, offset)| Step::Commit { client, partition, offset }),
        2 => (group.clone(), 0..5, 0..1_000_i64, any::<bool>())
            .prop_map(|(group, partition, offset, brief)| Step::CommitOutside { group, partition, offset, brief }),
        2 => (client.clone(), client, 0..5)
            .prop_map(|(client, member, generation)| Step::Stray { client, member, generation }),
        1 => group.clone().prop_map(|group| Step::DeleteGroup { group }),
        1 => (group, 0..4).prop_map(|(group, partition)| Step::DeleteOffset { group, partition }),
        1 => any::<bool>().prop_map(|at_once| Step::RemakeTopic { at_once }),
        5 => prop_oneof![Just(1), Just(500), Just(3_000), Just(9_999), Just(60_000), Just(400_000), Just(2_100_000)]
            .prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..160)
}

/// A client; the odd ones are static members. Its group is fixed.
#[derive(Default)]
struct Client {
    member_id: String,
    generation: i32,
    /// The members it must assign to, if it leads.
    to_assign: Vec<String>,
    join: Option<Ticket>,
    sync: Option<Ticket>,
}

struct Model {
    shard: Shard,
    clients: Vec<Client>,
    topic: u8,
    /// Group and partition to offset, when it was committed, and when it expires if that was said.
    offsets: BTreeMap<(usize, i32), (i64, Timestamp, Option<Timestamp>)>,
    /// When a group was recorded last: offsets of an empty group age from there, whenever they were committed.
    recorded: BTreeMap<usize, Timestamp>,
    /// The last generation that anybody was told, and its leader.
    generations: BTreeMap<usize, (i32, String)>,
}

fn group_of(client: usize) -> usize {
    usize::from(client >= 4)
}

fn instance_of(client: usize) -> Option<Arc<str>> {
    (client % 2 == 1).then(|| format!("i{client}").into())
}

impl Model {
    fn new(initial_delay: InitialDelay, max_size: i32) -> Self {
        let shard = Shard::with(|settings| {
            settings.initial_delay = initial_delay;
            settings.max_size = max_size;
            settings.offsets_retention_ms = RETENTION_MS;
            settings.retention_check_interval_ms = CHECK_MS;
        });
        let clients = (0..CLIENTS).map(|_| Client::default()).collect();
        Self {
            shard,
            clients,
            topic: 1,
            offsets: BTreeMap::new(),
            recorded: BTreeMap::new(),
            generations: BTreeMap::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Join { client, fresh, changed, old } => self.join(client, fresh, changed, old),
            Step::Sync { client } => self.sync(client),
            Step::Beat { client } => {
                let Client { member_id, generation, .. } = &self.clients[client];
                let request = Heartbeat {
                    group: GROUPS[group_of(client)].into(),
                    member_id: member_id.as_str().into(),
                    instance_id: instance_of(client),
                    generation: *generation,
                };
                let error = self.shard.ask(Command::Heartbeat(request)).heartbeat().unwrap();
                self.forget_if_unknown(client, error);
            }
            Step::Leave { client } => self.leave(client),
            Step::Commit { client, partition, offset } => self.commit(client, partition, offset),
            Step::CommitOutside { group, partition, offset, brief } => {
                let retention_ms = brief.then_some(CHECK_MS);
                let request = CommitOffsets {
                    group: GROUPS[group].into(),
                    retention_ms,
                    ..commit("", -1, partition, offset)
                };
                self.commit_as(group, partition, offset, request);
            }
            Step::Stray { client, member, generation } => self.stray(client, member, generation),
            Step::DeleteGroup { group } => {
                let command = Command::DeleteGroup { group: GROUPS[group].into() };
                if self.shard.ask(command).delete_group().unwrap().is_none() {
                    self.offsets.retain(|(of, _), _| *of != group);
                }
            }
            Step::DeleteOffset { group, partition } => {
                let topics = vec![("t".into(), vec![partition])];
                let command = Command::DeleteOffsets(DeleteOffsets { group: GROUPS[group].into(), topics });
                let reply = self.shard.ask(command).delete_offsets().unwrap();
                if reply.error.is_none() && reply.topics[0].partitions[0].1.is_none() {
                    self.offsets.remove(&(group, partition));
                }
            }
            Step::RemakeTopic { at_once } => self.remake_topic(at_once),
            Step::Pass { ms } => self.shard.advance(ms),
            Step::Restart => {
                self.shard.restart();
                self.generations.retain(|group, _| self.shard.hard.group(GROUPS[*group]).is_some());
                for (group, told) in &mut self.generations {
                    // A generation that was not recorded is lost, and its number is given again.
                    let stored =
                        self.shard.hard.group(GROUPS[*group]).and_then(|stored| stored.metadata.as_ref());
                    let leader = stored.and_then(|stored| stored.leader.as_deref()).unwrap_or_default();
                    *told = (stored.map_or(0, |stored| stored.generation), leader.to_owned());
                }
                for client in &mut self.clients {
                    (client.join, client.sync) = (None, None);
                }
            }
        }
        self.hear();
    }

    fn join(&mut self, client: usize, fresh: bool, changed: bool, old: bool) {
        let id = if fresh { String::new() } else { self.clients[client].member_id.clone() };
        let metadata = subscription(if changed { &["t", "u"] } else { &["t"] });
        let request = JoinGroup {
            group: GROUPS[group_of(client)].into(),
            instance_id: instance_of(client),
            member_id_required: !old,
            protocols: vec![protocol("range", &metadata)],
            ..join(&id)
        };
        let ticket = self.shard.join(request);
        self.clients[client].join = Some(ticket);
    }

    fn sync(&mut self, client: usize) {
        let Client { member_id, generation, to_assign, .. } = &self.clients[client];
        let assignments: Vec<_> = to_assign.iter().map(|id| (&**id, &**id)).collect();
        let request = SyncGroup {
            group: GROUPS[group_of(client)].into(),
            instance_id: instance_of(client),
            ..sync(member_id, *generation, &assignments)
        };
        let ticket = self.shard.sync(request);
        self.clients[client].sync = Some(ticket);
    }

    fn leave(&mut self, client: usize) {
        let id: Arc<str> = self.clients[client].member_id.as_str().into();
        let leaver = Leaver { member_id: id, instance_id: instance_of(client), reason: None };
        let request = LeaveGroup { group: GROUPS[group_of(client)].into(), members: vec![leaver] };
        let reply = self.shard.ask(Command::Leave(request)).leave().unwrap();
        assert_eq!(reply.members.len(), 1);
        self.clients[client].member_id.clear();
    }

    fn commit(&mut self, client: usize, partition: i32, offset: i64) {
        let Client { member_id, generation, .. } = &self.clients[client];
        let request = CommitOffsets {
            group: GROUPS[group_of(client)].into(),
            instance_id: instance_of(client),
            ..commit(member_id, *generation, partition, offset)
        };
        let error = self.commit_as(group_of(client), partition, offset, request);
        self.forget_if_unknown(client, error);
    }

    fn commit_as(&mut self, group: usize, partition: i32, offset: i64, request: CommitOffsets) -> ErrorCode {
        let expires = request.retention_ms.map(|ms| self.shard.now + ms);
        let error = self.shard.commit_one(request);
        if error.is_none() {
            assert!(partition < 4, "a partition that exists");
            self.offsets.insert((group, partition), (offset, self.shard.now, expires));
        }
        error
    }

    /// Somebody acts in another's name, or in a generation that is not its own.
    fn stray(&mut self, client: usize, member: usize, generation: i32) {
        let id = self.clients[member].member_id.clone();
        let request =
            SyncGroup { group: GROUPS[group_of(client)].into(), ..sync(&id, generation, &[("nobody", "x")]) };
        if group_of(client) != group_of(member) || self.clients[member].generation != generation {
            self.shard.sync(request);
        }
    }

    fn remake_topic(&mut self, at_once: bool) {
        let gone = topic_id(self.topic);
        self.topic += 1;
        self.shard.set_topics(&[("t", self.topic, 4), ("u", 2, 2)]);
        if at_once {
            self.shard.ask(Command::TopicsDeleted { topics: vec![("t".into(), gone)] });
        }
        self.offsets.clear();
    }

    fn forget_if_unknown(&mut self, client: usize, error: ErrorCode) {
        if matches!(error, ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) {
            self.clients[client].member_id.clear();
        }
    }

    /// Clients take in what they were answered.
    fn hear(&mut self) {
        for at in 0..CLIENTS {
            let join = self.clients[at].join.filter(|ticket| self.shard.answer(*ticket).is_some());
            if let Some(ticket) = join {
                let reply = self.shard.joined(ticket);
                self.clients[at].join = None;
                self.hear_join(at, reply);
            }
            let sync = self.clients[at].sync.filter(|ticket| self.shard.answer(*ticket).is_some());
            if let Some(ticket) = sync {
                let reply = self.shard.synced(ticket);
                self.clients[at].sync = None;
                self.forget_if_unknown(at, reply.error);
            }
        }
    }

    fn hear_join(&mut self, at: usize, reply: JoinReply) {
        self.forget_if_unknown(at, reply.error);
        if reply.error == ErrorCode::MemberIdRequired {
            self.clients[at].member_id = reply.member_id.to_string();
        }
        if !reply.error.is_none() {
            assert_eq!((reply.generation, reply.members.len()), (-1, 0), "{reply:?}");
            return;
        }
        let leads = reply.leader == reply.member_id;
        assert_eq!(
            leads,
            !reply.members.is_empty(),
            "the leader and nobody else sees the members: {reply:?}"
        );
        let told = (reply.generation, reply.leader.to_string());
        if let Some(before) = self.generations.insert(group_of(at), told.clone()) {
            assert!(before.0 <= told.0, "generations fall: {before:?} {reply:?}");
            assert!(
                before.0 < told.0 || before.1 == told.1 || reply.skip_assignment,
                "two leaders: {before:?} {told:?}"
            );
        }
        let client = &mut self.clients[at];
        client.member_id = reply.member_id.to_string();
        client.generation = reply.generation;
        client.to_assign = reply.members.iter().map(|member| member.member_id.to_string()).collect();
    }

    fn check(&mut self) {
        let groups = &self.shard.soft.groups;
        let waiting: usize = groups.values().map(waiting).sum();
        assert_eq!(waiting, self.shard.waiting().len(), "somebody waits for nothing, or two share a place");
        for (id, group) in groups {
            assert!(!group.is_idle(), "{id} has nothing to live for");
            check_timers(&self.shard, group);
            check_group(&self.shard, group);
        }
        for (group, name) in GROUPS.iter().enumerate() {
            self.check_offsets(group);
            if self.shard.describe(name).state == GroupState::Dead {
                self.generations.remove(&group);
            }
        }
    }

    fn check_offsets(&mut self, group: usize) {
        let stored = self.shard.offsets(GROUPS[group]);
        let stored: BTreeMap<_, _> =
            stored.into_iter().map(|(_, partition, offset)| (partition, offset)).collect();
        let now = self.shard.now;
        let recorded = self.recorded.get(&group).copied();
        let metadata = self.shard.hard.group(GROUPS[group]).and_then(|stored| stored.metadata.as_ref());
        match metadata.and_then(|metadata| metadata.state_since) {
            Some(since) => self.recorded.insert(group, since),
            None => self.recorded.remove(&group),
        };
        self.offsets.retain(|(of, partition), (offset, committed, expires)| {
            if *of != group {
                return true;
            }
            let since = recorded.map_or(*committed, |recorded| recorded.min(*committed));
            let old = expires.map_or(now - since >= RETENTION_MS, |at| now >= at);
            match stored.get(partition) {
                Some(found) => assert_eq!(found, offset, "an offset changed by itself"),
                None => assert!(old, "offset {offset} of {partition} went before its time"),
            }
            stored.contains_key(partition)
        });
        for partition in stored.keys() {
            assert!(self.offsets.contains_key(&(group, *partition)), "an offset came back");
        }
    }

    /// Everybody falls silent: all who wait are answered, and nobody remains.
    fn check_end(&mut self) {
        self.shard.advance(3_600_000);
        assert!(self.shard.waiting().is_empty(), "waiting for ever");
        assert!(self.shard.soft.groups.is_empty(), "members for ever");
        self.shard.restart();
    }
}

fn waiting(group: &ClassicGroup) -> usize {
    let per_member = |member: &Member| usize::from(member.is_joining()) + usize::from(member.sync.is_some());
    group.members.iter().map(per_member).sum()
}

/// No group can get stuck: whatever it waits for has a timer.
fn check_timers(shard: &Shard, group: &ClassicGroup) {
    let timers = &shard.soft.timers;
    let joins = timers.get(&Timer::Join(Arc::clone(&group.id))).is_some();
    assert_eq!(joins, group.state == GroupState::PreparingRebalance, "{group:?}");
    let syncs = timers.get(&Timer::Sync(Arc::clone(&group.id))).is_some();
    assert_eq!(syncs, !group.to_sync.is_empty(), "{group:?}");
    for member in group.members.iter() {
        let set = timers.get(&group.member_timer(&member.id));
        assert_eq!(set, member.armed, "{member:?}");
        assert!(set.is_some() || member.owes_no_heartbeat(), "{member:?} would live for ever");
        assert!(set.is_none_or(|at| at <= member.deadline), "{member:?}");
    }
}

fn check_group(shard: &Shard, group: &ClassicGroup) {
    let members: Vec<_> = group.members.iter().map(|member| Arc::clone(&member.id)).collect();
    if group.state == GroupState::Empty {
        assert!(members.is_empty() && group.leader.is_none());
    }
    if !members.is_empty() {
        assert!(group.leader.as_ref().is_some_and(|leader| members.contains(leader)), "{group:?}");
    }
    assert_eq!(group.members.joining(), group.members.iter().filter(|member| member.is_joining()).count());
    assert!(group.members.joining() == 0 || group.state == GroupState::PreparingRebalance);
    if group.state == GroupState::Stable {
        let stored =
            shard.hard.group(&group.id).and_then(|stored| stored.metadata.as_ref()).expect("a record");
        assert_eq!((stored.generation, &stored.leader), (group.generation, &group.leader));
        let recorded: Vec<_> = stored.members.iter().map(|member| Arc::clone(&member.member_id)).collect();
        assert_eq!(recorded, members, "what is stable is recorded");
        for (member, stored) in group.members.iter().zip(&stored.members) {
            assert!(!member.assignment.is_empty(), "{member:?} has no assignment");
            assert_eq!(member.assignment, stored.assignment);
            assert!(member.sync.is_none());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_clients_do_the_rules_of_a_group_hold(
        steps in steps(),
        set_delay in any::<bool>(),
        small in any::<bool>(),
    ) {
        let delay = if set_delay { InitialDelay::Exactly(3_000) } else { InitialDelay::Adaptive };
        let mut model = Model::new(delay, if small { 2 } else { i32::MAX });
        for step in &steps {
            model.run(step);
            model.check();
        }
        model.check_end();
    }
}
