//! A group of a thousand members that comes together again and again beside a producer and its consumer.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FetchRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::latencies::{Latencies, meanwhile};
use crate::support::Broker;
use crate::support::raw::{self, Connection};

const MEMBERS: usize = 1_000;
/// After the first, which waits for members that may come.
const ROUNDS: usize = 8;
/// What a member says of itself, and is told: about what a client with some topics has.
const METADATA_BYTES: usize = 100;
/// What rebalances may cost what has nothing to do with them, over what they cost it at another broker, where they take
/// the machine from it and nothing else: that it takes longer, and comes more rarely. They follow each other without a
/// pause, so there would be next to nothing of it if it stood behind them.
const WORSE_MAX: Duration = Duration::from_millis(250);
const RARER_MAX: f64 = 20.0;
const REBALANCE_IN_PROGRESS: i16 = 27;

/// A member with a connection of its own.
struct Member {
    connection: Connection,
    id: StrBytes,
    generation: i32,
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("crowd"))
}

impl Member {
    fn new(broker: &Broker) -> Self {
        Self { connection: Connection::to(broker.address()), id: StrBytes::default(), generation: -1 }
    }

    /// What it says of itself is new in each round, or the group would not have to come together again.
    fn asks_to_join(&mut self, round: u8) {
        let metadata = Bytes::from(vec![round; METADATA_BYTES]);
        let range = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str("range"))
            .with_metadata(metadata);
        let request = JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(30_000)
            .with_member_id(self.id.clone())
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![range]);
        self.connection.send(3, &request).unwrap();
    }

    fn joins(&mut self) -> JoinGroupResponse {
        let (_, response) = self.connection.answer::<JoinGroupRequest>(3).unwrap();
        assert_eq!(response.error_code, 0);
        self.id = response.member_id.clone();
        self.generation = response.generation_id;
        response
    }

    fn asks_to_sync(&mut self, assignments: Vec<SyncGroupRequestAssignment>) {
        let request = SyncGroupRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_assignments(assignments);
        self.connection.send(3, &request).unwrap();
    }

    fn heartbeat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        self.connection.call(3, &request).error_code
    }
}

/// Brings all together in one generation. It may take another if some come late.
fn rebalance(members: &mut [Member], round: &mut u8) {
    let began = Instant::now();
    loop {
        *round += 1;
        members.iter_mut().for_each(|member| member.asks_to_join(*round));
        let joined: Vec<_> = members.iter_mut().map(Member::joins).collect();
        let leader = joined.iter().position(|one| one.leader == one.member_id && !one.members.is_empty());
        let together = joined.iter().all(|one| one.generation_id == joined[0].generation_id);
        let leader = leader.expect("somebody leads");
        if !together || joined[leader].members.len() < members.len() {
            assert!(began.elapsed() < Duration::from_secs(30), "they do not come together");
            continue;
        }
        let assign = |of: &Member| {
            SyncGroupRequestAssignment::default()
                .with_member_id(of.id.clone())
                .with_assignment(Bytes::from(vec![2; METADATA_BYTES]))
        };
        let assignments: Vec<_> = members.iter().map(assign).collect();
        for (at, member) in members.iter_mut().enumerate() {
            member.asks_to_sync(if at == leader { assignments.clone() } else { Vec::new() });
        }
        for member in members.iter_mut() {
            let (_, response) = member.connection.answer::<SyncGroupRequest>(3).unwrap();
            assert_eq!((response.error_code, response.assignment.len()), (0, METADATA_BYTES));
        }
        eprintln!(
            "{} members are together after {:?}, in generation {}",
            members.len(),
            began.elapsed(),
            joined[0].generation_id
        );
        return;
    }
}

/// How long records take from a producer to a consumer that waits for them.
fn deliveries(broker: &Broker, over: &AtomicBool) -> Latencies {
    let mut producer = Connection::to(broker.address());
    let mut consumer = Connection::to(broker.address());
    let request = raw::produce("t", 0, 1, raw::batch(&[&[7; 1000]]));
    let (_, mut next) = raw::produced(&producer.call(9, &request));
    Latencies::of(over, Duration::from_millis(2), || {
        next += 1;
        consumer.send(11, &raw::fetch("t", 0, next, 10_000)).unwrap();
        producer.send(9, &request).unwrap();
        let (_, response) = consumer.answer::<FetchRequest>(11).unwrap();
        let (error, _, records) = raw::fetched(&response, next);
        assert_eq!((error, records.len()), (0, 1));
        assert_eq!(
            raw::produced(&producer.answer::<kafka_protocol::messages::ProduceRequest>(9).unwrap().1).0,
            0
        );
    })
}

#[test]
fn a_group_of_a_thousand_members_rebalances_without_blocking_the_data_path() {
    let _alone = crate::alone();
    let files = 2 * MEMBERS as u64 + 1_000;
    assert!(rlimit::increase_nofile_limit(2 * files).unwrap() >= files, "too few files may be open");
    let config =
        "[kafka]\n\"group.initial.rebalance.delay.ms\" = 500\n[durability]\nfsync = \"interval(1s)\"\n";
    // One worker each: if a rebalance held it, no other would help out.
    let (broker, other) = (crate::broker_of(1, config), crate::broker_of(1, config));
    for broker in [&broker, &other] {
        raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
    }
    let mut members: Vec<_> = (0..MEMBERS).map(|_| Member::new(&broker)).collect();
    let mut round = 0;
    rebalance(&mut members, &mut round);
    let mut beside = |broker: &Broker| {
        let began = Instant::now();
        let rebalances = || (0..ROUNDS).for_each(|_| rebalance(&mut members, &mut round));
        let all = meanwhile(|over| deliveries(broker, over), rebalances);
        (per_second(&all, began.elapsed()), all)
    };
    let (often_elsewhere, elsewhere) = beside(&other);
    let (often, here) = beside(&broker);
    let rarer = often_elsewhere / often;
    eprintln!(
        "beside rebalances of another broker: {elsewhere}\nof this one, {rarer:.1} times as rare: {here}"
    );
    assert!(
        members.iter_mut().step_by(97).all(|member| matches!(member.heartbeat(), 0 | REBALANCE_IN_PROGRESS))
    );
    let (null, then) = (elsewhere.p99(), here.p99());
    assert!(then < null + WORSE_MAX, "{then:?} beside rebalances, {null:?} beside those of another broker");
    assert!(rarer < RARER_MAX, "{rarer} times as rare as beside rebalances of another broker");
}

fn per_second(all: &Latencies, lasting: Duration) -> f64 {
    all.count() as f64 / lasting.as_secs_f64()
}
