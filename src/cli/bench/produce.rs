//! `streamd bench produce`: as many batches as the broker takes, a fixed number of requests under way.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::drive::{Driven, Workers};
use super::flags::{Common, Sending, size};
use super::meter::{Done, Meter};
use super::pace::Pace;
use super::payload::Payload;
use super::schedule::Rate;
use super::target::{Offsets, Target, compare};
use super::{Bench, Outcome, connect};
use crate::client::offsets::Isolation;
use crate::client::producer::Acks;
use crate::client::{Client, Error, Topic, load};

/// How fast a topic takes batches
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    sending: Sending,
    /// How large a batch is: each request has one, with as many records as fit
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = size)]
    batch_bytes: usize,
    /// Send at this rate instead of as fast as it goes: records a second, as in 5000/s, or bytes of values, as in 20MB/s
    #[arg(long, value_name = "RATE", value_parser = Rate::parse)]
    rate: Option<Rate>,
}

/// Runs `streamd bench produce …`.
pub(super) async fn run(args: &Args, bench: &mut Bench, target: &Target) -> anyhow::Result<Outcome> {
    let (common, acks) = (&args.common, args.sending.acks.acks());
    let payload = Payload::new(args.common.record_bytes, args.batch_bytes)?;
    let batch = payload.batch(bench.clock.now_ms(), &[], None)?;
    let batch_bytes = batch.len();
    let records = u64::try_from(payload.records()).unwrap_or(u64::MAX);
    let schedule =
        args.rate.map(|rate| rate.schedule(records, u64::try_from(common.record_bytes).unwrap_or(0)));
    let clients = connect(&target.client, common.connections).await.map_err(|error| target.ended(error))?;
    let before = target.ends(Isolation::ReadUncommitted).await.map_err(|error| target.ended(error))?;

    let pace = Pace::start(&bench.clock, common.times(), schedule)?;
    let mut workers = Workers::new();
    let mut meters = Vec::new();
    for (number, client) in clients.into_iter().enumerate() {
        let meter = Meter::default();
        for slot in 0..usize::from(args.sending.in_flight) {
            let writer = Writer {
                client: client.clone(),
                topic: target.topic.clone(),
                acks,
                pace: Arc::clone(&pace),
                meter: meter.clone(),
                // Neighbours begin with other partitions.
                next: number + slot * usize::from(common.connections),
            };
            workers.spawn(writer.write_all(batch.clone(), records));
        }
        meters.push(meter);
    }
    let driven = bench.watch.drive(&pace, &meters, workers).await.map_err(|error| target.ended(error))?;

    let (grown, fault) = check(target, &before, &driven, acks).await?;
    let mut settings = common.settings();
    settings.extend([
        ("partitions", json!(target.partitions().len())),
        ("in_flight", json!(args.sending.in_flight)),
        ("acks", json!(args.sending.acks.name())),
        ("idempotence", json!("no")),
        ("batch_bytes", json!(batch_bytes)),
        ("records_per_batch", json!(records)),
        ("rate", args.rate.map_or_else(|| json!("none"), |rate| json!(rate.to_string()))),
    ]);
    Ok(Outcome {
        mode: "produce",
        things: "requests",
        latency: latency(args.rate.is_some(), acks),
        checked: vec![(args.sending.counted(), Some(driven.tally.all_records)), ("in_the_log", grown)],
        settings,
        driven,
        fault,
    })
}

/// From when to when a request is measured.
fn latency(scheduled: bool, acks: Acks) -> &'static str {
    match (scheduled, acks) {
        (true, Acks::None) => {
            "from when a request was due until the system has taken it to send, since acks=0 has no answer"
        }
        (false, Acks::None) => {
            "of a request until the system has taken it to send, since acks=0 has no answer"
        }
        (true, _) => "from when a request was due to its acknowledgement",
        (false, _) => "from a request to its acknowledgement",
    }
}

/// By how much the log has grown, and what is wrong with that; nobody looks where an error has ended the run.
async fn check(
    target: &Target,
    before: &Offsets,
    driven: &Driven,
    acks: Acks,
) -> anyhow::Result<(Option<u64>, Option<String>)> {
    if driven.failed.is_some() {
        return Ok((None, None));
    }
    let grown = target.grown(before, driven.tally.all_records).await.map_err(|error| target.ended(error))?;
    let wrong = compare("records", driven.tally.all_records, grown, target.own);
    // Nobody has promised those that nobody has acknowledged.
    Ok((Some(grown), wrong.filter(|_| acks != Acks::None)))
}

/// One request under way after the other.
struct Writer {
    client: Client,
    topic: Topic,
    acks: Acks,
    pace: Arc<Pace>,
    meter: Meter,
    /// The partition to write to next.
    next: usize,
}

impl Writer {
    async fn write_all(mut self, batch: Bytes, records: u64) -> Result<(), Error> {
        let scheduled = self.pace.is_scheduled();
        let bytes = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let partitions: Vec<i32> = self.topic.partitions.iter().map(|row| row.index).collect();
        while let Some(due) = self.pace.turn().await {
            let Some(partition) = partitions.get(self.next % partitions.len().max(1)) else { break };
            self.next += 1;
            load::write(&self.client, &self.topic, *partition, batch.clone(), self.acks).await?;
            let now = self.pace.now();
            self.meter.done(self.pace.window(), Done { due, scheduled, now, records, bytes });
        }
        Ok(())
    }
}
