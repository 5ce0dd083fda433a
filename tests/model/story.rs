//! A story: random steps against one partition, and the model that goes along with it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use streamd::config::Fsync;
use streamd::config::topic::{Compression, TopicSettings};
use streamd::partition::ack::Ack;
use streamd::partition::transactions::{CoordinatorWord, FirstBatch};
use streamd::partition::{AckSlot, AppendTicket, NotAppended, TransactionMarker};
use streamd::record::batch::BatchHeader;
use streamd::record::check::CheckedBatch;
use streamd::record::control::{ControlType, Marker, build_marker};
use streamd::record::{BatchBuilder, NewRecord};
use streamd::storage::compaction::CleanFault;
use streamd::types::{Clock, Codec, ErrorCode};

use crate::disk::{Crash, Image, Moment};
use crate::look;
use crate::model::{Model, Policy, Record, Sent, There};
use crate::node::{Node, Setting, lose_manifest, wait};
use crate::random::Random;

const NOW: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
/// Steps that are told of when one fails.
const TOLD_MAX: usize = 60;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    Append,
    Marker,
    /// The end of a transaction.
    End,
    Again,
    Roll,
    Sync,
    Checkpoint,
    Clean,
    Retain,
    DeleteRecords,
    Wait,
    Expire,
    Unlink,
    Restart,
    Kill,
    PowerCut,
    LoseManifest,
    Damage,
    Repair,
    Full,
    Space,
}

const STEPS: [(u64, Step); 20] = [
    (34, Step::Append),
    (2, Step::Marker),
    (4, Step::Again),
    (8, Step::Roll),
    (6, Step::Sync),
    (8, Step::Checkpoint),
    (10, Step::Clean),
    (5, Step::Retain),
    (3, Step::DeleteRecords),
    (6, Step::Wait),
    (1, Step::Expire),
    (4, Step::Unlink),
    (3, Step::Restart),
    (3, Step::Kill),
    (6, Step::PowerCut),
    (1, Step::LoseManifest),
    (1, Step::Damage),
    (4, Step::Repair),
    (1, Step::Full),
    (3, Step::Space),
];

/// How often transactions end, where there are any.
const ENDS: (u64, Step) = (12, Step::End);

/// Steps in whose middle the power may be cut.
const CUTTABLE: [Step; 10] = [
    Step::Append,
    Step::Marker,
    Step::End,
    Step::Roll,
    Step::Sync,
    Step::Checkpoint,
    Step::Clean,
    Step::Retain,
    Step::DeleteRecords,
    Step::Unlink,
];

/// How often what was done, over many stories.
pub(crate) type Done = std::collections::BTreeMap<&'static str, u64>;

pub(crate) struct Story {
    luck: Random,
    setting: Setting,
    clock: Clock,
    node: Option<Node>,
    model: Model,
    epoch: i32,
    next_producer: i64,
    /// Every other producer writes in transactions.
    has_transactions: bool,
    /// The manifest was lost, and no checkpoint has been made since. Then a power cut that takes the end of a segment
    /// that was rolled looks like damage (architecture 2.2), so there is none.
    is_unvouched: bool,
    /// A power cut may have taken what a roll wrote of the producers, and only the manifest leads past that.
    had_power_cut: bool,
    told: VecDeque<String>,
    nth: u64,
    pub(crate) done: Done,
}

impl Story {
    pub(crate) fn new(seed: u64, compact: bool, delete: bool) -> Self {
        let mut luck = Random::new(seed);
        let hours = |n: u64| i64::try_from(n).expect("small") * HOUR;
        let topic = TopicSettings {
            compact,
            delete,
            segment_bytes: i32::try_from(1_500 + luck.below(5_000)).expect("small"),
            index_interval_bytes: i32::try_from(100 + luck.below(800)).expect("small"),
            segment_ms: if luck.once_in(2) { 5 * HOUR } else { i64::MAX },
            retention_ms: if luck.once_in(2) { hours(10 + luck.below(60)) } else { -1 },
            retention_bytes: if luck.once_in(2) {
                i64::try_from(4_000 + luck.below(20_000)).expect("small")
            } else {
                -1
            },
            min_cleanable_dirty_ratio: 0.0,
            delete_retention_ms: hours(luck.below(30)),
            min_compaction_lag_ms: if luck.once_in(3) { hours(luck.below(10)) } else { 0 },
            ..TopicSettings::default()
        };
        let policy = Policy {
            retention_ms: if delete { topic.retention_ms } else { -1 },
            retention_bytes: if delete { topic.retention_bytes } else { -1 },
            delete_retention_ms: topic.delete_retention_ms,
            min_lag_ms: topic.min_compaction_lag_ms,
        };
        let fsync = if luck.once_in(2) { Fsync::Batch } else { Fsync::Never };
        let (setting, clock) = (Setting { topic, fsync }, Clock::manual(NOW));
        let node = Node::boot(&setting, &clock, 0, &Image::new(), false);
        let mut story = Self {
            luck,
            setting,
            clock,
            node: Some(node),
            model: Model::new(policy),
            epoch: 0,
            next_producer: 1,
            has_transactions: false,
            is_unvouched: false,
            had_power_cut: false,
            told: VecDeque::new(),
            nth: 0,
            done: Done::new(),
        };
        story.tell(&format!("{:?} {:?}", story.setting.fsync, story.setting.topic));
        story
    }

    /// The same with transactions.
    pub(crate) fn with_transactions(mut self) -> Self {
        self.has_transactions = true;
        self
    }

    fn is_transactional(&self, producer: i64) -> bool {
        self.has_transactions && producer % 2 == 1
    }

    fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("it runs")
    }

    fn tell(&mut self, what: &dyn fmt::Display) {
        if self.told.len() > TOLD_MAX {
            // The first tells the settings.
            self.told.remove(1);
        }
        self.told.push_back(format!("{:5} {what}", self.nth));
    }

    fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// The last steps, for people.
    pub(crate) fn trace(&self) -> String {
        self.told.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// The next step, and a look at everything.
    pub(crate) fn step(&mut self) {
        self.nth += 1;
        let ends = self.has_transactions.then_some(ENDS);
        let steps: Vec<_> = STEPS.into_iter().chain(ends).collect();
        let step = self.luck.choose(&steps);
        if !self.applies(step) {
            return;
        }
        self.tell(&format!("{step:?}"));
        // A power cut may come in the middle of it.
        let is_cut = self.luck.once_in(8) && !self.is_unvouched && CUTTABLE.contains(&step);
        let before = is_cut.then(|| self.model.clone());
        let durable = self.node().partition.reader().durable();
        if is_cut {
            let (syncs, behind) = (self.luck.below(7), self.luck.once_in(2));
            self.node().disk.look_after(syncs, behind);
        }
        self.take(step);
        if let Some(before) = before
            && let Some(moment) = self.node().disk.seen()
        {
            self.tell(&"and the power is cut in the middle of it");
            self.did("cut in the middle");
            self.model = before.or(&self.model);
            self.crash(&moment, Crash::Anything, durable);
        }
        self.look();
    }

    fn look(&mut self) {
        let Self { node, model, luck, .. } = self;
        look::check(node.as_ref().expect("it runs"), model, luck);
    }

    fn applies(&self, step: Step) -> bool {
        let node = self.node.as_ref().expect("it runs");
        let (is_full, is_damaged) = (node.disk.is_full(), !self.model.damaged.is_empty());
        match step {
            Step::Clean => self.setting.topic.compact,
            Step::Repair => is_damaged && !is_full,
            Step::Damage => !is_damaged && !is_full,
            // What is damaged is told by what the checkpoint vouches for; without a manifest it can be an end.
            // Nor may it bring back what is left of transactions whose markers a power cut has taken.
            Step::LoseManifest => {
                !is_damaged && !is_full && node.dir().is_dir() && !self.model.has_torn_transactions
            }
            Step::PowerCut => !self.is_unvouched,
            Step::Space => is_full,
            Step::Full => !is_full,
            _ => true,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append => self.append(),
            Step::Marker => self.marker(),
            Step::End => self.end(),
            Step::Again => self.send_again(),
            Step::Roll => {
                let rolled = self.node().partition.roll_segment();
                assert!(rolled.is_ok() || self.node().disk.is_full(), "{rolled:?}");
            }
            Step::Sync => self.node().sync(),
            Step::Checkpoint => {
                self.node().checkpoint();
                self.is_unvouched &= self.node().disk.is_full();
            }
            Step::Clean => self.clean(),
            Step::Retain => self.retain(),
            Step::DeleteRecords => self.delete_records(),
            Step::Wait => {
                let minutes = 1 + self.luck.below(if self.luck.clone().once_in(3) { 3_000 } else { 200 });
                wait(&self.clock, minutes * 60_000);
            }
            Step::Expire => {
                let before = self.clock.now_ms() - 24 * HOUR;
                self.node().partition.expire_producers(before);
                let Self { model: Model { producers, transactions, .. }, has_transactions, .. } = self;
                producers.retain(|id, sent| {
                    if *has_transactions && id % 2 == 1 {
                        // Markers count as well; of those that have none open nobody asks again.
                        return transactions.is_open(*id);
                    }
                    sent.last().is_some_and(|sent| sent.timestamp >= before)
                });
            }
            Step::Unlink => self.node().unlink(),
            Step::Restart => self.restart(),
            Step::Kill => self.cut(Crash::Kill),
            Step::PowerCut => {
                let crash = if self.luck.once_in(4) { Crash::Nothing } else { Crash::Anything };
                self.cut(crash);
            }
            Step::LoseManifest => self.lose_manifest(),
            Step::Damage => self.damage(),
            Step::Repair => self.repair(),
            Step::Full | Step::Space => self.node().set_full(step == Step::Full),
        }
    }

    /// Appends a few batches with one write.
    fn append(&mut self) {
        let count = 1 + self.luck.below(4);
        let mut wanted = Vec::new();
        let mut next = self.model.end;
        let mut sequences: std::collections::BTreeMap<i64, i32> = std::collections::BTreeMap::new();
        for _ in 0..count {
            let producer = self.a_producer();
            let records = self.records(next);
            let sequence = producer.map(|id| {
                let last = self.model.producers.get(&id).and_then(|sent| sent.last());
                let next = last.map_or(0, |last| last.sequence + last.count);
                *sequences.entry(id).or_insert(next)
            });
            let many = i32::try_from(records.len()).expect("few");
            let bytes = self.build(&records, producer.zip(sequence));
            if let Some(id) = producer {
                sequences.entry(id).and_modify(|sequence| *sequence += many);
            }
            next += i64::from(many);
            wanted.push((records, producer.zip(sequence), bytes));
        }
        let said: Vec<_> = wanted.iter().map(|(_, sent, _)| self.ask(*sent)).collect();
        let batches = wanted.iter().zip(said);
        let tickets: Vec<_> =
            batches.map(|((_, _, bytes), said)| self.enqueue(bytes.clone(), said)).collect();
        self.node().partition.drain();
        if self.node().waits_for_disk() {
            self.node().sync();
        }
        let is_full = self.node().disk.is_full();
        let (now, epoch) = (self.clock.now_ms(), self.epoch);
        for ((records, sent, _), ticket) in wanted.into_iter().zip(tickets) {
            let result = ticket.result(0).expect("an answer");
            if is_full {
                assert_eq!(result, Err(NotAppended::Storage), "the disk is full");
                continue;
            }
            let base = result.expect("it is appended").base_offset;
            assert_eq!(base, self.model.end, "its offset");
            if let Some((id, sequence)) = sent {
                let count = i32::try_from(records.len()).expect("few");
                let timestamp = records.iter().map(|record| record.timestamp).max().expect("records");
                let sent = Sent { sequence, count, base, timestamp };
                self.model.producers.entry(id).or_default().push(sent);
            }
            self.tell(&format!("{base}: {} records of {sent:?}", records.len()));
            let producer = sent.map(|(id, _)| id).filter(|id| self.is_transactional(*id));
            self.model.append(&records, false, producer, epoch, now);
            self.did("batches");
        }
    }

    /// What the coordinator has to say of a batch.
    fn ask(&mut self, sent: Option<(i64, i32)>) -> CoordinatorWord {
        let Some((producer_id, base_sequence)) = sent.filter(|(id, _)| self.is_transactional(*id)) else {
            return CoordinatorWord::NotAsked;
        };
        let first = FirstBatch { producer_id, producer_epoch: 0, base_sequence, is_v2: false };
        let ticket = self.node().partition.transactional_ticket(&first).expect("there is room");
        ticket.map_or(CoordinatorWord::NotAsked, CoordinatorWord::Given)
    }

    fn enqueue(&mut self, bytes: Bytes, said: CoordinatorWord) -> Arc<AppendTicket> {
        let ticket = AppendTicket::new(1);
        let header = BatchHeader::parse(&bytes).expect("a batch");
        let ack = Ack::All(AckSlot { ticket: Arc::clone(&ticket), slot: 0 });
        self.node().partition.enqueue_said(CheckedBatch { bytes, header, log_append_time: -1 }, ack, said);
        ticket
    }

    /// A producer that is known, a new one, or none.
    fn a_producer(&mut self) -> Option<i64> {
        match self.luck.below(10) {
            0..4 => None,
            4 if self.model.producers.len() < 5 => {
                self.next_producer += 1;
                Some(self.next_producer)
            }
            _ => {
                let ids: Vec<i64> = self.model.producers.keys().copied().collect();
                ids.get(self.luck.index(ids.len())).copied()
            }
        }
    }

    fn records(&mut self, first: i64) -> Vec<Record> {
        let now = self.clock.now_ms();
        let count = 1 + i64::try_from(self.luck.below(7)).expect("small");
        let has_keys = self.setting.topic.compact || self.luck.once_in(2);
        let luck = &mut self.luck;
        let record = |offset: i64| {
            let key = has_keys.then(|| vec![u8::try_from(luck.below(12)).expect("small"); 3]);
            let len = if luck.once_in(20) { 300 + luck.index(500) } else { luck.index(80) };
            let value = (!luck.once_in(4)).then(|| {
                let byte =
                    |nth: usize| u8::try_from((nth * 7 + usize::try_from(offset).expect("small")) % 251);
                (0..len).map(|nth| byte(nth).expect("small")).collect()
            });
            // Some producers' clocks are wrong.
            let timestamp = match luck.below(8) {
                0 => now - luck.offset(0, 20 * HOUR),
                1 => now + luck.offset(0, 2_000),
                _ => now,
            };
            Record { offset, timestamp, key, value }
        };
        (first..first + count).map(record).collect()
    }

    fn build(&mut self, records: &[Record], producer: Option<(i64, i32)>) -> Bytes {
        let codecs = [Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        let codec = codecs[self.luck.index(codecs.len())];
        let level = if codec == Codec::Zstd { 3 } else { -1 };
        let mut builder = BatchBuilder::new().compression(Compression { codec, level });
        if let Some((id, sequence)) = producer {
            builder = builder.producer(id, 0, sequence).transactional(self.is_transactional(id));
        }
        for Record { timestamp, key, value, .. } in records {
            let (key, value) = (key.as_deref(), value.as_deref());
            builder.push(&NewRecord { timestamp: *timestamp, key, value, headers: &[] });
        }
        builder.build().expect("a batch")
    }

    /// A control batch of a transaction that wrote nothing here.
    fn marker(&mut self) {
        if self.node().disk.is_full() {
            return;
        }
        let kind = if self.luck.once_in(2) { ControlType::Commit } else { ControlType::Abort };
        let (offset, timestamp) = (self.model.end, self.clock.now_ms());
        let marker = Marker { kind, coordinator_epoch: 0 };
        let bytes = build_marker(marker, 900_000 + offset, 0, timestamp).expect("a marker");
        let header = BatchHeader::parse(&bytes).expect("a batch");
        self.node().partition.append_own(&[(bytes, header)]).expect("a marker is appended");
        if self.node().waits_for_disk() {
            self.node().sync();
        }
        let key = [0_i16.to_be_bytes(), kind.code().to_be_bytes()].concat();
        let value = [&0_i16.to_be_bytes()[..], &0_i32.to_be_bytes()].concat();
        let record = Record { offset, timestamp, key: Some(key), value: Some(value) };
        self.model.append(&[record], true, None, self.epoch, timestamp);
    }

    /// One of the open transactions ends.
    fn end(&mut self) {
        let open = self.model.transactions.producers();
        if open.is_empty() || self.node().disk.is_full() {
            return;
        }
        let producer_id = open[self.luck.index(open.len())];
        let commit = self.luck.once_in(2);
        let (offset, timestamp) = (self.model.end, self.clock.now_ms());
        let (producer_epoch, coordinator_epoch, v2, is_own) = (0, 0, false, true);
        let marker = TransactionMarker { producer_id, producer_epoch, coordinator_epoch, commit, v2, is_own };
        let end = self.node().partition.append_marker(marker).expect("a marker is appended");
        assert_eq!(end, offset + 1, "its offset");
        if self.node().waits_for_disk() {
            self.node().sync();
        }
        let kind = if commit { ControlType::Commit } else { ControlType::Abort };
        let key = [0_i16.to_be_bytes(), kind.code().to_be_bytes()].concat();
        let value = [&0_i16.to_be_bytes()[..], &0_i32.to_be_bytes()].concat();
        let record = Record { offset, timestamp, key: Some(key), value: Some(value) };
        self.model.append(&[record], true, Some(producer_id), self.epoch, timestamp);
        self.model.transactions.end(producer_id, offset, commit);
        self.tell(&format!("{offset}: {kind:?} of {producer_id}"));
        self.did(if commit { "commits" } else { "aborts" });
    }

    /// Producers send their last batches again, and leave one out.
    fn send_again(&mut self) {
        let lasts: Vec<_> =
            self.model.producers.iter().filter_map(|(id, sent)| Some((*id, *sent.last()?))).collect();
        for (id, last) in lasts {
            let records = |count: i32| -> Vec<Record> {
                let record = Record { offset: 0, timestamp: NOW, key: Some(vec![1]), value: None };
                (0..count).map(|_| record.clone()).collect()
            };
            let again = self.build(&records(last.count), Some((id, last.sequence)));
            let gap = self.build(&records(1), Some((id, last.sequence + last.count + 1)));
            let tickets = [again, gap].map(|bytes| self.enqueue(bytes, CoordinatorWord::NotAsked));
            self.node().partition.drain();
            let [again, gap] = tickets.map(|ticket| ticket.result(0).expect("an answer"));
            let again = again.map(|appended| appended.base_offset);
            assert_eq!(again, Ok(last.base), "producer {id} sent {last:?} again");
            // A full disk takes nothing, and does not look whether it would.
            let is_to_be_asked = self.is_transactional(id) && !self.model.transactions.is_open(id);
            let refused = NotAppended::Refused(if is_to_be_asked {
                ErrorCode::InvalidTxnState
            } else {
                ErrorCode::OutOfOrderSequenceNumber
            });
            let wanted = if self.node().disk.is_full() { NotAppended::Storage } else { refused };
            assert_eq!(
                gap.map(|appended| appended.base_offset),
                Err(wanted),
                "producer {id} left one out behind {last:?}"
            );
            self.did("batches sent again");
        }
    }

    fn clean(&mut self) {
        let keys = u32::try_from(11 + self.luck.below(20)).expect("small");
        let Some(work) = self.node().work() else { return };
        let now = self.clock.now_ms();
        let cleaned = self.node().clean(work, keys);
        let is_full = self.node().disk.is_full();
        match (&cleaned.clean_to, &cleaned.fault) {
            (Some(clean_to), None) => {
                self.model.clean(*clean_to, true, now);
                self.did("cleanings");
                if *clean_to < work.end {
                    self.did("cleanings up to a full map");
                }
            }
            (_, Some(CleanFault::Damaged { .. })) if !self.model.damaged.is_empty() => {
                self.model.clean(work.end, false, now);
            }
            (_, Some(CleanFault::Io { .. } | CleanFault::NoRoom { .. })) if is_full => {
                self.model.clean(work.end, false, now)
            }
            _ => panic!("{cleaned:?}"),
        }
        self.tell(&format!("cleaned {work:?} to {:?}: {:?}", cleaned.clean_to, cleaned.fault));
    }

    fn retain(&mut self) {
        let spans: Vec<_> = self
            .node()
            .partition
            .reader()
            .segments()
            .iter()
            .map(|segment| (segment.base, segment.next))
            .collect();
        let now = self.clock.now_ms();
        let Some(start) = self.node().retain() else { return };
        let node = self.node.as_ref().expect("it runs");
        let segments = node.partition.reader().segments();
        let left = segments.iter().filter(|segment| segment.base >= start).map(|segment| segment.bytes).sum();
        if start > self.model.start.1 {
            self.did("retentions");
        }
        let start = start.max(self.model.start.1);
        self.model.retained(start, &spans, left, now);
        self.tell(&format!("kept from {start}"));
    }

    fn delete_records(&mut self) {
        let (from, to) = (self.model.start.1, self.node().partition.high_watermark());
        let below = self.luck.offset(from, to + 1);
        self.node().delete_records(below).expect("a start moves, on a full disk, too");
        self.model.start = (below, below);
        self.tell(&format!("deleted below {below}"));
        self.did("deletions");
    }

    fn next_epoch(&mut self) -> i32 {
        self.epoch += 1;
        self.epoch
    }

    fn restart(&mut self) {
        let epoch = self.next_epoch();
        self.is_unvouched &= self.node().disk.is_full();
        let node = self.node.take().expect("it runs").restart(epoch, |_, _| {});
        // On a full disk there is no room for the last checkpoint.
        let is_clean = node.was_clean && node.scanned_bytes() == 0;
        assert!(is_clean || node.disk.is_full(), "a clean stop leaves nothing to be read");
        self.node = Some(node);
        let end = self.model.end;
        self.opened(end);
    }

    /// It was opened again.
    fn opened(&mut self, least: i64) {
        let node = self.node.as_ref().expect("it runs");
        let (start, end) = (node.partition.log_start(), node.partition.reader().end());
        // What recovery kept is shown, and in the mode that never syncs it is not known to be on disk.
        node.sync();
        self.model.reopened(start, end, least);
        let open = node.partition.describe_producers().into_iter();
        let open = open.map(|one| (one.producer_id, one.transaction_first_offset));
        let open: Vec<_> = open.filter(|(_, first)| *first >= 0).collect();
        let mut transactions = std::mem::take(&mut self.model.transactions);
        transactions.found(&open, |producer, first| self.model.first_written(producer, first));
        self.model.transactions = transactions;
        self.tell(&format!("it holds {start} to {end}"));
        self.send_again();
    }

    fn cut(&mut self, crash: Crash) {
        let moment = self.node().disk.moment();
        let end = self.node().partition.reader().end();
        let durable = self.node().partition.reader().durable();
        self.did(if crash == Crash::Kill { "kills" } else { "power cuts" });
        self.crash(&moment, crash, if crash == Crash::Kill { end } else { durable });
    }

    /// The end of this life, and the next one on what is left.
    fn crash(&mut self, moment: &Moment, crash: Crash, least: i64) {
        let image = moment.image(crash, &mut self.luck);
        self.had_power_cut |= crash != Crash::Kill;
        let epoch = self.next_epoch();
        let is_full = self.node().disk.is_full();
        // The old one may not say another word before the new one has begun.
        let old = self.node.take();
        self.node = Some(Node::boot(&self.setting, &self.clock, epoch, &image, is_full));
        drop(old);
        self.opened(least);
    }

    fn lose_manifest(&mut self) {
        let epoch = self.next_epoch();
        let first = self.node().partition.reader().segments().first().map_or(0, |segment| segment.base);
        let is_clean = self.luck.once_in(2);
        let end = self.model.end;
        self.model.start_is_lost(first);
        if self.had_power_cut {
            // Nor is a batch kept for its producer's sake when a later one, which the power cut took, was known.
            let Model { producers, .. } = &self.model;
            let is_in_log = |sent: &Sent| {
                let mut records = (sent.base..).take(usize::try_from(sent.count).expect("few"));
                let there = |offset| self.model.at(offset).is_some_and(|known| known.there == There::Yes);
                sent.base >= first && records.any(there)
            };
            let known: Vec<i64> = producers
                .iter()
                .filter(|(_, sent)| sent.last().is_some_and(is_in_log))
                .map(|(id, _)| *id)
                .collect();
            self.model.producers.retain(|id, _| known.contains(id));
        }
        if is_clean {
            let node = self.node.take().expect("it runs").restart(epoch, |root, _| lose_manifest(root));
            self.node = Some(node);
            self.opened(end);
        } else {
            let moment = self.node().disk.moment();
            let mut image = moment.image(Crash::Kill, &mut self.luck);
            image.remove(streamd::storage::layout::MANIFEST);
            self.node = Some(Node::boot(&self.setting, &self.clock, epoch, &image, false));
            self.opened(end);
        }
        self.is_unvouched = true;
        self.did("manifests lost");
    }

    /// The disk gives back another bit than it was given, in a batch below the checkpoint.
    fn damage(&mut self) {
        let below = self.node().partition.compaction_bound().max(self.model.start.1);
        let nth = self.luck.index(1_000);
        let Some((base, next)) = self.model.a_batch_there(below, nth) else { return };
        let node = self.node.as_ref().expect("it runs");
        let (file, position) = look::place_of(node, base);
        // Behind what the checksum does not cover: that is put right, and costs nothing.
        let at = position + 17 + self.luck.below(40);
        node.disk.flip(&file, at, 1 << self.luck.below(8));
        let damaged = look::verify(node);
        self.tell(&format!("a bit of the batch at {base} is another, at {at} of {}", file.display()));
        let [(first, behind)] = damaged[..] else { panic!("the damage is {damaged:?}") };
        assert!(
            first <= base && behind >= next,
            "{base} to {next} is damaged, and {first} to {behind} is said to be"
        );
        let others = self.model.from(first).take_while(|known| known.record.offset < behind);
        let others: Vec<_> = others.filter(|known| known.batch != base).collect();
        assert!(
            others.iter().all(|known| known.there != There::Yes),
            "{base} to {next} is damaged, and {first} to {behind} is given up"
        );
        self.model.damaged = damaged;
        self.did("damages");
    }

    /// The operator gives the damage up.
    fn repair(&mut self) {
        let epoch = self.next_epoch();
        let (setting, clock) = (self.setting.clone(), self.clock.clone());
        let mut found = Vec::new();
        let node = self.node.take().expect("it runs");
        let end = self.model.end;
        self.node = Some(node.restart(epoch, |root, _| found = Node::repair(&setting, &clock, root)));
        self.tell(&format!("repaired {found:?}"));
        for (first, next) in std::mem::take(&mut self.model.damaged) {
            // Retention may have been first.
            let was_found = found.iter().any(|damage| (damage.first, damage.next) == (first, next));
            assert!(was_found || next <= self.model.start.1, "{first} to {next} was damaged: {found:?}");
            self.model.given_up(first, next);
        }
        self.opened(end);
        self.did("repairs");
    }
}
