//! `streamd group`: list and describe consumer groups.

mod describe;
mod list;

use super::brokers::BrokerArgs;
use super::verb;

/// List and describe consumer groups
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
}

/// Runs `streamd group …`.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let Args { brokers, verb } = args;
    verb::run(async {
        match verb {
            Verb::List(args) => Box::pin(list::run(args, &brokers)).await,
            Verb::Describe(args) => Box::pin(describe::run(args, &brokers)).await,
        }
    })
}
