//! What clients did and saw: transactions with what each wrote and how it ended, what readers were given and when, ends
//! of partitions and offsets of groups as they were told. Every record's value says which transaction wrote it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// A partition by topic and index.
pub(crate) type Place = (&'static str, i32);

/// A transaction: the `seq`-th of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TxnId {
    pub(crate) client: u32,
    pub(crate) seq: u32,
}

/// A record: the `index`-th of a transaction, made from the record at `input` if it was made from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Word {
    pub(crate) txn: TxnId,
    pub(crate) index: u32,
    pub(crate) input: Option<(i32, i64)>,
}

impl Word {
    /// The record's value.
    pub(crate) fn value(self) -> Vec<u8> {
        let Self { txn, index, input } = self;
        let from = input.map(|(partition, offset)| format!("@{partition}:{offset}")).unwrap_or_default();
        format!("{}.{}.{index}{from};", txn.client, txn.seq).into_bytes()
    }

    /// Reads back what [`Word::value`] wrote.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.strip_suffix(';')?;
        let (head, from) = text.split_once('@').map_or((text, None), |(head, from)| (head, Some(from)));
        let mut numbers = head.split('.').map(|number| number.parse::<u32>().ok());
        let mut next = || numbers.next().flatten();
        let (client, seq, index) = (next()?, next()?, next()?);
        let input = match from.map(|from| from.split_once(':')) {
            None => None,
            Some(parts) => {
                let (partition, offset) = parts?;
                Some((partition.parse().ok()?, offset.parse().ok()?))
            }
        };
        Some(Self { txn: TxnId { client, seq }, index, input })
    }
}

/// How a transaction ended, as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The commit was acknowledged.
    Committed,
    /// A commit was asked for and nobody knows what became of it.
    Unknown,
    /// No commit was ever asked for.
    Aborted,
}

/// One write of a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) place: Place,
    pub(crate) word: Word,
    /// The offset that was acknowledged.
    pub(crate) offset: Option<i64>,
}

/// One transaction as its client saw it. Times are ticks of [`History::tick`].
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub(crate) id: TxnId,
    pub(crate) writes: Vec<Write>,
    /// The group whose offsets it commits, by partition of the input topic.
    pub(crate) offsets: Option<(&'static str, BTreeMap<i32, i64>)>,
    pub(crate) outcome: Outcome,
    /// Just before a commit was first asked for.
    pub(crate) ending: Option<u64>,
    /// Just after its commit was acknowledged.
    pub(crate) done: Option<u64>,
}

impl Transaction {
    pub(crate) fn new(id: TxnId) -> Self {
        Self { id, writes: Vec::new(), offsets: None, outcome: Outcome::Aborted, ending: None, done: None }
    }
}

/// One record that a reader of committed records was given.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) offset: i64,
    pub(crate) value: Vec<u8>,
    /// Just after the answer came.
    pub(crate) at: u64,
}

/// What one reader of a partition was given, from the first offset on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    pub(crate) seen: Vec<Seen>,
    /// Where it would go on.
    pub(crate) next: i64,
}

/// The ends of a partition as they were told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) place: Place,
    pub(crate) stable: i64,
    pub(crate) high: i64,
}

/// A group's offset as it was told, -1 for none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) group: &'static str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Just before it was asked for.
    pub(crate) asked: u64,
    /// Just after the answer came.
    pub(crate) at: u64,
}

/// A refusal that nobody can explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) txn: TxnId,
    pub(crate) what: &'static str,
    pub(crate) code: i16,
}

/// All of it. Clients write down what they do as they do it.
#[derive(Debug, Default)]
pub(crate) struct History {
    clock: AtomicU64,
    pub(crate) transactions: Mutex<Vec<Transaction>>,
    pub(crate) readings: Mutex<Vec<(Place, Reading)>>,
    pub(crate) ends: Mutex<Vec<Ends>>,
    pub(crate) told: Mutex<Vec<Told>>,
    pub(crate) refusals: Mutex<Vec<Refusal>>,
}

impl History {
    /// A time that lies after all that were taken before.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}
