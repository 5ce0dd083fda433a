//! `streamd bench consume`: reads a topic from its start to its end, again and again, one fetch under way on each
//! connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::super::exit::Ended;
use super::drive::Workers;
use super::flags::{Common, size};
use super::meter::{Done, Meter};
use super::pace::Pace;
use super::payload::Payload;
use super::target::{Offsets, Target, grown, share};
use super::{Bench, Outcome, connect};
use crate::client::offsets::Isolation;
use crate::client::producer::Acks;
use crate::client::{Client, Error, FetchedPartition, Topic, load};
use crate::config::units;

/// How fast a topic is read
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) common: Common,
    /// How much is written to the topic before it is read; with --topic nothing is
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = fill, conflicts_with = "topic")]
    fill: u64,
    /// How large the batches are that it is written in
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = size, conflicts_with = "topic")]
    batch_bytes: usize,
    /// How much one fetch asks for, of each partition and in all
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size)]
    fetch_bytes: usize,
}

fn fill(text: &str) -> Result<u64, String> {
    let bytes = units::bytes(text).and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "must be a size such as 256MB or 2GiB".to_owned())
}

/// Runs `streamd bench consume …`.
pub(super) async fn run(args: &Args, bench: &mut Bench, target: &Target) -> anyhow::Result<Outcome> {
    let common = &args.common;
    let clients = connect(&target.client, common.connections).await.map_err(|error| target.ended(error))?;
    if target.own {
        bench.watch.say(&format!("writing {} to read", units::show_rounded(args.fill)));
        fill_topic(args, bench, target, &clients).await?;
    }
    let starts = target.starts().await.map_err(|error| target.ended(error))?;
    let ends = target.ends(Isolation::ReadUncommitted).await.map_err(|error| target.ended(error))?;
    let there = grown(&starts, &ends);
    if there == 0 && !bench.watch.was_interrupted() {
        return Err(Ended::Refused(format!("topic {} has no records to read.", target.topic.name)).into());
    }

    let pace = Pace::start(&bench.clock, common.times(), None)?;
    let mut workers = Workers::new();
    let mut meters = Vec::new();
    let passes = Arc::new(Passes::default());
    for (number, client) in clients.into_iter().enumerate() {
        let meter = Meter::default();
        let share = share(&target.partitions(), number, common.connections.into());
        let led = load::by_leader(&target.topic, &share).map_err(|error| target.ended(error))?;
        for (leader, partitions) in led {
            let reader = Reader {
                client: client.clone(),
                topic: target.topic.clone(),
                leader,
                positions: partitions
                    .iter()
                    .filter_map(|index| Position::new(*index, &starts, &ends))
                    .collect(),
                bytes_max: args.fetch_bytes,
                pace: Arc::clone(&pace),
                meter: meter.clone(),
                passes: Arc::clone(&passes),
            };
            workers.spawn(reader.read_all());
        }
        meters.push(meter);
    }
    let driven = bench.watch.drive(&pace, &meters, workers).await.map_err(|error| target.ended(error))?;

    let (expected, read) = (passes.expected.load(Ordering::Relaxed), passes.read.load(Ordering::Relaxed));
    // In a topic of others there may be offsets without records: compaction and transactions leave such.
    let wrong = (target.own && read != expected).then(|| {
        format!("{read} records came where the partitions that were read to their ends have {expected}.")
    });
    Ok(Outcome {
        mode: "consume",
        things: "fetches",
        latency: "from a fetch to its answer",
        checked: vec![
            ("read", Some(driven.tally.all_records)),
            ("of_partitions_read_to_the_end", Some(read)),
            ("in_those_partitions", Some(expected)),
        ],
        settings: settings(args, target, there),
        driven,
        fault: wrong,
    })
}

fn settings(args: &Args, target: &Target, there: u64) -> Vec<(&'static str, Value)> {
    let mut settings = args.common.settings();
    settings.extend([
        ("partitions", json!(target.partitions().len())),
        ("fetch_bytes", json!(args.fetch_bytes)),
        ("records_there", json!(there)),
    ]);
    if target.own {
        settings.extend([("fill_bytes", json!(args.fill)), ("batch_bytes", json!(args.batch_bytes))]);
    } else {
        // They are as they were written.
        settings.retain(|(name, _)| *name != "record_bytes" && *name != "compression");
    }
    settings
}

/// Writes as much as is asked for, evenly over the partitions.
async fn fill_topic(
    args: &Args,
    bench: &mut Bench,
    target: &Target,
    clients: &[Client],
) -> anyhow::Result<()> {
    let payload = Payload::new(args.common.record_bytes, args.batch_bytes)?;
    let batch = payload.batch(bench.clock.now_ms(), &[], None)?;
    let batches = args.fill.div_ceil(u64::try_from(batch.len()).unwrap_or(1).max(1));
    let partitions = target.partitions();
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = Workers::new();
    for client in clients {
        let (client, topic, batch) = (client.clone(), target.topic.clone(), batch.clone());
        let (next, partitions) = (Arc::clone(&next), partitions.clone());
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= batches {
                    return Ok(());
                }
                let count = u64::try_from(partitions.len()).unwrap_or(1).max(1);
                let index = usize::try_from(number % count).unwrap_or(0);
                let Some(partition) = partitions.get(index) else { return Ok(()) };
                load::write(&client, &topic, *partition, batch.clone(), Acks::All).await?;
            }
        });
    }
    loop {
        tokio::select! {
            done = workers.join_next() => match done {
                Some(done) => super::drive::failure(done).map_or(Ok(()), Err).map_err(|error| target.ended(error))?,
                None => return Ok(()),
            },
            () = bench.watch.interrupted() => return Ok(()),
        }
    }
}

/// What came of partitions that were read to their ends.
#[derive(Debug, Default)]
struct Passes {
    /// Records that came.
    read: AtomicU64,
    /// Offsets that the partitions have.
    expected: AtomicU64,
}

/// How far a reader is in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    partition: i32,
    start: i64,
    end: i64,
    next: i64,
    /// Records since the start.
    read: u64,
}

/// Reads partitions of one leader.
struct Reader {
    client: Client,
    topic: Topic,
    leader: i32,
    positions: Vec<Position>,
    bytes_max: usize,
    pace: Arc<Pace>,
    meter: Meter,
    passes: Arc<Passes>,
}

impl Reader {
    async fn read_all(mut self) -> Result<(), Error> {
        if self.positions.is_empty() {
            return Ok(());
        }
        while let Some(began) = self.pace.turn().await {
            let wanted: Vec<_> =
                self.positions.iter().map(|position| (position.partition, position.next)).collect();
            let answer = load::read(&self.client, self.leader, &self.topic, &wanted, self.bytes_max).await?;
            let now = self.pace.now();
            let (mut records, mut bytes) = (0, 0);
            for fetched in &answer {
                let Some(at) = self.positions.iter().position(|one| one.partition == fetched.partition)
                else {
                    continue;
                };
                let mut position = self.positions.remove(at);
                let (came, size) = position.take(fetched, &self.passes)?;
                records += came;
                bytes += size;
                // Brokers fill their answers in this order: who was served goes to the end of the line.
                match came {
                    0 => self.positions.insert(at, position),
                    _ => self.positions.push(position),
                }
            }
            self.meter.done(self.pace.window(), Done { due: began, scheduled: false, now, records, bytes });
        }
        Ok(())
    }
}

impl Position {
    /// The start of a partition that has records.
    fn new(partition: i32, starts: &Offsets, ends: &Offsets) -> Option<Self> {
        let (start, end) = (*starts.get(&partition)?, *ends.get(&partition)?);
        (start < end).then_some(Self { partition, start, end, next: start, read: 0 })
    }

    /// Takes what a fetch brought: its records and bytes. Every batch is checked. At the end it begins anew.
    fn take(&mut self, fetched: &FetchedPartition, passes: &Passes) -> Result<(u64, u64), Error> {
        let (mut records, mut bytes) = (0, 0);
        for batch in fetched.batches() {
            let batch = batch?;
            let header = batch.header();
            // A first batch may begin before the start of the log, and others may write behind what is to be read.
            let (from, to) = (header.base_offset.max(self.start), header.next_offset().min(self.end));
            let inside = u64::try_from(to - from).unwrap_or(0);
            records += inside.min(u64::from(header.records_count.unsigned_abs()));
            bytes += u64::try_from(batch.bytes().len()).unwrap_or(0);
        }
        self.read += records;
        self.next = fetched.next;
        if self.next >= self.end {
            passes.read.fetch_add(self.read, Ordering::Relaxed);
            passes.expected.fetch_add(u64::try_from(self.end - self.start).unwrap_or(0), Ordering::Relaxed);
            (self.next, self.read) = (self.start, 0);
        }
        Ok((records, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_records_is_not_read() {
        let (starts, ends) = (Offsets::from([(0, 5), (1, 5)]), Offsets::from([(0, 5), (1, 7)]));
        assert_eq!(Position::new(0, &starts, &ends), None);
        assert_eq!(
            Position::new(1, &starts, &ends).map(|position| (position.next, position.end)),
            Some((5, 7))
        );
    }
}
