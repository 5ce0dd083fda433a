//! A shard's log in memory that fails on demand: appends that fail before or after they wrote, no room, syncs that lag
//! or fail, damage, and power cuts that take back what was not durable.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::{Condvar, Mutex};
use streamd::coord::log::Wake;
use streamd::coord::{CoordLog, CorruptRecord, LogFault};
use streamd::record::{BatchView, stamp};

use crate::seeds::Random;

/// What the next append does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendFault {
    /// Fails, and nothing is in the log.
    Before,
    /// Fails, though everything is in the log.
    After,
    /// Fails with only the first so many batches in the log.
    Torn(usize),
}

pub(crate) struct FaultyLog {
    state: Mutex<State>,
    /// While set, replays wait.
    held: Mutex<bool>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    batches: Vec<Stored>,
    /// Bytes of all batches.
    size: u64,
    end: i64,
    durable: i64,
    sync_failed: bool,
    append_fault: Option<AppendFault>,
    /// Bytes that can be reserved; `None` is no limit.
    room: Option<u64>,
    unreadable: bool,
    wakes: Vec<(i64, Wake)>,
    /// Where new files begin.
    rolls: Vec<i64>,
    appends: usize,
}

struct Stored {
    base: i64,
    next: i64,
    bytes: Bytes,
}

impl Stored {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl FaultyLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), held: Mutex::new(false), released: Condvar::new() })
    }

    /// Makes the next append fail.
    pub(crate) fn fail_append(&self, fault: AppendFault) {
        self.state.lock().append_fault = Some(fault);
    }

    /// From now on so many bytes can be reserved.
    pub(crate) fn limit_room(&self, bytes: Option<u64>) {
        self.state.lock().room = bytes;
    }

    /// Makes every replay fail, or none.
    pub(crate) fn set_unreadable(&self, unreadable: bool) {
        self.state.lock().unreadable = unreadable;
    }

    /// Makes replays wait, or lets them go on.
    pub(crate) fn hold_replay(&self, hold: bool) {
        *self.held.lock() = hold;
        self.released.notify_all();
    }

    /// A sync that takes all there is.
    pub(crate) fn sync(&self) {
        let end = self.state.lock().end;
        self.sync_to(end);
    }

    /// A sync that takes the whole batches below `end`.
    pub(crate) fn sync_to(&self, end: i64) {
        let mut state = self.state.lock();
        let whole = state.batches.partition_point(|batch| batch.next <= end);
        let whole = whole.checked_sub(1).map_or(0, |last| state.batches[last].next);
        state.durable = state.durable.max(whole);
        let durable = state.durable;
        let (due, rest) = state.wakes.drain(..).partition(|(end, _)| *end <= durable);
        state.wakes = rest;
        drop(state);
        let due: Vec<(i64, Wake)> = due;
        due.iter().for_each(|(_, wake)| wake());
    }

    /// A sync that fails, once and for all until the power is cut.
    pub(crate) fn fail_sync(&self) {
        let mut state = self.state.lock();
        state.sync_failed = true;
        let wakes = std::mem::take(&mut state.wakes);
        drop(state);
        wakes.iter().for_each(|(_, wake)| wake());
    }

    /// What is durable stays; of the rest any number of whole batches. Everything works again, and what a recovery
    /// finds is durable.
    pub(crate) fn cut_power(&self, random: &mut Random) {
        let mut state = self.state.lock();
        let durable = state.durable;
        let kept = state.batches.partition_point(|batch| batch.next <= durable);
        let lost = (state.batches.len() - kept) as u64;
        let kept = kept + random.below(lost + 1) as usize;
        state.batches.truncate(kept);
        state.size = state.batches.iter().map(Stored::len).sum();
        state.end = state.batches.last().map_or(durable, |batch| batch.next).max(durable);
        state.durable = state.end;
        state.sync_failed = false;
        state.append_fault = None;
        state.room = None;
        state.wakes.clear();
    }

    /// Flips a bit in the last batch.
    pub(crate) fn damage(&self) {
        let mut state = self.state.lock();
        if let Some(last) = state.batches.last_mut() {
            let mut bytes = BytesMut::from(&last.bytes[..]);
            let at = bytes.len() - 1;
            bytes[at] ^= 1;
            last.bytes = bytes.freeze();
        }
    }

    pub(crate) fn end(&self) -> i64 {
        self.state.lock().end
    }

    pub(crate) fn durable(&self) -> i64 {
        self.state.lock().durable
    }

    pub(crate) fn start(&self) -> i64 {
        self.state.lock().batches.first().map_or(0, |batch| batch.base)
    }

    /// How many files were begun after the first.
    pub(crate) fn rolls(&self) -> usize {
        self.state.lock().rolls.len()
    }

    /// How many appends there were that succeeded.
    pub(crate) fn appends(&self) -> usize {
        self.state.lock().appends
    }

    /// How many batches there are.
    pub(crate) fn batches(&self) -> Vec<Bytes> {
        self.state.lock().batches.iter().map(|batch| batch.bytes.clone()).collect()
    }
}

fn broken(what: &str) -> Arc<io::Error> {
    Arc::new(io::Error::other(what.to_owned()))
}

impl State {
    fn store(&mut self, bytes: &Bytes) {
        let mut stored = BytesMut::from(&bytes[..]);
        stamp(&mut stored, self.end, 0);
        let header = *BatchView::parse(&stored).expect("a shard appends whole batches").header();
        assert_eq!(header.base_offset, self.end);
        self.size += stored.len() as u64;
        self.batches.push(Stored { base: self.end, next: header.next_offset(), bytes: stored.freeze() });
        self.end = header.next_offset();
    }
}

impl fmt::Debug for FaultyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyLog")
    }
}

impl CoordLog for FaultyLog {
    fn append(&self, batches: Vec<Bytes>) -> Result<i64, LogFault> {
        assert!(!batches.is_empty());
        let mut state = self.state.lock();
        if state.sync_failed {
            return Err(LogFault::Io(broken("the directory takes no more writes")));
        }
        let written = match state.append_fault.take() {
            None => {
                batches.iter().for_each(|batch| state.store(batch));
                state.appends += 1;
                return Ok(state.end);
            }
            Some(AppendFault::Before) => 0,
            Some(AppendFault::After) => batches.len(),
            Some(AppendFault::Torn(n)) => n.min(batches.len()),
        };
        batches.iter().take(written).for_each(|batch| state.store(batch));
        Err(LogFault::Io(broken("append")))
    }

    fn durable_end(&self) -> Result<i64, LogFault> {
        let state = self.state.lock();
        if state.sync_failed { Err(LogFault::Io(broken("sync"))) } else { Ok(state.durable) }
    }

    fn when_durable(&self, end: i64, wake: Wake) {
        let mut state = self.state.lock();
        if state.durable >= end || state.sync_failed {
            drop(state);
            return wake();
        }
        state.wakes.push((end, wake));
    }

    fn replay(
        &self,
        f: &mut dyn FnMut(&BatchView<'_>) -> Result<(), CorruptRecord>,
    ) -> Result<i64, LogFault> {
        let mut held = self.held.lock();
        while *held {
            self.released.wait(&mut held);
        }
        drop(held);
        let state = self.state.lock();
        if state.unreadable {
            return Err(LogFault::Io(broken("read")));
        }
        for batch in &state.batches {
            let view = BatchView::parse(&batch.bytes).expect("only checksums are damaged");
            f(&view).map_err(|cause| LogFault::Corrupt { offset: batch.base, cause })?;
        }
        Ok(state.end)
    }

    fn reserve(&self, bytes: u64) -> Result<(), LogFault> {
        match self.state.lock().room {
            Some(room) if bytes > room => Err(LogFault::NoRoom(broken("disk full"))),
            _ => Ok(()),
        }
    }

    fn is_empty(&self) -> bool {
        self.state.lock().end == 0
    }

    fn size(&self) -> u64 {
        self.state.lock().size
    }

    fn roll(&self) -> Result<(), LogFault> {
        let mut state = self.state.lock();
        let end = state.end;
        state.rolls.push(end);
        Ok(())
    }

    fn drop_below(&self, offset: i64) -> Result<(), LogFault> {
        let mut state = self.state.lock();
        assert!(state.rolls.contains(&offset), "a snapshot begins a file, so that all below it can go");
        state.batches.retain(|batch| batch.base >= offset);
        state.size = state.batches.iter().map(Stored::len).sum();
        Ok(())
    }
}
