//! `streamd txn`: see transactions, what they hold back, and end one that hangs.

mod abort;
mod describe;
mod list;
mod partitions;

use super::brokers::BrokerArgs;
use super::verb;
use crate::config::units::about_millis;
use crate::types::{Clock, Timestamp};

/// List, describe and abort transactions
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    brokers: BrokerArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(list::Args),
    Describe(describe::Args),
    Abort(abort::Args),
}

/// Runs `streamd txn …`.
pub(super) fn run(args: Args, clock: &Clock) -> anyhow::Result<()> {
    let Args { brokers, verb } = args;
    let now = clock.now_ms();
    verb::run(async {
        match verb {
            Verb::List(args) => Box::pin(list::run(args, &brokers, now)).await,
            Verb::Describe(args) => Box::pin(describe::run(args, &brokers, now)).await,
            Verb::Abort(args) => Box::pin(abort::run(args, &brokers, now)).await,
        }
    })
}

/// How long ago this was, for people.
fn ago(now: Timestamp, then: Timestamp) -> String {
    about_millis(now.saturating_sub(then).max(0))
}

/// A point in time, for people.
fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| at.to_string())
}
