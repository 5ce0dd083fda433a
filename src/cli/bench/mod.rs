//! `streamd bench`: load for any Kafka broker, and what came of it.
//!
//! A mode makes its workers, [`drive`] lets them work until the time is over, [`meter`] counts, [`report`] shows. A rate
//! is kept by [`pace`].

mod consume;
mod cpu;
mod drive;
mod e2e;
mod flags;
mod histogram;
mod meter;
mod pace;
mod payload;
mod produce;
mod report;
mod schedule;
mod target;
mod text;
mod txn;

use std::io::{self, IsTerminal as _};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::brokers::BrokerArgs;
use super::exit::Ended;
use super::failure::ended;
use super::interrupt::Interrupt;
use super::output::print;
use super::verb;
use crate::client::{Client, Error, load};
use crate::types::Clock;
use drive::{Driven, Watch};
use flags::{Common, Output};
use report::Report;
use target::Target;

/// How long the topic of a run that has failed may take to go.
const GOODBYE: Duration = Duration::from_secs(3);

/// Measure a broker, streamd or any other that speaks Kafka's protocol
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    brokers: BrokerArgs,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, clap::Subcommand)]
enum Mode {
    Produce(produce::Args),
    Consume(consume::Args),
    E2e(e2e::Args),
    Txn(txn::Args),
}

/// What the modes work with.
struct Bench {
    clock: Clock,
    watch: Watch,
}

/// What a mode has to say.
struct Outcome {
    mode: &'static str,
    things: &'static str,
    latency: &'static str,
    /// What was compared with what the broker has; `None` where an error came before that.
    checked: Vec<(&'static str, Option<u64>)>,
    settings: Vec<(&'static str, Value)>,
    driven: Driven,
    /// What is wrong with the records.
    fault: Option<String>,
}

/// Runs `streamd bench …`.
pub(super) fn run(args: Args, clock: &Clock) -> anyhow::Result<()> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    verb::run_on(threads, async { Box::pin(bench(&args, clock)).await })
}

async fn bench(args: &Args, clock: &Clock) -> anyhow::Result<()> {
    let common = args.mode.common();
    let client = args.brokers.connect_as("streamd-bench").await?;
    let interrupt = Interrupt::listen()?;
    let lines = io::stderr().is_terminal() && !args.brokers.quiet;
    let mut bench = Bench { clock: clock.clone(), watch: Watch::new(interrupt, lines) };
    let facts = load::facts(&client).await.map_err(ended)?;
    let target = Target::open(client, common).await?;
    let mut done = match &args.mode {
        Mode::Produce(args) => Box::pin(produce::run(args, &mut bench, &target)).await,
        Mode::Consume(args) => Box::pin(consume::run(args, &mut bench, &target)).await,
        Mode::E2e(args) => Box::pin(e2e::run(args, &mut bench, &target)).await,
        Mode::Txn(args) => Box::pin(txn::run(args, &mut bench, &target)).await,
    };
    let failed = done.as_mut().ok().and_then(|outcome| outcome.driven.failed.take());
    let failed = failed.map(|error| target.ended(error));
    let (name, own) = (target.topic.name.clone(), target.own);
    let closed = if done.is_ok() && failed.is_none() {
        target.close().await
    } else {
        // A broker that is gone deletes nothing: what ended the run is told before long.
        let _topic_is_left_over = timeout(GOODBYE, target.close()).await;
        Ok(())
    };
    let Outcome { mode, things, latency, checked, mut settings, driven, fault } = done?;
    settings.push(("topic", Value::from(name)));
    settings.push(("topic_made_for_this", Value::from(own)));
    let report = Report { mode, things, latency, driven, failed, facts, settings, checked };
    let nothing = report.nothing();
    match common.output {
        Output::Json => print(&report.json()?)?,
        Output::Text if nothing.is_none() => print(&report.text())?,
        Output::Text => {}
    }
    closed?;
    let ended = fault.or(nothing).map(Ended::Refused).or(report.failed);
    ended.map_or(Ok(()), |ended| Err(ended.into()))
}

impl Mode {
    fn common(&self) -> &Common {
        match self {
            Self::Produce(args) => &args.common,
            Self::Consume(args) => &args.common,
            Self::E2e(args) => &args.common,
            Self::Txn(args) => &args.common,
        }
    }
}

/// So many connections to the brokers that this client knows.
async fn connect(client: &Client, connections: u16) -> Result<Vec<Client>, Error> {
    let mut clients = Vec::with_capacity(connections.into());
    for _ in 0..connections {
        clients.push(Client::connect(client.options().clone()).await?);
    }
    Ok(clients)
}
