//! Transactions against a log that fails: producers old and new under one id, ends in both versions, markers that come
//! late, twice or never, time-outs, epochs that run out, lost steps and power cuts. What must hold of every run:
//!
//! - replay gives the state that was there;
//! - no producer is given twice, and once a newer one was given nothing of an older one succeeds;
//! - what is prepared is followed by its completion alone, and its markers never change their outcome;
//! - every caller is answered once, and in the end nothing stands in Prepare.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use streamd::coord::shard::{Now, Output, Shard, replay};
use streamd::coord::{BatchKind, CoordLog, Decoded, LogRecord, StateMachine, Ticket};
use streamd::record::BatchView;
use streamd::record::build::{BatchBuilder, NewRecord};
use streamd::txn::{
    AddPartitions, Command, Effect, EndTxn, InitProducer, InitReply, Markers, Outcome, Producer, Record,
    Reply, Status, Transaction, Transactions, VerifyPartitions, World,
};
use streamd::types::ErrorCode;

use crate::faulty_log::{AppendFault, FaultyLog};
use crate::seeds::{Random, for_each_seed};

const IDS: [&str; 2] = ["one", "two"];
const TIMEOUT_MS: i32 = 500;

/// A program that produces under a transactional id, and believes what it was told last.
struct Client {
    id: &'static str,
    producer: Option<Producer>,
    version_2: bool,
}

/// What a caller asked, to judge its answer by.
#[derive(Debug, Clone)]
enum Asked {
    Init { client: usize, request: InitProducer },
    Work { client: usize, producer: Producer },
    End { client: usize, request: EndTxn },
}

struct Sim {
    log: Arc<FaultyLog>,
    shard: Shard<Transactions>,
    world: World,
    now: i64,
    tickets: u64,
    waiting: BTreeMap<Ticket, Asked>,
    internal: VecDeque<Command>,
    clients: Vec<Client>,
    /// The newest producer that anybody was told of.
    given: BTreeMap<&'static str, Producer>,
    /// Markers that are to be written, and ends that were marked.
    to_mark: Vec<Arc<Markers>>,
    marked: BTreeMap<(Arc<str>, Producer, i64), Outcome>,
    /// Transactions whose markers are written, as far as their producer and time tell them apart.
    written: BTreeSet<(Arc<str>, Producer, i64)>,
    wanted: Vec<(Arc<str>, Producer)>,
    /// Requests that come again with a fresh producer id.
    again: Vec<Asked>,
    fresh_id: i64,
}

fn load(log: &Arc<FaultyLog>, now: i64, world: &World) -> Shard<Transactions> {
    let replayed = replay::<Transactions>(&**log).expect("the log is sound");
    let log: Arc<dyn CoordLog> = Arc::clone(log) as _;
    Shard::new(log, replayed, Arc::new(|| {}), Now { steady: now, wall: now }, world)
}

impl Sim {
    /// Ids whose epochs are about to run out, and clients, some of whom share an id.
    fn new(random: &mut Random) -> Self {
        let (log, world) = (FaultyLog::new(), World::default());
        let mut fresh_id = 100;
        let clients: Vec<_> =
            (0..5).map(|n| Client { id: IDS[n % 2], producer: None, version_2: random.one_in(2) }).collect();
        if random.one_in(2) {
            fresh_id += 1;
            log.append(vec![near_the_last_epoch(IDS[0], fresh_id)]).expect("an append");
            log.sync();
        }
        let shard = load(&log, 0, &world);
        let mut sim = Self {
            log,
            shard,
            world,
            now: 0,
            tickets: 0,
            waiting: BTreeMap::new(),
            internal: VecDeque::new(),
            clients,
            given: BTreeMap::new(),
            to_mark: Vec::new(),
            marked: BTreeMap::new(),
            written: BTreeSet::new(),
            wanted: Vec::new(),
            again: Vec::new(),
            fresh_id,
        };
        sim.release();
        sim
    }

    fn fresh_id(&mut self) -> i64 {
        self.fresh_id += 1;
        self.fresh_id
    }

    fn ask(&mut self, asked: Asked) -> (Ticket, Command) {
        let command = match &asked {
            Asked::Init { request, .. } => Command::Init(request.clone()),
            Asked::End { request, .. } => Command::End(request.clone()),
            Asked::Work { client, producer } => {
                let transactional_id = self.clients[*client].id.into();
                let partitions = vec![("t".into(), self.tickets as i32 % 3)];
                let producer = *producer;
                let version = if self.clients[*client].version_2 { 2 } else { 0 };
                if self.tickets.is_multiple_of(4) {
                    Command::Verify(VerifyPartitions { transactional_id, producer, partitions })
                } else {
                    Command::Add(AddPartitions { transactional_id, producer, partitions, version })
                }
            }
        };
        self.tickets += 1;
        self.waiting.insert(Ticket(self.tickets), asked);
        (Ticket(self.tickets), command)
    }

    fn step(&mut self, asked: Vec<Asked>) {
        let asked = std::mem::take(&mut self.again).into_iter().chain(asked);
        let commands: Vec<_> = asked.collect::<Vec<_>>().into_iter().map(|asked| self.ask(asked)).collect();
        let now = Now { steady: self.now, wall: self.now };
        match self.shard.step(now, &self.world, &mut self.internal, commands) {
            Ok(outputs) => {
                let replayed = replay::<Transactions>(&*self.log).expect("the log is sound");
                assert_eq!(replayed.state(), self.shard.state(), "replay gives another state");
                self.hear(outputs);
            }
            Err(_) => self.reload(),
        }
    }

    fn release(&mut self) {
        match self.shard.release() {
            Ok(outputs) => self.hear(outputs),
            Err(_) => self.reload(),
        }
    }

    /// Whoever waited is refused with NOT_COORDINATOR: the outcome is unknown to it.
    fn reload(&mut self) {
        self.waiting.clear();
        self.wanted.clear();
        self.shard = load(&self.log, self.now, &self.world);
    }

    fn hear(&mut self, outputs: Vec<Output<Transactions>>) {
        for output in outputs {
            match output {
                Output::Effect(Effect::WriteMarkers(markers)) => {
                    let ended = (Arc::clone(&markers.transactional_id), markers.producer, markers.started_at);
                    let before = self.marked.insert(ended, markers.outcome);
                    assert!(
                        before.is_none_or(|before| before == markers.outcome),
                        "{markers:?} after {before:?}"
                    );
                    self.to_mark.push(markers);
                }
                Output::Effect(Effect::WantProducerId { transactional_id, producer }) => {
                    self.wanted.push((transactional_id, producer));
                }
                Output::Effect(_) => {}
                Output::Reply(ticket, reply) => {
                    let asked = self.waiting.remove(&ticket).expect("answered twice");
                    self.hear_reply(asked, reply);
                }
            }
        }
    }

    fn hear_reply(&mut self, asked: Asked, reply: Reply) {
        match (asked, reply) {
            (Asked::Init { client, request }, Reply::Init(InitReply::Given(producer))) => {
                let id = self.clients[client].id;
                if let Some(before) = self.given.insert(id, producer) {
                    // Only one that named what it holds may be told once more what is there already.
                    assert!(
                        producer > before || (request.held.is_some() && producer == before),
                        "{producer:?}"
                    );
                }
                self.clients[client].producer = Some(producer);
            }
            (Asked::Init { client, request }, Reply::Init(InitReply::NeedsProducerId)) => {
                let request = InitProducer { fresh_id: Some(self.fresh_id()), ..request };
                self.again.push(Asked::Init { client, request });
            }
            (Asked::End { client, request }, Reply::NeedsProducerId) => {
                let request = EndTxn { fresh_id: Some(self.fresh_id()), ..request };
                self.again.push(Asked::End { client, request });
            }
            (Asked::Work { client, producer }, Reply::Add(Ok(())) | Reply::Verify(Ok(_))) => {
                assert!(self.is_newest(client, producer), "{producer:?} writes beside {:?}", self.given);
            }
            (Asked::End { client, request }, Reply::End(Ok(producer))) => {
                if request.raises_epoch {
                    assert!(self.is_newest(client, producer), "{producer:?} goes on beside {:?}", self.given);
                    self.given.insert(self.clients[client].id, producer);
                    self.clients[client].producer = Some(producer);
                } else {
                    assert!(self.is_newest(client, request.producer), "{:?} ends", request.producer);
                }
            }
            (asked, Reply::Refused(error)) => {
                assert_eq!(error, ErrorCode::CoordinatorNotAvailable, "{asked:?}");
            }
            (Asked::Init { .. }, Reply::Init(InitReply::Refused(_)))
            | (Asked::Work { .. }, Reply::Add(Err(_)) | Reply::Verify(Err(_)))
            | (Asked::End { .. }, Reply::End(Err(_))) => {}
            (asked, reply) => panic!("{reply:?} to {asked:?}"),
        }
    }

    fn is_newest(&self, client: usize, producer: Producer) -> bool {
        self.given.get(self.clients[client].id).is_none_or(|given| producer >= *given)
    }

    /// Some client does something that it thinks right, or does it twice.
    fn some_work(&mut self, random: &mut Random) -> Asked {
        let client = random.below(self.clients.len() as u64) as usize;
        let Client { id, producer, version_2 } = &self.clients[client];
        let Some(producer) = producer.filter(|_| !random.one_in(6)) else {
            let held = producer.filter(|_| random.one_in(2));
            let transactional_id = (*id).into();
            let request = InitProducer {
                transactional_id,
                timeout_ms: TIMEOUT_MS,
                held,
                fresh_id: None,
                client: Arc::default(),
            };
            return Asked::Init { client, request };
        };
        if random.one_in(2) {
            return Asked::Work { client, producer };
        }
        let outcome = *random.pick(&[Outcome::Commit, Outcome::Abort]);
        let (transactional_id, raises_epoch) = ((*id).into(), *version_2);
        let request = EndTxn { transactional_id, producer, outcome, raises_epoch, fresh_id: None };
        Asked::End { client, request }
    }

    /// The broker carries out what it was asked: in any order, and perhaps twice.
    fn some_effect(&mut self, random: &mut Random) {
        if !self.to_mark.is_empty() {
            let at = random.below(self.to_mark.len() as u64) as usize;
            let markers = Arc::clone(&self.to_mark[at]);
            if !random.one_in(5) {
                self.to_mark.swap_remove(at);
            }
            self.write(&markers);
        }
        if let Some((transactional_id, producer)) = self.wanted.pop() {
            let fresh_id = self.fresh_id();
            self.internal.push_back(Command::ProducerIdFound { transactional_id, producer, fresh_id });
        }
    }

    /// The markers are written, and the word on it is on its way.
    fn write(&mut self, markers: &Markers) {
        let id = Arc::clone(&markers.transactional_id);
        self.written.insert((Arc::clone(&id), markers.producer, markers.started_at));
        let attempt = markers.attempt;
        self.internal.push_back(Command::MarkersWritten { transactional_id: id, attempt });
    }

    fn some_move(&mut self, random: &mut Random) {
        match random.below(20) {
            0..=8 => {
                self.now += random.below(30) as i64;
                let work = (0..random.below(4)).map(|_| self.some_work(random)).collect();
                self.step(work);
            }
            9..=12 => self.some_effect(random),
            13 => {
                let (durable, end) = (self.log.durable(), self.log.end());
                self.log.sync_to(durable + random.below((end - durable) as u64 + 1) as i64);
                self.release();
            }
            14 if random.one_in(3) => {
                let faults = [AppendFault::Before, AppendFault::After, AppendFault::Torn(1)];
                self.log.fail_append(*random.pick(&faults));
            }
            15 if random.one_in(3) => {
                self.log.limit_room(if random.one_in(2) { Some(random.below(40_000)) } else { None });
            }
            16 if random.one_in(3) => {
                if random.one_in(2) {
                    self.log.fail_sync();
                    self.release();
                }
                self.log.cut_power(random);
                self.internal.clear();
                self.to_mark.clear();
                self.reload();
                self.release();
            }
            17 if random.one_in(4) => self.now += i64::from(TIMEOUT_MS),
            _ => {
                self.log.sync();
                self.release();
            }
        }
        self.check_log();
    }

    /// What the log says of an id: behind a prepared outcome its completion, and no producer older than the one before.
    fn check_log(&self) {
        let mut last: BTreeMap<Arc<str>, Arc<Transaction>> = BTreeMap::new();
        for Record { transactional_id, value } in records(&self.log) {
            let value = value.expect("nothing expires here");
            if let Some(before) = last.insert(Arc::clone(&transactional_id), Arc::clone(&value)) {
                assert!(value.producer >= before.producer, "{value:?} after {before:?}");
                if let Some(outcome) = before.status.prepared() {
                    assert_eq!(value.status, Status::Complete(outcome), "{value:?} after {before:?}");
                }
                if let Status::Complete(_) = value.status {
                    let ended = (Arc::clone(&transactional_id), before.producer, before.started_at);
                    let is_marked = before.status.prepared().is_some() && self.written.contains(&ended);
                    assert!(is_marked || before.partitions.is_empty(), "{value:?} without markers");
                }
            }
        }
    }

    /// Everything heals, and all that is owed is done.
    fn settle(&mut self) {
        self.log.limit_room(None);
        for _ in 0..8 {
            self.now += 2_000;
            self.step(Vec::new());
            self.log.sync();
            self.release();
            for markers in std::mem::take(&mut self.to_mark) {
                self.write(&markers);
            }
            for (transactional_id, producer) in std::mem::take(&mut self.wanted) {
                let fresh_id = self.fresh_id();
                self.internal.push_back(Command::ProducerIdFound { transactional_id, producer, fresh_id });
            }
        }
        assert!(self.waiting.is_empty(), "unanswered: {:?}", self.waiting);
        assert!(!self.shard.is_holding());
        let last: BTreeMap<_, _> =
            records(&self.log).map(|record| (record.transactional_id, record.value)).collect();
        for (id, transaction) in last {
            let status = transaction.expect("nothing expires here").status;
            assert!(matches!(status, Status::Empty | Status::Complete(_)), "{id} stays in {status:?}");
        }
    }
}

fn records(log: &FaultyLog) -> impl Iterator<Item = Record> {
    let mut records = Vec::new();
    for batch in log.batches() {
        let view = BatchView::parse(&batch).expect("a batch");
        for record in view.records(1 << 20).expect("plain records").iter() {
            let record = record.expect("a record");
            let copied = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.to_vec().into());
            let record = LogRecord { key: copied(record.key), value: copied(record.value) };
            match Transactions::decode(&record, &BatchKind::Plain).expect("a record of ours") {
                Decoded::Own(record) => records.push(record),
                other => panic!("{other:?}"),
            }
        }
    }
    records.into_iter()
}

/// A batch that brings this id close to its last epoch.
fn near_the_last_epoch(id: &str, producer_id: i64) -> bytes::Bytes {
    let transaction = Transaction {
        producer: Producer { id: producer_id, epoch: i16::MAX - 6 },
        previous_id: producer_id,
        next_id: -1,
        last_epoch: -1,
        timeout_ms: TIMEOUT_MS,
        status: Status::Empty,
        partitions: BTreeMap::new(),
        updated_at: 0,
        started_at: -1,
        version: 0,
    };
    let record = Record { transactional_id: id.into(), value: Some(Arc::new(transaction)) };
    let LogRecord { key, value } = Transactions::encode(&record);
    let mut builder = BatchBuilder::new();
    builder.push(&NewRecord { key: key.as_deref(), value: value.as_deref(), ..NewRecord::default() });
    builder.build().expect("a batch")
}

#[test]
fn under_any_faults_no_two_producers_write_and_no_outcome_changes() {
    for_each_seed(400, |random| {
        let mut sim = Sim::new(random);
        for _ in 0..random.below(200) {
            sim.some_move(random);
        }
        sim.settle();
    });
}
