//! A small machine that uses everything the driver offers, and whose answers say what they rely on.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use streamd::coord::{
    BatchKind, Context, CorruptRecord, Decision, Decoded, LogRecord, Release, StateMachine, Ticket,
};
use streamd::types::deadlines::Deadlines;
use streamd::types::{ErrorCode, Timestamp};

/// Sums by key.
pub(crate) struct Ledger;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) by_key: BTreeMap<u8, i64>,
    /// What producers have added in transactions that are open, by producer.
    pub(crate) pending: BTreeMap<i64, Vec<(u8, i64)>>,
    /// Records applied.
    pub(crate) count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Adds to a key, as this many records.
    Add { key: u8, amount: i64, records: u8, release: Release },
    /// Adds to a key when the producer's transaction is committed.
    AddPending { producer: i64, key: u8, amount: i64, records: u8, release: Release },
    /// Ends the producer's transaction.
    End { producer: i64, commit: bool, release: Release },
    /// Reads a key once that is durable.
    ReadDurable(u8),
    /// Waits until somebody adds to the key.
    Await(u8),
    /// Waits so long.
    Sleep(i64),
    /// Adds when so much time has passed.
    AddLater { key: u8, after: i64 },
    /// Is a fault of the machine's.
    Panic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Plain { key: u8, amount: i64 },
    Pending { producer: i64, key: u8, amount: i64 },
    End { producer: i64, commit: bool },
}

impl Entry {
    fn parts(self) -> Option<(u8, i64)> {
        match self {
            Self::Plain { key, amount } | Self::Pending { key, amount, .. } => Some((key, amount)),
            Self::End { .. } => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The key's sum, and how many records that takes to be in the log, durable or not.
    Sum {
        key: u8,
        sum: i64,
        relies_on: u64,
        release: Release,
    },
    /// A transaction was added to or ended, and how many records that takes to be in the log.
    Written {
        relies_on: u64,
        release: Release,
    },
    Woken,
    Refused(ErrorCode),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The state as of so many records.
    Image(Sums),
    /// A key was added to; relies on so many records.
    Added { key: u8, relies_on: u64, release: Release },
    /// The shard was loaded.
    Loaded,
}

#[derive(Default)]
pub(crate) struct Soft {
    waiting: BTreeMap<u8, Vec<Ticket>>,
    sleeping: Deadlines<Ticket>,
    later: VecDeque<(Timestamp, u8)>,
    published: Option<u64>,
}

/// World: whether to publish images.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) images: bool,
}

fn add(
    hard: &Sums,
    soft: &mut Soft,
    key: u8,
    amount: i64,
    records: u8,
    release: Release,
) -> Decision<Ledger> {
    let waiting = soft.waiting.remove(&key).unwrap_or_default();
    Decision {
        records: vec![Entry::Plain { key, amount }; records.into()],
        release,
        replies: waiting.into_iter().map(|ticket| (ticket, Reply::Woken)).collect(),
        effects: vec![Effect::Added { key, relies_on: hard.count + u64::from(records), release }],
        ..Decision::default()
    }
}

/// The epochs of all producers and of their coordinator.
pub(crate) const PRODUCER_EPOCH: i16 = 3;
pub(crate) const COORDINATOR_EPOCH: i32 = 7;

/// A decision of a transaction's; a marker is one record, though not of ours.
fn write(
    hard: &Sums,
    ticket: Ticket,
    batch: BatchKind,
    records: Vec<Entry>,
    release: Release,
) -> Decision<Ledger> {
    let written = if matches!(batch, BatchKind::Marker { .. }) { 1 } else { records.len() as u64 };
    let reply = Reply::Written { relies_on: hard.count + written, release };
    Decision { batch, records, release, ..Decision::reply(ticket, reply) }
}

impl StateMachine for Ledger {
    type Hard = Sums;
    type Soft = Soft;
    type Command = Command;
    type Record = Entry;
    type Reply = Reply;
    type Effect = Effect;
    type World = World;

    fn decide(
        hard: &Sums,
        soft: &mut Soft,
        context: &Context<'_, World>,
        ticket: Ticket,
        command: Command,
    ) -> Decision<Self> {
        let sum = |key| hard.by_key.get(&key).copied().unwrap_or(0);
        match command {
            Command::Panic => panic!("planted"),
            Command::Add { key, amount, records, release } => {
                let mut decision = add(hard, soft, key, amount, records, release);
                let relies_on = hard.count + u64::from(records);
                let sum = sum(key) + amount * i64::from(records);
                decision.replies.push((ticket, Reply::Sum { key, sum, relies_on, release }));
                decision
            }
            Command::AddPending { producer, key, amount, records, release } => {
                let batch =
                    BatchKind::Transactional { producer_id: producer, producer_epoch: PRODUCER_EPOCH };
                let records = vec![Entry::Pending { producer, key, amount }; records.into()];
                write(hard, ticket, batch, records, release)
            }
            Command::End { producer, commit, release } => {
                let batch = BatchKind::Marker {
                    producer_id: producer,
                    producer_epoch: PRODUCER_EPOCH,
                    coordinator_epoch: COORDINATOR_EPOCH,
                    commit,
                };
                write(hard, ticket, batch, Vec::new(), release)
            }
            Command::ReadDurable(key) => {
                let release = Release::Durable;
                let reply = Reply::Sum { key, sum: sum(key), relies_on: hard.count, release };
                Decision { release, ..Decision::reply(ticket, reply) }
            }
            Command::Await(key) => {
                soft.waiting.entry(key).or_default().push(ticket);
                Decision::default()
            }
            Command::Sleep(ms) => {
                soft.sleeping.set(ticket, context.now + ms);
                Decision::default()
            }
            Command::AddLater { key, after } => {
                soft.later.push_back((context.now + after, key));
                Decision::reply(ticket, Reply::Woken)
            }
        }
    }

    fn on_deadline(hard: &Sums, soft: &mut Soft, context: &Context<'_, World>) -> Decision<Self> {
        if let Some(ticket) = soft.sleeping.pop_due(context.now) {
            return Decision::reply(ticket, Reply::Woken);
        }
        let due =
            soft.later.iter().position(|(at, _)| *at <= context.now).expect("called when something is due");
        let (_, key) = soft.later.remove(due).expect("just found");
        add(hard, soft, key, 1, 1, Release::Appended)
    }

    fn next_deadline(soft: &Soft) -> Option<Timestamp> {
        soft.later.iter().map(|(at, _)| *at).chain(soft.sleeping.next()).min()
    }

    fn apply(hard: &mut Sums, record: &Entry) {
        let mut add = |key, amount| *hard.by_key.entry(key).or_default() += amount;
        match *record {
            Entry::Plain { key, amount } => add(key, amount),
            Entry::Pending { producer, key, amount } => {
                hard.pending.entry(producer).or_default().push((key, amount));
            }
            Entry::End { producer, commit } => {
                let pending = hard.pending.remove(&producer).unwrap_or_default();
                pending.into_iter().filter(|_| commit).for_each(|(key, amount)| add(key, amount));
            }
        }
        hard.count += 1;
    }

    fn on_load(_: &Sums, _: &Context<'_, World>) -> (Soft, Vec<Effect>) {
        (Soft::default(), vec![Effect::Loaded])
    }

    fn publish(hard: &Sums, soft: &mut Soft, context: &Context<'_, World>) -> Option<Effect> {
        if !context.world.images || soft.published.replace(hard.count) == Some(hard.count) {
            return None;
        }
        Some(Effect::Image(hard.clone()))
    }

    fn room(command: &Command) -> u64 {
        match command {
            Command::Add { records, .. } | Command::AddPending { records, .. } => u64::from(*records) * 64,
            Command::End { .. } => 128,
            _ => 0,
        }
    }

    fn refuse(error: ErrorCode) -> Reply {
        Reply::Refused(error)
    }

    fn encode(record: &Entry) -> LogRecord {
        let (key, amount) = record.parts().expect("a marker is not the machine's to write");
        let value = Bytes::copy_from_slice(&amount.to_be_bytes());
        LogRecord { key: Some(Bytes::copy_from_slice(&[key])), value: Some(value) }
    }

    fn decode(record: &LogRecord, batch: &BatchKind) -> Result<Decoded<Entry>, CorruptRecord> {
        if record.key.as_deref() == Some(b"stranger") {
            return Ok(Decoded::NotOurs("a stranger's".into()));
        }
        let parsed = record.key.as_deref().zip(record.value.as_deref()).and_then(|(key, value)| {
            let (key, amount) = (*key.first()?, i64::from_be_bytes(value.try_into().ok()?));
            Some(match *batch {
                BatchKind::Transactional { producer_id, producer_epoch: PRODUCER_EPOCH } => {
                    Entry::Pending { producer: producer_id, key, amount }
                }
                BatchKind::Plain => Entry::Plain { key, amount },
                _ => return None,
            })
        });
        parsed.map(Decoded::Own).ok_or_else(|| CorruptRecord("not an entry".into()))
    }

    fn marker(batch: &BatchKind) -> Option<Entry> {
        match *batch {
            BatchKind::Marker {
                producer_id: producer,
                producer_epoch: PRODUCER_EPOCH,
                coordinator_epoch: COORDINATOR_EPOCH,
                commit,
            } => Some(Entry::End { producer, commit }),
            _ => None,
        }
    }
}
