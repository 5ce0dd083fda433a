//! `streamd bench e2e`: records at a fixed rate, and how long each takes to reach a consumer. The time counts from when
//! the schedule wanted the record sent, so a broker that holds senders up does not look better for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::drive::Workers;
use super::flags::{Common, Sending, size};
use super::meter::{Done, Meter};
use super::pace::Pace;
use super::payload::Payload;
use super::schedule::Rate;
use super::target::{Offsets, Target, compare, share};
use super::{Bench, Outcome, connect};
use crate::client::consumer::{Consumer, Event};
use crate::client::offsets::Isolation;
use crate::client::producer::Acks;
use crate::client::{Client, Error, FetchedPartition, Topic, load};
use crate::types::Clock;

/// What a value begins with: which run it is of, and when it was due, in nanoseconds on the run's clock.
const STAMP_BYTES: usize = 16;
/// How often a consumer looks whether all has come.
const LOOK: Duration = Duration::from_millis(50);
/// How long consumers wait for records that were acknowledged when nothing comes any more.
const MISSING: Duration = Duration::from_secs(10);

/// How long records take from a producer to a consumer
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    sending: Sending,
    /// How large a batch is: each request has one, with as many records as fit; one record with 1
    #[arg(long, value_name = "SIZE", default_value = "1", value_parser = size)]
    batch_bytes: usize,
    /// The rate: records a second, as in 5000/s, or bytes of values, as in 20MB/s
    #[arg(long, value_name = "RATE", default_value = "1MB/s", value_parser = Rate::parse)]
    rate: Rate,
}

/// Runs `streamd bench e2e …`.
pub(super) async fn run(args: &Args, bench: &mut Bench, target: &Target) -> anyhow::Result<Outcome> {
    let (common, acks) = (&args.common, args.sending.acks.acks());
    let payload = Payload::new(common.record_bytes.max(STAMP_BYTES), args.batch_bytes)?;
    let records = u64::try_from(payload.records()).unwrap_or(u64::MAX);
    let record_bytes = payload.record_bytes();
    let schedule = args.rate.schedule(records, u64::try_from(record_bytes).unwrap_or(u64::MAX));
    let failed = |error| target.ended(error);
    let senders = connect(&target.client, common.connections).await.map_err(failed)?;
    let readers = connect(&target.client, target.readers(common.connections)).await.map_err(failed)?;
    let before = target.ends(Isolation::ReadUncommitted).await.map_err(failed)?;

    let pace = Pace::start(&bench.clock, common.times(), Some(schedule))?;
    let flow = Arc::new(Flow {
        run: getrandom::u64()?,
        senders: AtomicUsize::new(senders.len() * usize::from(args.sending.in_flight)),
        acknowledged: AtomicU64::new(0),
        received: AtomicU64::new(0),
    });
    let mut workers = Workers::new();
    let mut meters = Vec::new();
    let connections = readers.len();
    for (number, client) in readers.into_iter().enumerate() {
        let meter = Meter::default();
        let partitions = share(&target.partitions(), number, connections);
        let consumer = consumer(client, &target.topic, &partitions, &before);
        let reader =
            Reader { consumer, flow: Arc::clone(&flow), pace: Arc::clone(&pace), meter: meter.clone() };
        workers.spawn(reader.read_all());
        meters.push(meter);
    }
    for (number, client) in senders.into_iter().enumerate() {
        for slot in 0..usize::from(args.sending.in_flight) {
            let sender = Sender {
                client: client.clone(),
                topic: target.topic.clone(),
                acks,
                payload: payload.clone(),
                clock: bench.clock.clone(),
                flow: Arc::clone(&flow),
                pace: Arc::clone(&pace),
                next: number + slot * usize::from(common.connections),
            };
            workers.spawn(sender.send_all());
        }
    }
    let driven = bench.watch.drive(&pace, &meters, workers).await.map_err(failed)?;

    let acknowledged = flow.acknowledged.load(Ordering::Relaxed);
    // Where an error has ended the run nobody looks at the log.
    let (grown, fault) = if driven.failed.is_none() {
        let grown = target.grown(&before, acknowledged).await.map_err(failed)?;
        let wrong = compare("records", acknowledged, grown, target.own).or_else(|| flow.fault());
        (Some(grown), wrong.filter(|_| acks != Acks::None))
    } else {
        (None, None)
    };
    Ok(Outcome {
        mode: "e2e",
        things: "deliveries",
        latency: "from when a record was due to be sent to when a consumer has it",
        checked: vec![
            (args.sending.counted(), Some(acknowledged)),
            ("in_the_log", grown),
            ("received", Some(flow.received.load(Ordering::Relaxed))),
        ],
        settings: settings(args, target, &payload),
        driven,
        fault,
    })
}

fn settings(args: &Args, target: &Target, payload: &Payload) -> Vec<(&'static str, Value)> {
    let mut settings = args.common.settings();
    // The stamp has to have room in a value.
    settings.retain(|(name, _)| *name != "record_bytes");
    settings.extend([
        ("record_bytes", json!(payload.record_bytes())),
        ("partitions", json!(target.partitions().len())),
        ("in_flight", json!(args.sending.in_flight)),
        ("acks", json!(args.sending.acks.name())),
        ("idempotence", json!("no")),
        ("records_per_batch", json!(payload.records())),
        ("rate", json!(args.rate.to_string())),
    ]);
    settings
}

fn consumer(client: Client, topic: &Topic, partitions: &[i32], from: &Offsets) -> Consumer {
    let mut consumer = Consumer::new(client, Isolation::ReadUncommitted);
    for partition in partitions {
        consumer.assign(topic, *partition, from.get(partition).copied().unwrap_or(0));
    }
    consumer
}

/// What senders and readers of a run know of each other.
#[derive(Debug)]
struct Flow {
    /// Which run a record is of.
    run: u64,
    /// Senders that still send.
    senders: AtomicUsize,
    /// Records.
    acknowledged: AtomicU64,
    /// Records.
    received: AtomicU64,
}

impl Flow {
    fn stamp(&self, due: Duration) -> [u8; STAMP_BYTES] {
        let due = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
        let mut stamp = [0; STAMP_BYTES];
        let (run, at) = stamp.split_at_mut(STAMP_BYTES / 2);
        run.copy_from_slice(&self.run.to_be_bytes());
        at.copy_from_slice(&due.to_be_bytes());
        stamp
    }

    /// When a record was due, if it is of this run.
    fn due(&self, value: &[u8]) -> Option<Duration> {
        let (run, rest) = value.split_first_chunk()?;
        let (due, _) = rest.split_first_chunk()?;
        (u64::from_be_bytes(*run) == self.run).then(|| Duration::from_nanos(u64::from_be_bytes(*due)))
    }

    /// Whether everything has come that was sent.
    fn is_complete(&self) -> bool {
        self.is_sent() && self.received.load(Ordering::Relaxed) >= self.acknowledged.load(Ordering::Relaxed)
    }

    fn is_sent(&self) -> bool {
        self.senders.load(Ordering::Acquire) == 0
    }

    fn fault(&self) -> Option<String> {
        let (sent, came) = (self.acknowledged.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed));
        (sent != came).then(|| format!("{came} records came of {sent} that the broker has acknowledged."))
    }
}

/// Sends what is due, one request under way after the other.
struct Sender {
    client: Client,
    topic: Topic,
    acks: Acks,
    payload: Payload,
    clock: Clock,
    flow: Arc<Flow>,
    pace: Arc<Pace>,
    /// The partition to write to next.
    next: usize,
}

impl Sender {
    async fn send_all(mut self) -> Result<(), Error> {
        let records = u64::try_from(self.payload.records()).unwrap_or(u64::MAX);
        let partitions: Vec<i32> = self.topic.partitions.iter().map(|row| row.index).collect();
        while let Some(due) = self.pace.turn().await {
            let Some(partition) = partitions.get(self.next % partitions.len().max(1)) else { break };
            self.next += 1;
            let batch = self.payload.batch(self.clock.now_ms(), &self.flow.stamp(due), None);
            let batch = batch.map_err(|error| Error::Malformed {
                address: format!("topic {}", self.topic.name),
                reason: error.to_string(),
            })?;
            load::write(&self.client, &self.topic, *partition, batch, self.acks).await?;
            self.flow.acknowledged.fetch_add(records, Ordering::Relaxed);
        }
        self.flow.senders.fetch_sub(1, Ordering::Release);
        Ok(())
    }
}

/// Receives what comes in some of the partitions.
struct Reader {
    consumer: Consumer,
    flow: Arc<Flow>,
    pace: Arc<Pace>,
    meter: Meter,
}

impl Reader {
    async fn read_all(mut self) -> Result<(), Error> {
        let mut last = self.pace.now();
        while !self.flow.is_complete() {
            match timeout(LOOK, self.consumer.next()).await {
                Ok(event) => {
                    let now = self.pace.now();
                    if let Event::Records(fetched) = event? {
                        last = now;
                        fetched.iter().try_for_each(|fetched| self.take(fetched, now))?;
                    }
                }
                // What does not come is told at the end.
                Err(_) if self.flow.is_sent() && self.pace.now() > last + MISSING => break,
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn take(&self, fetched: &FetchedPartition, now: Duration) -> Result<(), Error> {
        let window = self.pace.window();
        for batch in fetched.batches() {
            let batch = batch?;
            for record in fetched.records(&batch)?.iter() {
                let record = record.map_err(|error| fetched.damaged(batch.header().base_offset, &error))?;
                let value = record.value.unwrap_or_default();
                let Some(due) = self.flow.due(value) else { continue };
                self.flow.received.fetch_add(1, Ordering::Relaxed);
                let bytes = u64::try_from(value.len()).unwrap_or(0);
                self.meter.done(window, Done { due, scheduled: true, now, records: 1, bytes });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_when_it_was_due_and_of_which_run_it_is() {
        let flow = |run| Flow {
            run,
            senders: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(0),
            received: AtomicU64::new(0),
        };
        let due = Duration::from_nanos(1_234_567_890);
        let value = [&flow(7).stamp(due)[..], b"padding"].concat();
        assert_eq!(flow(7).due(&value), Some(due));
        assert_eq!(flow(8).due(&value), None, "of another run");
        assert_eq!(flow(7).due(b"somebody else's"), None);
    }
}
