//! One shard as the coordinator drives it, without log, task and clock: commands in, answers out, time by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coord::{BatchKind, Context, Decision, Decoded, LogRecord, Release, StateMachine, Ticket};
use crate::txn::*;
use crate::types::{ErrorCode, Timestamp};

/// When every test begins.
pub(super) const START: Timestamp = 1_700_000_000_000;
/// The time-out of every transaction that does not say otherwise, in milliseconds.
pub(super) const TIMEOUT_MS: i32 = 30_000;
/// The transactional id of most tests.
pub(super) const ID: &str = "tx";

/// A shard, its log and everything it has answered.
pub(super) struct Shard {
    pub(super) hard: Hard,
    pub(super) soft: Soft,
    pub(super) world: World,
    pub(super) now: Timestamp,
    pub(super) wall: Timestamp,
    pub(super) log: Vec<LogRecord>,
    pub(super) effects: Vec<Effect>,
    pub(super) last_release: Release,
    answers: BTreeMap<Ticket, Reply>,
    waiting: Vec<Ticket>,
    tickets: u64,
    fresh_id: i64,
}

impl Shard {
    pub(super) fn new() -> Self {
        let world = World::default();
        let context = Context { now: START, wall: START, world: &world };
        let (soft, _) = Transactions::on_load(&Hard::default(), &context);
        Self {
            hard: Hard::default(),
            soft,
            world,
            now: START,
            wall: START,
            log: Vec::new(),
            effects: Vec::new(),
            last_release: Release::Appended,
            answers: BTreeMap::new(),
            waiting: Vec::new(),
            tickets: 0,
            fresh_id: 1_000,
        }
    }

    /// Posts a command.
    pub(super) fn post(&mut self, command: Command) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.push(ticket);
        self.decide(|hard, soft, context| Transactions::decide(hard, soft, context, ticket, command));
        ticket
    }

    /// Posts what the broker posts to itself.
    pub(super) fn post_internal(&mut self, command: Command) {
        self.decide(|hard, soft, context| Transactions::decide(hard, soft, context, Ticket::NOBODY, command));
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
        while let Some(due) = Transactions::next_deadline(&self.soft).filter(|due| *due <= until) {
            let step = (due - self.now).max(0);
            (self.now, self.wall) = (self.now + step, self.wall + step);
            self.decide(Transactions::on_deadline);
        }
        self.wall += until - self.now;
        self.now = until;
    }

    /// What a restart leaves: the log. Whoever waits is cut off.
    pub(super) fn restart(&mut self) {
        let mut hard = Hard::default();
        for record in &self.log {
            let Ok(Decoded::Own(record)) = Transactions::decode(record, &BatchKind::Plain) else {
                panic!("a record of ours")
            };
            Transactions::apply(&mut hard, &record);
        }
        assert_eq!(hard, self.hard, "replay gives what was there");
        self.waiting.clear();
        let context = Context { now: self.now, wall: self.wall, world: &self.world };
        let (soft, effects) = Transactions::on_load(&self.hard, &context);
        self.soft = soft;
        self.effects = effects;
    }

    fn decide(
        &mut self,
        decide: impl FnOnce(&Hard, &mut Soft, &Context<'_, World>) -> Decision<Transactions>,
    ) {
        let context = Context { now: self.now, wall: self.wall, world: &self.world };
        let decision = decide(&self.hard, &mut self.soft, &context);
        for record in &decision.records {
            self.record(record);
        }
        self.last_release = decision.release;
        for (ticket, reply) in decision.replies {
            let place = self.waiting.iter().position(|waiting| *waiting == ticket);
            self.waiting.swap_remove(place.expect("an answer to one who waits"));
            self.answers.insert(ticket, reply);
        }
        self.effects.extend(decision.effects);
    }

    fn record(&mut self, record: &Record) {
        let logged = Transactions::encode(record);
        let back = Transactions::decode(&logged, &BatchKind::Plain);
        assert_eq!(back.as_ref(), Ok(&Decoded::Own(record.clone())), "the log keeps all of it");
        Transactions::apply(&mut self.hard, record);
        self.log.push(logged);
    }

    /// Puts the transactional id into this state.
    pub(super) fn put(&mut self, id: &str, transaction: Transaction) {
        self.record(&Record { transactional_id: id.into(), value: Some(Arc::new(transaction)) });
        self.restart();
    }

    /// The transactional id's state, if it is known.
    pub(super) fn state(&self) -> &Transaction {
        self.hard.get(ID).expect("a transactional id that is known")
    }

    /// Where the transactional id stands.
    pub(super) fn status(&self) -> Status {
        self.state().status
    }

    /// Asks for a producer, with a fresh id where one is needed.
    pub(super) fn init(&mut self, held: Option<Producer>) -> Result<Producer, ErrorCode> {
        let mut request = InitProducer {
            transactional_id: ID.into(),
            timeout_ms: TIMEOUT_MS,
            held,
            fresh_id: None,
            client: Arc::default(),
        };
        let mut reply = self.ask(Command::Init(request.clone()));
        if reply == Reply::Init(InitReply::NeedsProducerId) {
            request.fresh_id = Some(self.fresh_id());
            reply = self.ask(Command::Init(request));
        }
        match reply {
            Reply::Init(InitReply::Given(producer)) => Ok(producer),
            Reply::Init(InitReply::Refused(error)) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// An id that no other call returned.
    pub(super) fn fresh_id(&mut self) -> i64 {
        self.fresh_id += 1;
        self.fresh_id
    }

    /// Adds partitions of topic `t` as a client of this version does.
    pub(super) fn add(
        &mut self,
        producer: Producer,
        partitions: &[i32],
        version: i16,
    ) -> Result<(), ErrorCode> {
        let request =
            AddPartitions { transactional_id: ID.into(), producer, partitions: of_t(partitions), version };
        match self.ask(Command::Add(request)) {
            Reply::Add(verdict) => verdict,
            other => panic!("{other:?}"),
        }
    }

    /// Asks for partitions of topic `t`.
    pub(super) fn verify(&mut self, producer: Producer, partitions: &[i32]) -> Result<Vec<bool>, ErrorCode> {
        let request =
            VerifyPartitions { transactional_id: ID.into(), producer, partitions: of_t(partitions) };
        match self.ask(Command::Verify(request)) {
            Reply::Verify(verdict) => verdict,
            other => panic!("{other:?}"),
        }
    }

    /// Posts an end.
    pub(super) fn post_end(&mut self, producer: Producer, outcome: Outcome, raises_epoch: bool) -> Ticket {
        let fresh_id = Some(self.fresh_id());
        let id = ID.into();
        self.post(Command::End(EndTxn { transactional_id: id, producer, outcome, raises_epoch, fresh_id }))
    }

    /// The answer to an end, if it has come.
    pub(super) fn ended(&self, ticket: Ticket) -> Option<Result<Producer, ErrorCode>> {
        match self.answer(ticket)? {
            Reply::End(verdict) => Some(*verdict),
            other => panic!("{other:?}"),
        }
    }

    /// Ends, writes what markers are asked for, and gives the answer.
    pub(super) fn end(
        &mut self,
        producer: Producer,
        outcome: Outcome,
        raises_epoch: bool,
    ) -> Result<Producer, ErrorCode> {
        let ticket = self.post_end(producer, outcome, raises_epoch);
        if self.ended(ticket).is_none() {
            self.write_markers();
        }
        self.ended(ticket).expect("an answer when the markers are written")
    }

    /// Writes the markers that were asked for last.
    pub(super) fn write_markers(&mut self) -> Arc<Markers> {
        let asked = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::WriteMarkers(markers) => Some(Arc::clone(markers)),
            _ => None,
        });
        let markers = asked.expect("markers to write");
        self.post_internal(Command::MarkersWritten {
            transactional_id: Arc::clone(&markers.transactional_id),
            attempt: markers.attempt,
        });
        markers
    }

    /// A producer with an open transaction on partition 0 of topic `t`.
    pub(super) fn ongoing(&mut self) -> Producer {
        let producer = self.init(None).unwrap();
        self.add(producer, &[0], 2).unwrap();
        producer
    }
}

/// Partitions of topic `t`.
fn of_t(partitions: &[i32]) -> Vec<(Arc<str>, i32)> {
    partitions.iter().map(|partition| (Arc::from("t"), *partition)).collect()
}

/// The producer of one epoch later.
pub(super) fn raised(producer: Producer) -> Producer {
    Producer { epoch: producer.epoch + 1, ..producer }
}
