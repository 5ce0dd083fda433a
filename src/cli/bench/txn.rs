//! `streamd bench txn`: transactions of many transactional ids at once, each of one batch to one partition, committed.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::drive::{Workers, failure};
use super::flags::{Common, size};
use super::meter::{Done, Meter};
use super::pace::Pace;
use super::payload::Payload;
use super::target::{Target, compare};
use super::{Bench, Outcome};
use crate::client::load_txn::{Protocol, Transactor};
use crate::client::offsets::Isolation;
use crate::client::{Client, Error};
use crate::types::Clock;
use crate::types::offset::saturate_i32;

/// How fast transactions are committed
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) common: Common,
    /// How many transactional ids are at work at once, spread over the connections
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    ids: u16,
    /// How large the batch of a transaction is, with as many records as fit; one record with 1
    #[arg(long, value_name = "SIZE", default_value = "1", value_parser = size)]
    batch_bytes: usize,
}

/// Runs `streamd bench txn …`.
pub(super) async fn run(args: &Args, bench: &mut Bench, target: &Target) -> anyhow::Result<Outcome> {
    let common = &args.common;
    let failed = |error| target.ended(error);
    let payload = Payload::new(common.record_bytes, args.batch_bytes)?;
    let records = u64::try_from(payload.records()).unwrap_or(u64::MAX);
    let protocol = Protocol::of(&target.client).await.map_err(failed)?;
    let ids = begin(args, target, protocol).await.map_err(failed)?;
    let before = target.ends(Isolation::ReadUncommitted).await.map_err(failed)?;

    let pace = Pace::start(&bench.clock, common.times(), None)?;
    let mut workers = Workers::new();
    let mut meters = Vec::new();
    for id in ids {
        let meter = Meter::default();
        let (pace, clock) = (Arc::clone(&pace), bench.clock.clone());
        workers.spawn(commit_all(id, payload.clone(), pace, clock, meter.clone()));
        meters.push(meter);
    }
    let driven = bench.watch.drive(&pace, &meters, workers).await.map_err(failed)?;

    let commits = driven.tally.all_requests;
    // The marker that ends a transaction takes an offset in its partition.
    let expected = driven.tally.all_records + commits;
    // Where an error has ended the run nobody looks at the log.
    let (grown, fault) = if driven.failed.is_none() {
        let grown = target.grown(&before, expected).await.map_err(failed)?;
        let open = target.own && !target.settled().await.map_err(failed)?;
        let open =
            open.then(|| "transactions that the broker has committed are still open in the log.".to_owned());
        (Some(grown), compare("records and markers", expected, grown, target.own).or(open))
    } else {
        (None, None)
    };
    let mut settings = common.settings();
    settings.extend([
        ("partitions", json!(target.partitions().len())),
        ("ids", json!(args.ids)),
        ("acks", json!("all")),
        ("records_per_transaction", json!(records)),
        ("transaction_protocol", json!(protocol.number())),
    ]);
    Ok(Outcome {
        mode: "txn",
        things: "commits",
        latency: "from the first request of a transaction to the answer that it is committed",
        checked: vec![
            ("acknowledged", Some(driven.tally.all_records)),
            ("committed_transactions", Some(commits)),
            ("offsets_in_the_log", grown),
        ],
        settings,
        driven,
        fault,
    })
}

/// The transactional ids, ready to begin.
async fn begin(args: &Args, target: &Target, protocol: Protocol) -> Result<Vec<Transactor>, Error> {
    let mut clients = Vec::new();
    for _ in 0..args.common.connections.min(args.ids) {
        clients.push(Client::connect(protocol.options(target.client.options())).await?);
    }
    let partitions = target.partitions();
    let random = getrandom::u32().unwrap_or_default();
    let mut starting: JoinSet<Result<Transactor, Error>> = JoinSet::new();
    let places = clients.iter().cycle().zip(partitions.iter().cycle());
    for (number, (client, partition)) in (0..args.ids).zip(places) {
        let name = format!("streamd-bench-{random:08x}-{number}");
        let (client, topic, partition) = (client.clone(), target.topic.clone(), *partition);
        starting.spawn(async move { Transactor::start(client, protocol, name, topic, partition).await });
    }
    let mut ids = Vec::new();
    while let Some(started) = starting.join_next().await {
        match started {
            Ok(started) => ids.push(started?),
            Err(panicked) => drop(failure(Err(panicked))),
        }
    }
    Ok(ids)
}

/// One transaction after the other.
async fn commit_all(
    mut id: Transactor,
    payload: Payload,
    pace: Arc<Pace>,
    clock: Clock,
    meter: Meter,
) -> Result<(), Error> {
    let records = u64::try_from(payload.records()).unwrap_or(u64::MAX);
    while let Some(due) = pace.turn().await {
        let batch = payload.batch(clock.now_ms(), &[], Some(id.identity()));
        let batch = batch
            .map_err(|error| Error::Malformed { address: id.name().to_owned(), reason: error.to_string() })?;
        let bytes = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        id.commit(batch, saturate_i32(records)).await?;
        let now = pace.now();
        meter.done(pace.window(), Done { due, scheduled: false, now, records, bytes });
    }
    Ok(())
}
