//! The core of a coordinator, without tokio: it decides, appends and applies, and lets replies and effects out when the
//! log allows. [`task`](super::task) drives it; tests drive it with a log that fails on demand.
//!
//! A step takes the commands that wait, decides each and applies its records privately, appends them all in one write,
//! and only then lets anything out. There is no way back from an applied record but to load again: so room is
//! reserved before a command is decided, and whatever goes wrong after that drops the whole shard. Nothing outside has
//! seen what was dropped.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::batches::{StepBatches, batch_len_max};
use super::log::Wake;
use super::{
    BatchKind, Context, CoordLog, CorruptRecord, Decision, Decoded, LogFault, LogRecord, Release,
    StateMachine, Ticket,
};
use crate::record::BatchView;
use crate::types::{ErrorCode, Timestamp};

/// A log is replaced by a snapshot when it has grown past this size and past [`SNAPSHOT_RATIO`] times its state.
const SNAPSHOT_MIN_BYTES: u64 = 16 << 20;
/// See [`SNAPSHOT_MIN_BYTES`].
const SNAPSHOT_RATIO: u64 = 4;
/// Room that is reserved before a deadline is handled: what it writes is not known before.
const DEADLINE_ROOM_BYTES: u64 = 64 << 10;
/// Room is reserved in pieces of this size while the log has it, so that a step asks once.
const ROOM_PIECE_BYTES: u64 = 64 << 10;
/// How long internal commands and deadlines wait when the log has no room. Clients are refused and come again.
const ROOM_RETRY_MS: i64 = 1_000;
/// Deadlines handled in one step; more wait for the next, which follows at once.
const STEP_MAX_DEADLINES: usize = 1_024;
/// The most that one compressed batch of a shard's own log may unpack to when it is loaded.
const LOAD_BATCH_MAX_BYTES: usize = 256 << 20;

/// The two clocks at the beginning of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// What deadlines are measured against: never jumps.
    pub steady: Timestamp,
    /// What is written down.
    pub wall: Timestamp,
}

/// Something that a step or a durable log lets out. To be carried out in order.
pub enum Output<M: StateMachine> {
    /// Do this.
    Effect(M::Effect),
    /// Answer this caller.
    Reply(Ticket, M::Reply),
}

impl<M: StateMachine> fmt::Debug for Output<M>
where
    M::Effect: fmt::Debug,
    M::Reply: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect(effect) => f.debug_tuple("Effect").field(effect).finish(),
            Self::Reply(ticket, reply) => f.debug_tuple("Reply").field(ticket).field(reply).finish(),
        }
    }
}

/// What replaying a log came to: the state, and where the log ends.
pub struct Replayed<M: StateMachine> {
    hard: M::Hard,
    end: i64,
}

impl<M: StateMachine> fmt::Debug for Replayed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replayed(end {})", self.end)
    }
}

impl<M: StateMachine> Replayed<M> {
    /// The state.
    pub fn state(&self) -> &M::Hard {
        &self.hard
    }
}

/// Reads a shard's whole log. Blocks for as long as that takes.
///
/// # Errors
/// The log cannot be read, or holds what this machine cannot understand.
pub fn replay<M: StateMachine>(log: &dyn CoordLog) -> Result<Replayed<M>, LogFault> {
    let mut hard = M::Hard::default();
    let mut not_ours = NotOurs::default();
    let end = log.replay(&mut |batch| apply_batch::<M>(&mut hard, &mut not_ours, batch))?;
    if let NotOurs { records, first: Some((offset, why)) } = not_ours {
        tracing::warn!(
            ?log,
            records,
            offset,
            "the log holds records that were not written here; they are left out. The first: {why}"
        );
    }
    Ok(Replayed { hard, end })
}

/// Records of a log that its machine did not write.
#[derive(Debug, Default)]
struct NotOurs {
    records: u64,
    /// The first one's offset, and what is odd about it.
    first: Option<(i64, String)>,
}

fn apply_batch<M: StateMachine>(
    hard: &mut M::Hard,
    not_ours: &mut NotOurs,
    batch: &BatchView<'_>,
) -> Result<(), CorruptRecord> {
    let corrupt = |why: String| CorruptRecord(why);
    if !batch.crc_ok() {
        return Err(corrupt("the checksum does not match".into()));
    }
    let Some(kind) = BatchKind::of(batch)? else { return Ok(()) };
    if matches!(kind, BatchKind::Marker { .. }) {
        if let Some(record) = M::marker(&kind) {
            M::apply(hard, &record);
        }
        return Ok(());
    }
    let records = batch.records(LOAD_BATCH_MAX_BYTES).map_err(|error| corrupt(error.to_string()))?;
    for record in records.iter() {
        let record = record.map_err(|error| corrupt(error.to_string()))?;
        let offset = record.offset;
        let record = LogRecord {
            key: record.key.map(bytes::Bytes::copy_from_slice),
            value: record.value.map(bytes::Bytes::copy_from_slice),
        };
        match M::decode(&record, &kind)? {
            Decoded::Own(record) => M::apply(hard, &record),
            Decoded::Nothing => {}
            Decoded::NotOurs(why) => {
                not_ours.records += 1;
                not_ours.first.get_or_insert((offset, why));
            }
        }
    }
    Ok(())
}

/// A loaded coordinator.
pub struct Shard<M: StateMachine> {
    log: Arc<dyn CoordLog>,
    /// Called when held outputs may be let out.
    wake: Wake,
    hard: M::Hard,
    soft: M::Soft,
    /// The log's end after the last append of ours.
    end: i64,
    /// What waits for durability, in log order.
    held: VecDeque<Held<M>>,
    /// The end that `wake` was last asked for.
    asked: i64,
    /// Set while the log has no room: when internal commands and deadlines are tried again.
    room_retry_at: Option<Timestamp>,
    /// Whether that was said.
    room_is_missed: bool,
    /// The log's size at which it is compared with its state.
    snapshot_at_bytes: u64,
}

impl<M: StateMachine> fmt::Debug for Shard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("log", &self.log)
            .field("end", &self.end)
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

/// Outputs that wait for the log to be durable up to `end`.
struct Held<M: StateMachine> {
    end: i64,
    outputs: Vec<Output<M>>,
    /// A snapshot begins at this offset: what lies below can go.
    snapshot: Option<i64>,
}

/// What a step has decided so far.
struct Step<'a, M: StateMachine> {
    context: Context<'a, M::World>,
    batches: StepBatches,
    /// Bytes that the log has reserved for this step.
    reserved: u64,
    /// Outputs that the append lets out, in order.
    appended: Vec<Output<M>>,
    /// Outputs that wait for durability, in order.
    durable: Vec<Output<M>>,
}

impl<M: StateMachine> Shard<M> {
    /// Takes up service. What `on_load` wants done waits until all that was loaded is durable: call
    /// [`Shard::release`] next.
    pub fn new(
        log: Arc<dyn CoordLog>,
        replayed: Replayed<M>,
        wake: Wake,
        now: Now,
        world: &M::World,
    ) -> Self {
        let Replayed { hard, end } = replayed;
        let context = Context { now: now.steady, wall: now.wall, world };
        let (mut soft, effects) = M::on_load(&hard, &context);
        let image = M::publish(&hard, &mut soft, &context);
        let outputs: Vec<_> = image.into_iter().chain(effects).map(Output::Effect).collect();
        let mut held = VecDeque::new();
        if !outputs.is_empty() {
            held.push_back(Held { end, outputs, snapshot: None });
        }
        Self {
            log,
            wake,
            hard,
            soft,
            end,
            held,
            asked: -1,
            room_retry_at: None,
            room_is_missed: false,
            snapshot_at_bytes: SNAPSHOT_MIN_BYTES,
        }
    }

    /// Decides on the commands, internal ones first, and on what has fallen due; appends what that comes to in one
    /// write; and returns what may be let out now. Internal commands that the log has no room for stay in `internal`.
    ///
    /// # Errors
    /// The log has failed after records were applied. The shard is of no more use: refuse every caller that waits
    /// with `NOT_COORDINATOR` and load again.
    pub fn step(
        &mut self,
        now: Now,
        world: &M::World,
        internal: &mut VecDeque<M::Command>,
        client: impl IntoIterator<Item = (Ticket, M::Command)>,
    ) -> Result<Vec<Output<M>>, LogFault> {
        let mut step = Step {
            context: Context { now: now.steady, wall: now.wall, world },
            batches: StepBatches::new(now.wall),
            reserved: 0,
            appended: Vec::new(),
            durable: Vec::new(),
        };
        if self.room_retry_at.is_some_and(|at| at <= now.steady) {
            self.room_retry_at = None;
        }
        self.take_internal(&mut step, internal)?;
        for (ticket, command) in client {
            self.take_client(&mut step, ticket, command)?;
        }
        self.take_deadlines(&mut step)?;
        self.finish(step)
    }

    /// What may be let out now that the log is durable up to its present mark.
    ///
    /// # Errors
    /// A sync has failed. As for [`Shard::step`].
    pub fn release(&mut self) -> Result<Vec<Output<M>>, LogFault> {
        let mut outputs = Vec::new();
        self.release_into(&mut outputs)?;
        Ok(outputs)
    }

    /// When [`Shard::step`] wants to run without a command.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.room_retry_at.or_else(|| M::next_deadline(&self.soft))
    }

    /// Whether something waits for the log to become durable.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// The log's end after the last append: grows with every step that wrote.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// The hard state as the last step left it; some of it may not be durable.
    pub fn state(&self) -> &M::Hard {
        &self.hard
    }

    fn take_internal(
        &mut self,
        step: &mut Step<'_, M>,
        internal: &mut VecDeque<M::Command>,
    ) -> Result<(), LogFault> {
        while self.room_retry_at.is_none() {
            let Some(command) = internal.front() else { break };
            if !self.make_room(step, M::room(command))? {
                break;
            }
            let Some(command) = internal.pop_front() else { break };
            let decision = M::decide(&self.hard, &mut self.soft, &step.context, Ticket::NOBODY, command);
            self.take(step, decision)?;
        }
        Ok(())
    }

    fn take_client(
        &mut self,
        step: &mut Step<'_, M>,
        ticket: Ticket,
        command: M::Command,
    ) -> Result<(), LogFault> {
        if !self.make_room(step, M::room(&command))? {
            step.appended.push(Output::Reply(ticket, M::refuse(ErrorCode::CoordinatorNotAvailable)));
            return Ok(());
        }
        let decision = M::decide(&self.hard, &mut self.soft, &step.context, ticket, command);
        self.take(step, decision)
    }

    fn take_deadlines(&mut self, step: &mut Step<'_, M>) -> Result<(), LogFault> {
        for _ in 0..STEP_MAX_DEADLINES {
            let due = M::next_deadline(&self.soft).is_some_and(|at| at <= step.context.now);
            if !due || self.room_retry_at.is_some() || !self.make_room(step, DEADLINE_ROOM_BYTES)? {
                break;
            }
            let decision = M::on_deadline(&self.hard, &mut self.soft, &step.context);
            self.take(step, decision)?;
        }
        Ok(())
    }

    /// Reserves room behind what the step holds already. `false` when there is none; then nothing has happened.
    fn make_room(&mut self, step: &mut Step<'_, M>, bytes: u64) -> Result<bool, LogFault> {
        let needed = step.batches.len() + bytes;
        if bytes == 0 || needed <= step.reserved {
            return Ok(true);
        }
        for wanted in [needed.max(ROOM_PIECE_BYTES), needed] {
            match self.log.reserve(wanted) {
                Ok(()) => {
                    step.reserved = wanted;
                    self.room_is_missed = false;
                    return Ok(true);
                }
                Err(LogFault::NoRoom(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        if self.room_retry_at.is_none() {
            if !std::mem::replace(&mut self.room_is_missed, true) {
                tracing::warn!(log = ?self.log, bytes = needed, "no room in the log; what writes is refused for now");
            }
            self.room_retry_at = Some(step.context.now.saturating_add(ROOM_RETRY_MS));
        }
        Ok(false)
    }

    /// Adds a decision to the step: its records are encoded and applied, what it lets out is put in order.
    fn take(&mut self, step: &mut Step<'_, M>, decision: Decision<M>) -> Result<(), LogFault> {
        let Decision { batch, mut records, release, replies, effects } = decision;
        let is_marker = matches!(batch, BatchKind::Marker { .. });
        debug_assert!(!is_marker || records.is_empty(), "a marker has no records of its machine's");
        if is_marker || !records.is_empty() {
            let encoded: Vec<_> = records.iter().map(M::encode).collect();
            let needed = step.batches.len() + batch_len_max(batch, &encoded);
            if needed > step.reserved {
                // More than the command was expected to write. Without room for it the step is lost.
                self.log.reserve(needed)?;
                step.reserved = needed;
            }
            step.batches.push(batch, encoded)?;
            if is_marker {
                records = M::marker(&batch).into_iter().collect();
            }
            for record in &records {
                M::apply(&mut self.hard, record);
            }
        }
        let outputs = match release {
            Release::Appended => &mut step.appended,
            Release::Durable => &mut step.durable,
        };
        outputs.extend(effects.into_iter().map(Output::Effect));
        let somebody = replies.into_iter().filter(|(ticket, _)| *ticket != Ticket::NOBODY);
        outputs.extend(somebody.map(|(ticket, reply)| Output::Reply(ticket, reply)));
        Ok(())
    }

    /// Appends the step's batches, and sorts its outputs into those that go now and those that wait.
    fn finish(&mut self, step: Step<'_, M>) -> Result<Vec<Output<M>>, LogFault> {
        let Step { context, batches, mut appended, durable, .. } = step;
        let batches = batches.finish()?;
        let wrote = !batches.is_empty();
        if wrote {
            self.end = self.log.append(batches)?;
        }
        let image = M::publish(&self.hard, &mut self.soft, &context).map(Output::Effect);
        let held: Vec<_> = image.into_iter().chain(durable).collect();
        if !held.is_empty() {
            self.held.push_back(Held { end: self.end, outputs: held, snapshot: None });
        }
        if wrote {
            self.snapshot(&context)?;
        }
        self.release_into(&mut appended)?;
        Ok(appended)
    }

    fn release_into(&mut self, outputs: &mut Vec<Output<M>>) -> Result<(), LogFault> {
        if self.held.is_empty() {
            return Ok(());
        }
        let durable = self.log.durable_end()?;
        while let Some(held) = self.held.pop_front_if(|held| held.end <= durable) {
            outputs.extend(held.outputs);
            if let Some(start) = held.snapshot {
                self.drop_below(start);
            }
        }
        if let Some(last) = self.held.back()
            && last.end > self.asked
        {
            self.asked = last.end;
            self.log.when_durable(last.end, Arc::clone(&self.wake));
        }
        Ok(())
    }

    /// Writes the whole state behind the log when the log has outgrown it. The part below is dropped when that is
    /// durable; a crash in between leaves a log that is longer than it need be, and is found so at the next step.
    fn snapshot(&mut self, context: &Context<'_, M::World>) -> Result<(), LogFault> {
        let size = self.log.size();
        if size < self.snapshot_at_bytes {
            return Ok(());
        }
        let Some(records) = M::snapshot(&self.hard) else {
            self.snapshot_at_bytes = u64::MAX;
            return Ok(());
        };
        let mut batches = StepBatches::new(context.wall);
        for record in &records {
            batches.push(BatchKind::Plain, vec![M::encode(record)])?;
        }
        let live = batches.len();
        if size < live.saturating_mul(SNAPSHOT_RATIO) {
            self.snapshot_at_bytes = live.saturating_mul(SNAPSHOT_RATIO);
            return Ok(());
        }
        if let Err(error) = self.log.reserve(live).and_then(|()| self.log.roll()) {
            tracing::warn!(log = ?self.log, %error, "no snapshot of the log now");
            self.snapshot_at_bytes = size.saturating_add(SNAPSHOT_MIN_BYTES);
            return Ok(());
        }
        let start = self.end;
        self.end = self.log.append(batches.finish()?)?;
        self.held.push_back(Held { end: self.end, outputs: Vec::new(), snapshot: Some(start) });
        self.snapshot_at_bytes = u64::MAX;
        Ok(())
    }

    fn drop_below(&mut self, start: i64) {
        if let Err(error) = self.log.drop_below(start) {
            tracing::warn!(log = ?self.log, %error, "the log below a snapshot could not be dropped");
        }
        let size = self.log.size();
        // A log that could not be shortened is tried again when it has grown by as much as it takes to begin with.
        let grown = if size < SNAPSHOT_MIN_BYTES { SNAPSHOT_MIN_BYTES } else { size + SNAPSHOT_MIN_BYTES };
        self.snapshot_at_bytes = grown;
    }
}
