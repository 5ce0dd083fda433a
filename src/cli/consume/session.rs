//! One run of `streamd consume`: from finding the partitions to the last commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};

use super::super::brokers::BrokerArgs;
use super::super::exit::Ended;
use super::super::failure::{ended, ended_on_topic};
use super::super::interrupt::Interrupt;
use super::Plan;
use super::held_back::HeldBack;
use super::positions::{Name, Positions};
use super::sink::Sink;
use super::start::{Beginnings, PastEnd};
use crate::client::consumer::{Consumer, Event};
use crate::client::membership::{Disturbance, Membership, Offsets};
use crate::client::offsets::{self, Isolation, Place};
use crate::client::{Client, Error, FetchedPartition, Topic, Wanted, topics};
use crate::types::ErrorCode;

/// How often a member commits what it has printed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// Partitions whose end is told when `-o` lies past it; more are counted.
const PAST_END_TOLD_MAX: usize = 3;
/// How long the last commit and the farewell to the group may take.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Between two tries of the last commit.
const COMMIT_PAUSE: Duration = Duration::from_millis(100);

/// The state of a run.
#[derive(Debug)]
pub(super) struct Session<'a> {
    client: Client,
    plan: Plan,
    notes: &'a BrokerArgs,
    interrupt: Option<Interrupt>,
    consumer: Consumer,
    membership: Option<Membership>,
    positions: Positions,
    /// How many partitions each topic had when it was last looked at.
    counts: BTreeMap<String, usize>,
    sink: Sink,
    printed: u64,
    /// Whether partitions with commits have been told to whoever gave `-o`.
    told_of_commits: bool,
    /// What a reader of committed records does not get before it stops.
    held_back: HeldBack,
}

/// What is to be done next.
#[derive(Debug)]
enum Next {
    /// Find the partitions, as a member or alone.
    Begin,
    /// The same again, after giving up those of before.
    Rejoin(Disturbance),
    Commit,
    LookForGrowth,
    Handle(Event),
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Stop,
}

impl<'a> Session<'a> {
    /// A session that has not begun.
    pub(super) fn new(client: Client, plan: Plan, notes: &'a BrokerArgs, interrupt: Interrupt) -> Self {
        let membership =
            plan.group.as_ref().map(|group| Membership::new(client.clone(), group, &plan.topics));
        Self {
            consumer: Consumer::new(client.clone(), plan.isolation),
            client,
            plan,
            notes,
            interrupt: Some(interrupt),
            membership,
            positions: Positions::default(),
            counts: BTreeMap::new(),
            sink: Sink::default(),
            printed: 0,
            told_of_commits: false,
            held_back: HeldBack::default(),
        }
    }

    /// Reads and prints until it is told to stop, or has printed what there was to print.
    pub(super) async fn run(&mut self) -> anyhow::Result<()> {
        let Some(mut interrupt) = self.interrupt.take() else { return Ok(()) };
        let outcome = Box::pin(self.read(&mut interrupt)).await;
        interrupt.second_one_ends_it();
        if outcome.is_ok() && self.plan.stop_at_end && self.positions.is_over() {
            self.held_back.notes().iter().for_each(|note| self.notes.note(note));
        }
        outcome
    }

    async fn read(&mut self, interrupt: &mut Interrupt) -> anyhow::Result<()> {
        if self.plan.records_max == Some(0) {
            return Ok(());
        }
        let mut commits = pause(COMMIT_INTERVAL);
        let mut looks = pause(self.notes.metadata_max_age());
        let follows = !self.plan.stop_at_end && self.plan.partitions.is_empty();
        let mut next = Next::Begin;
        loop {
            // Whatever is going on, Ctrl-C ends it.
            let flow = tokio::select! {
                () = interrupt.asked() => Flow::Stop,
                flow = Box::pin(self.act(next)) => flow?,
            };
            if flow == Flow::Stop {
                return Ok(());
            }
            next = tokio::select! {
                biased;
                () = interrupt.asked() => return Ok(()),
                disturbed = disturbed(&mut self.membership) => Next::Rejoin(disturbed.map_err(ended)?),
                _ = commits.tick(), if self.membership.is_some() => Next::Commit,
                _ = looks.tick(), if follows => Next::LookForGrowth,
                event = self.consumer.next() => Next::Handle(event.map_err(lost_topic)?),
            };
        }
    }

    async fn act(&mut self, next: Next) -> anyhow::Result<Flow> {
        match next {
            Next::Begin => self.begin().await,
            Next::Rejoin(disturbance) => {
                self.give_up_partitions(disturbance).await?;
                self.begin().await
            }
            Next::Commit => self.commit().await.map(|()| Flow::On),
            Next::LookForGrowth => self.look_for_growth().await,
            Next::Handle(event) => self.handle(event),
        }
    }

    /// Commits what is printed and leaves the group.
    pub(super) async fn close(&mut self) -> anyhow::Result<()> {
        self.sink.flush()?;
        let Some(mut membership) = self.membership.take() else { return Ok(()) };
        let farewell = async {
            let committed = loop {
                match membership.commit(self.positions.uncommitted()).await {
                    Err(error) if error.may_pass() && !is_of_the_past(&error) => sleep(COMMIT_PAUSE).await,
                    tried => break tried,
                }
            };
            // The session runs out if this fails.
            let _left = membership.leave().await;
            committed
        };
        let told = |why: String| {
            format!("the last offsets are not committed, so their records will come again: {why}")
        };
        match timeout(CLOSE_MAX, Box::pin(farewell)).await {
            Ok(committed) => Ok(committed.map_err(|error| Ended::Refused(told(ended(error).to_string())))?),
            Err(_) => {
                Err(Ended::TimedOut(told(format!("no answer within {} s.", CLOSE_MAX.as_secs()))).into())
            }
        }
    }

    /// Finds out which partitions to read and from where.
    async fn begin(&mut self) -> anyhow::Result<Flow> {
        let mut wanted = Vec::new();
        for name in &self.plan.topics {
            let found = topics::find(&self.client, name, false).await;
            wanted.push(found.map_err(|error| ended_on_topic(name, error))?);
        }
        let mut committed = Offsets::new();
        let mut partitions = Vec::new();
        match &mut self.membership {
            Some(membership) => {
                let assignment = membership.join().await.map_err(ended)?.clone();
                committed = membership.committed().await.map_err(ended)?;
                for topic in wanted {
                    let own = assignment.get(&topic.name).cloned().unwrap_or_default();
                    partitions.push((topic, own));
                }
            }
            None => {
                for topic in wanted {
                    let own = self.chosen(&topic)?;
                    partitions.push((topic, own));
                }
            }
        }
        for (topic, own) in &partitions {
            self.counts.insert(topic.name.clone(), topic.partitions.len());
            Box::pin(self.assign(topic, own, &committed))
                .await
                .map_err(|error| ended_on_topic(&topic.name, error))?;
        }
        // A member without partitions waits for some, unless there is nothing to wait for.
        let is_over = self.plan.stop_at_end && self.positions.is_over();
        Ok(if is_over { Flow::Stop } else { Flow::On })
    }

    /// The partitions of a topic that `-p` names, or all.
    fn chosen(&self, topic: &Topic) -> Result<Vec<i32>, Ended> {
        let exists = |index: &i32| topic.partitions.iter().any(|partition| partition.index == *index);
        match self.plan.partitions.iter().find(|index| !exists(index)) {
            Some(missing) => Err(Ended::Usage(format!(
                "topic {} has {} partition{}, and none with the number {missing}.",
                topic.name,
                topic.partitions.len(),
                if topic.partitions.len() == 1 { "" } else { "s" }
            ))),
            None if self.plan.partitions.is_empty() => {
                Ok(topic.partitions.iter().map(|partition| partition.index).collect())
            }
            None => Ok(self.plan.partitions.clone()),
        }
    }

    /// Begins to read partitions: where the group stopped, or else where the user said.
    async fn assign(&mut self, topic: &Topic, own: &[i32], committed: &Offsets) -> Result<(), Error> {
        let at = |index: &i32| committed.get(&(topic.name.clone(), *index)).copied();
        let isolation = self.plan.isolation;
        let fresh: Vec<i32> = own.iter().filter(|index| at(index).is_none()).copied().collect();
        if fresh.len() < own.len() && self.plan.is_start_given && !self.told_of_commits {
            self.told_of_commits = true;
            self.notes
                .note("the group goes on where it stopped: -o is for partitions without a committed offset");
        }
        let found = self.plan.start.offsets(&self.client, &topic.name, &fresh, isolation).await?;
        self.tell_of_the_future(&topic.name, &found);
        let mut starts = found.offsets;
        starts.extend(own.iter().filter_map(|index| Some((*index, at(index)?))));
        let stops = if self.plan.stop_at_end {
            offsets::list(&self.client, &topic.name, own, Place::End, isolation).await?
        } else {
            BTreeMap::new()
        };
        if isolation == Isolation::ReadCommitted && !stops.is_empty() {
            self.held_back.look(&self.client, &topic.name, &stops).await?;
        }
        let name: Arc<str> = topic.name.as_str().into();
        for (index, start) in starts {
            let stop = stops.get(&index).copied();
            if self.positions.begin((Arc::clone(&name), index), start, stop) {
                self.consumer.assign(topic, index, start);
            }
        }
        Ok(())
    }

    /// Says what is waited for where `-o` names offsets or a time that is not there yet: silence would look like a hang.
    fn tell_of_the_future(&self, topic: &str, found: &Beginnings) {
        let then =
            if self.plan.stop_at_end { "nothing to read there" } else { "waiting for the next record" };
        if let Some(time) = found.none_since {
            let time =
                jiff::Timestamp::from_millisecond(time).map_or_else(|_| time.to_string(), |t| t.to_string());
            self.notes.note(&format!("{topic}: no record at or after {time}: {then}"));
        }
        let past_end = &found.past_end;
        for PastEnd { partition, wanted, end } in past_end.iter().take(PAST_END_TOLD_MAX) {
            self.notes.note(&format!(
                "{topic}-{partition}: offset {wanted} is past the end, which is {end}: {then}"
            ));
        }
        if let Some(more) = past_end.len().checked_sub(PAST_END_TOLD_MAX).filter(|more| *more > 0) {
            self.notes.note(&format!("{topic}: the same in {more} more partitions"));
        }
    }

    /// Before joining again: commits while commits still count, and stops reading.
    async fn give_up_partitions(&mut self, disturbance: Disturbance) -> anyhow::Result<()> {
        match disturbance {
            Disturbance::Rebalance => self.commit().await?,
            Disturbance::Dropped => {
                self.notes.note("the group went on without this member; records may come a second time");
            }
        }
        self.consumer.revoke();
        self.positions.clear();
        Ok(())
    }

    /// Commits what is printed. When the group has gone on, or the broker is away, the heartbeat tells of it too; the
    /// offsets go with the next commit.
    async fn commit(&mut self) -> anyhow::Result<()> {
        let Some(membership) = &mut self.membership else { return Ok(()) };
        match membership.commit(self.positions.uncommitted()).await {
            Ok(()) => {
                self.positions.committed();
                Ok(())
            }
            Err(error) if is_of_the_past(&error) || error.may_pass() => Ok(()),
            Err(error) => Err(ended(error).into()),
        }
    }

    /// Looks whether topics have more partitions than before. New ones are read from their start; in a group the
    /// leader has them shared out.
    async fn look_for_growth(&mut self) -> anyhow::Result<Flow> {
        let names: Vec<&str> = self.plan.topics.iter().map(String::as_str).collect();
        let Ok(metadata) = self.client.metadata(Wanted::Named(&names), false).await else {
            // Whoever reads hears of it too.
            return Ok(Flow::On);
        };
        let mut has_grown = false;
        for topic in metadata.topics.values() {
            let Some(count) = self.counts.get_mut(&topic.name) else { continue };
            let before = std::mem::replace(count, topic.partitions.len().max(*count));
            has_grown |= topic.partitions.len() > before;
            if self.membership.is_none() {
                for partition in topic.partitions.iter().skip(before) {
                    self.consumer.assign(topic, partition.index, 0);
                }
            }
        }
        if has_grown && self.membership.as_ref().is_some_and(Membership::is_leader) {
            self.give_up_partitions(Disturbance::Rebalance).await?;
            return self.begin().await;
        }
        Ok(Flow::On)
    }

    fn handle(&mut self, event: Event) -> anyhow::Result<Flow> {
        match event {
            Event::Records(fetched) => self.print(&fetched),
            Event::Skipped { topic, partition, from, to } => {
                self.notes
                    .note(&format!("{topic}-{partition}: offset {from} is gone, reading goes on at {to}"));
                Ok(self.reached(&(topic, partition), to))
            }
            Event::Waiting(error) => {
                self.notes.note(&format!("{error}; trying again"));
                Ok(Flow::On)
            }
        }
    }

    /// Prints what has come, and flushes: nobody knows when more comes.
    fn print(&mut self, fetched: &[FetchedPartition]) -> anyhow::Result<Flow> {
        let mut flow = Flow::On;
        for partition in fetched {
            let name = (Arc::clone(&partition.topic), partition.partition);
            let next = self.print_partition(&name, partition)?;
            let is_full = self.plan.records_max.is_some_and(|max| self.printed >= max);
            flow = self.reached(&name, next);
            if is_full || self.sink.is_closed() {
                flow = Flow::Stop;
            }
            if flow == Flow::Stop {
                break;
            }
        }
        self.sink.flush()?;
        Ok(if self.sink.is_closed() { Flow::Stop } else { flow })
    }

    /// Prints the records of one partition, and returns the offset of the next one to print.
    fn print_partition(&mut self, name: &Name, fetched: &FetchedPartition) -> anyhow::Result<i64> {
        let stop = self.positions.stop(name).unwrap_or(i64::MAX);
        let max = self.plan.records_max.unwrap_or(u64::MAX);
        for batch in fetched.batches() {
            let batch = batch.map_err(ended)?;
            for record in &fetched.records(&batch).map_err(ended)? {
                let record =
                    record.map_err(|error| ended(fetched.damaged(batch.header().base_offset, &error)))?;
                if record.offset < fetched.from || !self.plan.filter.shows(&record) {
                    continue;
                }
                if record.offset >= stop {
                    return Ok(stop);
                }
                self.plan.format.write(&fetched.topic, fetched.partition, &record, self.sink.buffer());
                self.printed += 1;
                if self.printed >= max {
                    return Ok(record.offset + 1);
                }
                self.sink.relieve()?;
                if self.sink.is_closed() {
                    return Ok(record.offset);
                }
            }
        }
        Ok(fetched.next.min(stop))
    }

    fn reached(&mut self, name: &Name, next: i64) -> Flow {
        if self.positions.reached(name, next) {
            self.consumer.release(&name.0, name.1);
        }
        if self.plan.stop_at_end && self.positions.is_over() { Flow::Stop } else { Flow::On }
    }
}

/// Whether a commit is refused since the group has a new generation.
fn is_of_the_past(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress | ErrorCode::UnknownMemberId)
    )
}

/// A ticker whose first tick is one period away.
fn pause(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The end of reading, with what most likely happened when a topic is not there any more.
fn lost_topic(error: Error) -> Ended {
    match error.code() {
        Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId) => {
            Ended::Refused(format!("{error}. The topic has been deleted."))
        }
        _ if error.last_code() == Some(ErrorCode::KafkaStorageError) => match ended(error) {
            Ended::Refused(text) => Ended::Refused(text + PAST_DAMAGE),
            Ended::TimedOut(text) => Ended::TimedOut(text + PAST_DAMAGE),
            other => other,
        },
        _ => ended(error),
    }
}

/// What a reader of damaged records can do.
const PAST_DAMAGE: &str = " streamd topic describe TOPIC shows damaged offsets: begin behind them with -o OFFSET, or have \
                           them given up with streamd repair.";

/// Waits until the membership, if there is one, has to be renewed.
async fn disturbed(membership: &mut Option<Membership>) -> Result<Disturbance, Error> {
    match membership {
        Some(membership) => membership.disturbed().await,
        None => std::future::pending().await,
    }
}
