//! The shard's core against a log that fails: what may be let out, when, and what is left after a fault.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use streamd::coord::shard::{Now, Output, Shard, replay};
use streamd::coord::{CoordLog, LogFault, Release, Ticket};
use streamd::record::BatchView;
use streamd::record::build::{BatchBuilder, NewRecord};
use streamd::types::ErrorCode;

use crate::faulty_log::{AppendFault, FaultyLog};
use crate::ledger::{Command, Effect, Ledger, PRODUCER_EPOCH, Reply, Sums, World};
use crate::seeds::{Random, for_each_seed};

/// A shard with its callers, and all that was promised to them.
struct Driver {
    log: Arc<FaultyLog>,
    shard: Shard<Ledger>,
    world: World,
    now: i64,
    tickets: u64,
    waiting: BTreeSet<Ticket>,
    internal: VecDeque<Command>,
    promises: Vec<Promise>,
}

/// "The first `relies_on` records make this sum": what an answer comes to.
struct Promise {
    key: u8,
    sum: i64,
    relies_on: u64,
}

fn load(log: &Arc<FaultyLog>, now: i64, world: &World) -> Result<Shard<Ledger>, LogFault> {
    let replayed = replay::<Ledger>(&**log)?;
    let log: Arc<dyn CoordLog> = Arc::clone(log) as _;
    Ok(Shard::new(log, replayed, Arc::new(|| {}), Now { steady: now, wall: now }, world))
}

impl Driver {
    fn new() -> Self {
        let (log, world) = (FaultyLog::new(), World { images: true });
        let shard = load(&log, 0, &world).expect("an empty log loads");
        let (waiting, internal) = (BTreeSet::new(), VecDeque::new());
        let mut driver =
            Self { log, shard, world, now: 0, tickets: 0, waiting, internal, promises: Vec::new() };
        driver.release();
        driver
    }

    /// Steps with these client commands, and returns what came out. A fault refuses all that wait and loads again.
    fn step(&mut self, commands: Vec<Command>) -> Vec<Output<Ledger>> {
        let client: Vec<_> = commands
            .into_iter()
            .map(|command| {
                self.tickets += 1;
                self.waiting.insert(Ticket(self.tickets));
                (Ticket(self.tickets), command)
            })
            .collect();
        let now = Now { steady: self.now, wall: self.now };
        match self.shard.step(now, &self.world, &mut self.internal, client) {
            Ok(outputs) => {
                self.check(&outputs);
                let replayed = replay::<Ledger>(&*self.log).expect("the log is sound");
                assert_eq!(replayed.state(), self.shard.state(), "replay gives another state");
                outputs
            }
            Err(_) => self.reload(),
        }
    }

    fn release(&mut self) -> Vec<Output<Ledger>> {
        match self.shard.release() {
            Ok(outputs) => {
                self.check(&outputs);
                outputs
            }
            Err(_) => self.reload(),
        }
    }

    fn reload(&mut self) -> Vec<Output<Ledger>> {
        self.waiting.clear();
        match load(&self.log, self.now, &self.world) {
            Ok(shard) => self.shard = shard,
            Err(fault) => panic!("{fault}"),
        }
        self.check_promises();
        Vec::new()
    }

    /// The power goes: what was promised on records that were not durable is void.
    fn cut_power(&mut self, random: &mut Random) {
        let durable = self.log.durable() as u64;
        self.promises.retain(|promise| promise.relies_on <= durable);
        self.log.cut_power(random);
        self.internal.clear();
        self.reload();
    }

    fn check(&mut self, outputs: &[Output<Ledger>]) {
        let in_log = |release| match release {
            Release::Appended => self.log.end() as u64,
            Release::Durable => self.log.durable() as u64,
        };
        for output in outputs {
            match output {
                Output::Reply(ticket, reply) => {
                    assert!(self.waiting.remove(ticket), "{ticket:?} is answered twice");
                    if let Reply::Sum { relies_on, release, .. } | Reply::Written { relies_on, release } =
                        reply
                    {
                        assert!(*relies_on <= in_log(*release), "a reply precedes its records");
                    }
                }
                Output::Effect(Effect::Added { relies_on, release, .. }) => {
                    assert!(*relies_on <= in_log(*release), "an effect precedes its records");
                }
                Output::Effect(Effect::Image(sums)) => {
                    assert!(sums.count <= in_log(Release::Durable), "an image precedes its records");
                }
                Output::Effect(Effect::Loaded) => {}
            }
        }
        self.promises.extend(outputs.iter().filter_map(promise));
    }

    /// Whatever was lost, what was promised is still so.
    fn check_promises(&self) {
        let mut sums = vec![Sums::default()];
        for batch in self.log.batches() {
            let view = BatchView::parse(&batch).expect("a batch");
            let (attributes, producer) = (view.header().attributes, view.header().producer_id);
            for record in view.records(1 << 20).expect("records").iter() {
                let record = record.expect("a record");
                let (key, value) = (record.key.expect("a key"), record.value.expect("a value"));
                let mut next = sums.last().expect("at least one").clone();
                let amount = || i64::from_be_bytes(value.try_into().expect("8 bytes"));
                if attributes.is_control() {
                    let pending = next.pending.remove(&producer).unwrap_or_default();
                    for (key, amount) in pending.into_iter().filter(|_| key[3] == 1) {
                        *next.by_key.entry(key).or_default() += amount;
                    }
                } else if attributes.is_transactional() {
                    next.pending.entry(producer).or_default().push((key[0], amount()));
                } else {
                    *next.by_key.entry(key[0]).or_default() += amount();
                }
                sums.push(next);
            }
        }
        for promise in &self.promises {
            let then = sums.get(promise.relies_on as usize).expect("what was promised is in the log");
            assert_eq!(then.by_key.get(&promise.key).copied().unwrap_or(0), promise.sum);
        }
    }
}

fn promise(output: &Output<Ledger>) -> Option<Promise> {
    match output {
        Output::Reply(_, Reply::Sum { key, sum, relies_on, .. }) => {
            Some(Promise { key: *key, sum: *sum, relies_on: *relies_on })
        }
        Output::Effect(Effect::Image(sums)) => {
            let (key, sum) = sums.by_key.iter().next_back()?;
            Some(Promise { key: *key, sum: *sum, relies_on: sums.count })
        }
        _ => None,
    }
}

fn add(key: u8, release: Release) -> Command {
    Command::Add { key, amount: 1, records: 1, release }
}

fn random_command(random: &mut Random) -> Command {
    let key = random.below(4) as u8;
    let release = *random.pick(&[Release::Appended, Release::Durable]);
    let producer = random.below(2) as i64;
    match random.below(13) {
        10 => Command::End { producer, commit: random.one_in(2), release },
        11..=12 => {
            let (amount, records) = (random.below(100) as i64, random.below(3) as u8);
            Command::AddPending { producer, key, amount, records, release }
        }
        0..=4 => {
            let (amount, records) = (random.below(100) as i64, random.below(4) as u8);
            Command::Add { key, amount, records, release }
        }
        5 => Command::ReadDurable(key),
        6 => Command::Await(key),
        7 => Command::AddLater { key, after: random.below(50) as i64 },
        _ => Command::Sleep(random.below(50) as i64),
    }
}

fn random_move(driver: &mut Driver, random: &mut Random) {
    match random.below(16) {
        0..=7 => {
            driver.now += random.below(20) as i64;
            let commands = (0..random.below(5)).map(|_| random_command(random)).collect();
            if random.one_in(4) {
                driver.internal.push_back(add(random.below(4) as u8, Release::Appended));
            }
            driver.step(commands);
        }
        8..=10 => {
            let (durable, end) = (driver.log.durable(), driver.log.end());
            driver.log.sync_to(durable + random.below((end - durable) as u64 + 1) as i64);
            driver.release();
        }
        11 => {
            let faults = [AppendFault::Before, AppendFault::After, AppendFault::Torn(1)];
            driver.log.fail_append(*random.pick(&faults));
        }
        12 => driver.log.limit_room(if random.one_in(2) { Some(random.below(400)) } else { None }),
        13 if random.one_in(4) => {
            driver.log.fail_sync();
            driver.release();
            driver.cut_power(random);
        }
        14 if random.one_in(3) => driver.cut_power(random),
        _ => {
            driver.log.sync();
            driver.release();
        }
    }
}

#[test]
fn under_any_faults_answers_come_once_and_stay_true() {
    for_each_seed(300, |random| {
        let mut driver = Driver::new();
        for _ in 0..random.below(120) {
            random_move(&mut driver, random);
        }
        // Everything heals: whoever waits for the log or for time is answered, and whoever waits for somebody.
        driver.log.limit_room(None);
        for _ in 0..2 {
            driver.now += 10_000;
            driver.step((0..4).map(|key| add(key, Release::Durable)).collect());
            driver.log.sync();
            driver.release();
        }
        assert_eq!(driver.waiting, BTreeSet::new());
        assert!(driver.internal.is_empty());
        assert!(!driver.shard.is_holding());
        driver.reload();
    });
}

fn replies(outputs: &[Output<Ledger>]) -> Vec<&Reply> {
    let mut replies = Vec::new();
    for output in outputs {
        if let Output::Reply(_, reply) = output {
            replies.push(reply);
        }
    }
    replies
}

#[test]
fn what_needs_only_the_log_does_not_queue_behind_what_needs_the_disk() {
    let mut driver = Driver::new();
    assert!(replies(&driver.step(vec![add(1, Release::Durable)])).is_empty());
    assert_eq!(replies(&driver.step(vec![add(1, Release::Appended)])).len(), 1);
    assert!(driver.shard.is_holding());
    driver.log.sync();
    assert_eq!(replies(&driver.release()).len(), 1);
}

#[test]
fn a_durable_answer_without_records_waits_for_all_that_was_appended_before() {
    let mut driver = Driver::new();
    driver.step(vec![add(1, Release::Appended)]);
    assert!(
        replies(&driver.step(vec![Command::ReadDurable(1)])).is_empty(),
        "a power cut could still unsay it"
    );
    driver.log.sync();
    assert_eq!(replies(&driver.release()).len(), 1);
    assert_eq!(replies(&driver.step(vec![Command::ReadDurable(1)])).len(), 1, "now nothing is outstanding");
}

#[test]
fn an_image_is_of_its_own_step_and_goes_before_the_replies_that_rely_on_it() {
    let mut driver = Driver::new();
    driver.step(vec![add(1, Release::Durable)]);
    let end = driver.log.end();
    driver.step(vec![add(2, Release::Durable)]);
    driver.log.sync_to(end);
    let outputs = driver.release();
    let [Output::Effect(Effect::Image(image)), Output::Effect(Effect::Added { .. }), Output::Reply(..)] =
        &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!(image.count, 1, "the second step is not durable and not in the image");
}

#[test]
fn a_step_is_one_write_and_small_decisions_share_a_batch() {
    let mut driver = Driver::new();
    driver.step((0..20).map(|key| add(key, Release::Appended)).collect());
    assert_eq!(driver.log.appends(), 1);
    assert_eq!(driver.log.batches().len(), 1);
    driver.step(vec![Command::Sleep(1), Command::ReadDurable(1)]);
    assert_eq!(driver.log.appends(), 1, "what changes nothing writes nothing");
}

/// Records of each batch of the log, and whose transaction they belong to or end.
fn shape(log: &FaultyLog) -> Vec<(i32, Option<(i64, &'static str)>)> {
    let shape = |batch: bytes::Bytes| {
        let header = *BatchView::parse(&batch).expect("a batch").header();
        let (transactional, control) = (header.attributes.is_transactional(), header.attributes.is_control());
        assert!(transactional || (!control && header.producer_id == -1 && header.producer_epoch == -1));
        assert!(!transactional || header.producer_epoch == PRODUCER_EPOCH);
        assert_eq!(header.base_sequence, -1);
        let what = if control { "end" } else { "data" };
        (header.records_count, transactional.then_some((header.producer_id, what)))
    };
    log.batches().into_iter().map(shape).collect()
}

#[test]
fn decisions_of_transactions_stand_alone_and_their_plain_neighbours_share() {
    let mut driver = Driver::new();
    let release = Release::Appended;
    let plain = || add(1, release);
    let pending = |producer, records| Command::AddPending { producer, key: 2, amount: 10, records, release };
    let end = |producer, commit| Command::End { producer, commit, release };
    driver.step(vec![
        plain(),
        plain(),
        pending(8, 2),
        pending(8, 1),
        pending(9, 1),
        plain(),
        end(8, true),
        end(9, false),
        plain(),
        pending(8, 0),
        plain(),
    ]);
    assert_eq!(driver.log.appends(), 1, "one step is one write all the same");
    let data = |producer| Some((producer, "data"));
    let ended = |producer| Some((producer, "end"));
    let expected = [
        (2, None),
        (2, data(8)),
        (1, data(8)),
        (1, data(9)),
        (1, None),
        (1, ended(8)),
        (1, ended(9)),
        (2, None),
    ];
    assert_eq!(shape(&driver.log), expected);
    let state = driver.shard.state();
    assert_eq!((state.by_key[&1], state.by_key[&2]), (5, 30), "what was aborted does not count");
    assert!(state.pending.is_empty());
}

#[test]
fn control_batches_that_end_no_transaction_change_nothing() {
    let mut driver = Driver::new();
    driver.step(vec![add(1, Release::Appended)]);
    let mut batch = BatchBuilder::new().control(true);
    let leader_change = [0, 0, 0, 2];
    batch.push(&NewRecord { key: Some(&leader_change), value: Some(b"x"), ..NewRecord::default() });
    let batch = batch.base_offset(driver.log.end()).build().expect("a batch");
    driver.log.append(vec![batch]).expect("it is appended");
    let replayed = replay::<Ledger>(&*driver.log).expect("it is passed over");
    assert_eq!(replayed.state(), driver.shard.state());
}

#[test]
fn no_decision_is_split_over_batches() {
    let mut driver = Driver::new();
    // 255 records take some 40 bytes each: a batch takes about a hundred such decisions.
    let command = Command::Add { key: 1, amount: 1, records: 255, release: Release::Appended };
    driver.step(vec![command; 300]);
    let counts: Vec<_> = driver
        .log
        .batches()
        .iter()
        .map(|batch| BatchView::parse(batch).expect("a batch").header().records_count)
        .collect();
    assert_eq!(driver.log.appends(), 1);
    assert!(counts.len() > 1, "{counts:?}");
    assert!(counts.iter().all(|count| count % 255 == 0), "{counts:?}");
}

#[test]
fn without_room_clients_are_refused_untouched_and_internal_commands_wait() {
    let mut driver = Driver::new();
    driver.step(vec![Command::Await(1)]);
    driver.log.limit_room(Some(0));
    driver.internal.push_back(add(1, Release::Appended));
    let refused = Reply::Refused(ErrorCode::CoordinatorNotAvailable);
    let outputs = driver.step(vec![add(2, Release::Appended), Command::Sleep(0)]);
    assert_eq!(replies(&outputs), [&refused], "what writes is refused");
    assert_eq!(driver.shard.state().count, 0);
    assert_eq!(driver.internal.len(), 1);
    // The sleeper is due, but a deadline may write. All are tried again in a while.
    let retry = driver.shard.next_deadline().expect("a time to try again");
    assert!(retry > driver.now);
    driver.log.limit_room(None);
    assert!(replies(&driver.step(Vec::new())).is_empty());
    driver.now = retry;
    assert_eq!(replies(&driver.step(Vec::new())), [&Reply::Woken, &Reply::Woken]);
    assert!(driver.internal.is_empty());
}

#[test]
fn deadlines_run_after_the_commands_that_came_before_them() {
    let mut driver = Driver::new();
    driver.step(vec![Command::AddLater { key: 1, after: 10 }]);
    driver.now = 10;
    let outputs = driver.step(vec![add(1, Release::Appended)]);
    assert!(matches!(replies(&outputs)[..], [Reply::Sum { sum: 1, .. }]), "{outputs:?}");
    assert_eq!(driver.shard.state().by_key[&1], 2);
    assert_eq!(driver.shard.next_deadline(), None);
}

#[test]
fn a_damaged_log_is_not_loaded_and_says_where() {
    let mut driver = Driver::new();
    driver.step(vec![add(1, Release::Appended)]);
    driver.step(vec![add(2, Release::Appended)]);
    driver.log.damage();
    let fault = replay::<Ledger>(&*driver.log).expect_err("the checksum is wrong");
    assert!(matches!(fault, LogFault::Corrupt { offset: 1, .. }), "{fault}");
}

#[test]
fn what_others_wrote_into_the_log_is_left_out_and_the_rest_is_loaded() {
    let mut driver = Driver::new();
    driver.step(vec![add(1, Release::Appended)]);
    let batch = |key: &[u8]| {
        let mut batch = BatchBuilder::new();
        batch.push(&NewRecord { key: Some(key), value: Some(b"x"), ..NewRecord::default() });
        batch.base_offset(driver.log.end()).build().expect("a batch")
    };
    driver.log.append(vec![batch(b"stranger")]).expect("it is appended");
    let replayed = replay::<Ledger>(&*driver.log).expect("the stranger is left out");
    assert_eq!(replayed.state(), driver.shard.state());
    driver.log.append(vec![batch(b"?")]).expect("it is appended");
    let fault = replay::<Ledger>(&*driver.log).expect_err("one of our own that says nothing");
    assert!(matches!(fault, LogFault::Corrupt { .. }), "{fault}");
}

#[test]
fn what_a_load_finds_undone_waits_until_the_loaded_log_is_durable() {
    let mut driver = Driver::new();
    driver.step(vec![add(1, Release::Appended)]);
    driver.log.fail_append(AppendFault::Before);
    driver.step(vec![add(1, Release::Appended)]);
    assert!(driver.release().is_empty(), "what was loaded can still be lost");
    driver.log.sync();
    let outputs = driver.release();
    assert!(
        matches!(&outputs[..], [Output::Effect(Effect::Image(_)), Output::Effect(Effect::Loaded)]),
        "{outputs:?}"
    );
}
