//! What becomes of a transactional id whose epochs are used up (S51, S55). It takes every one of them to find out.

use serde_json::json;

use super::ask;
use super::txn::{Txn, fetch_committed, init, topic};
use crate::run::{Script, plain};
use crate::session::{Connection, Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[plain("txn_epochs/used_up", s51_s55_used_up)];

/// The last epoch that a producer is given.
const LAST: i16 = i16::MAX - 1;
/// Requests for one id that are under way at once, until a broker says that it does not like that.
const LANES: usize = 64;

/// An id on its way to its last epochs.
struct Climb<'a> {
    txn: &'a mut Txn,
    lanes: Vec<Connection>,
    /// How many of them are used.
    width: usize,
}

impl Climb<'_> {
    fn is_there(&self, epoch: i16) -> bool {
        self.txn.epoch >= epoch
    }
}

/// Raises these ids' epochs to exactly this one, unrecorded.
fn climb(s: &Session, txns: &mut [Txn], epoch: i16) {
    let lanes = || (0..LANES).map(|_| s.connect()).collect();
    let mut climbs: Vec<Climb<'_>> =
        txns.iter_mut().map(|txn| Climb { txn, lanes: lanes(), width: LANES }).collect();
    while !climbs.iter().all(|climb| climb.is_there(epoch)) {
        let mut asked = Vec::new();
        for climb in climbs.iter().filter(|climb| !climb.is_there(epoch)) {
            let left = usize::try_from(epoch - climb.txn.epoch).unwrap();
            let request = init(&climb.txn.id, -1, -1);
            let lanes = climb.lanes.iter().take(climb.width.min(left));
            asked.push(lanes.map(|c| c.send("", "InitProducerId", 4, request.clone())).collect::<Vec<_>>());
        }
        let answers: Vec<Vec<_>> =
            asked.into_iter().map(|all| all.into_iter().map(|one| one.quiet()).collect()).collect();
        let climbing = climbs.iter_mut().filter(|climb| climb.txn.epoch < epoch);
        for (climb, answers) in climbing.zip(answers) {
            for answer in answers {
                match answer.int("error_code") {
                    0 => climb.txn.epoch = climb.txn.epoch.max(answer.int("producer_epoch") as i16),
                    // One at a time.
                    51 => climb.width = 1,
                    other => panic!("{other}"),
                }
            }
        }
    }
}

fn described(txn: &Txn, label: &str) {
    txn.c.call(label, "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
}

fn producers(txn: &Txn, label: &str, topic: &Topic) {
    let topics = json!([{"name": topic.name, "partition_indexes": [0]}]);
    txn.c.call(label, "DescribeProducers", 0, json!({"topics": topics}));
}

fn s51_s55_used_up(s: &Session) {
    let mut txns = ["a", "b", "c"].map(|name| Txn::open(s, name));
    climb(s, &mut txns, LAST - 1);
    let [mut a, mut b, mut c] = txns;
    older_ends(s, &mut a);
    new_producers(&mut a);
    over_an_open_one(s, &mut b);
    newer_ends(s, &mut c);
}

/// An older client's transactions end without a new epoch, so it may stay at the last one.
fn older_ends(s: &Session, txn: &mut Txn) {
    let topic = topic(s, "a", 1);
    let last = txn.c.call("the last epoch", "InitProducerId", 4, init(&txn.id, -1, -1));
    txn.learn(&last);
    for (sequence, commit) in [(0, true), (1, false), (2, true)] {
        txn.writes(s, &topic, 0, 1, sequence);
        txn.c.call("an older client's end", "EndTxn", 4, txn.end(commit));
        txn.settled(s);
        described(txn, "its state");
    }
    producers(txn, "an older client", &topic);
}

/// Producers that come one after the other.
fn new_producers(txn: &mut Txn) {
    let (id, epoch) = (txn.producer_id, txn.epoch);
    let fresh = txn.c.call("a fresh id, to who has the last", "InitProducerId", 4, init(&txn.id, id, epoch));
    described(txn, "at the first of the next");
    txn.learn(&fresh);
    let call = |label: &str, id: i64, epoch: i16| {
        txn.c.call(label, "InitProducerId", 4, init(&txn.id, id, epoch));
    };
    call("the same again", id, epoch);
    call("an earlier epoch of the old id", id, epoch - 1);
    call("the fresh one", txn.producer_id, txn.epoch);
    call("the old id once more", id, epoch);
    call("nothing, a new start", -1, -1);
    described(txn, "at the end");
    txn.c.call("the old id's end", "EndTxn", 4, txn.end_as(id, epoch, true));
    txn.c.call("the old id adds", "AddPartitionsToTxn", 3, txn.add_as(id, epoch, &[]));
}

/// A new producer ends what the last epoch left open.
fn over_an_open_one(s: &Session, txn: &mut Txn) {
    let topic = topic(s, "b", 1);
    txn.init(s);
    txn.writes(s, &topic, 0, 1, 0);
    txn.c.call("a new producer over an open one", "InitProducerId", 4, init(&txn.id, -1, -1));
    txn.settled(s);
    producers(txn, "who wrote", &topic);
    txn.c.call("the zombie's end", "EndTxn", 4, txn.end(true));
    let fresh = txn.c.call("the new producer, again", "InitProducerId", 4, init(&txn.id, -1, -1));
    described(txn, "at the first of the next");
    txn.c.call("the zombie's end, later", "EndTxn", 4, txn.end(true));
    txn.c.call("the zombie writes", "Produce", 9, txn.produce(&topic, &txn.batch(1, 1)));
    txn.learn(&fresh);
    txn.writes(s, &topic, 0, 1, 0);
    txn.ends(s, true);
    txn.c.call("what is committed", "Fetch", 12, fetch_committed(&topic, 0));
    txn.c.call("all of it", "Fetch", 12, ask::fetch(&topic, 0));
}

/// S55: the end of a newer client's transaction raises the epoch, too.
fn newer_ends(s: &Session, txn: &mut Txn) {
    let topic = topic(s, "c", 1);
    let write = |txn: &Txn, label: &str| {
        txn.c.call(label, "Produce", 12, txn.produce(&topic, &txn.batch(1, 0)));
    };
    write(txn, "before the last epoch");
    let ended = txn.c.call("the end that brings the last epoch", "EndTxn", 5, txn.end(true));
    txn.settled(s);
    txn.learn(&ended);
    write(txn, "within the last epoch");
    let ended = txn.c.call("the end that brings a fresh id", "EndTxn", 5, txn.end(true));
    txn.settled(s);
    described(txn, "at the first of the next");
    producers(txn, "who wrote", &topic);
    txn.c.call("that end again", "EndTxn", 5, txn.end(true));
    txn.c.call("the opposite", "EndTxn", 5, txn.end(false));
    write(txn, "the last epoch, late");
    txn.learn(&ended);
    write(txn, "the fresh id");
    let ended = txn.c.call("its end", "EndTxn", 5, txn.end(false));
    txn.settled(s);
    txn.learn(&ended);
    described(txn, "at the end");
    txn.c.call("what is committed", "Fetch", 12, fetch_committed(&topic, 0));
    txn.c.call("all of it", "Fetch", 12, ask::fetch(&topic, 0));
}
