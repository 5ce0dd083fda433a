//! `streamd topic`: create, list, describe and delete topics.

mod create;
mod delete;
mod describe;
mod list;

use super::brokers::BrokerArgs;
use super::verb;

/// Create, list, describe and delete topics
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    brokers: BrokerArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Create(create::Args),
    List(list::Args),
    Describe(describe::Args),
    Delete(delete::Args),
}

/// Runs `streamd topic …`.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let Args { brokers, verb } = args;
    verb::run(async {
        match verb {
            Verb::Create(args) => Box::pin(create::run(args, &brokers)).await,
            Verb::List(args) => Box::pin(list::run(args, &brokers)).await,
            Verb::Describe(args) => Box::pin(describe::run(args, &brokers)).await,
            Verb::Delete(args) => Box::pin(delete::run(args, &brokers)).await,
        }
    })
}

/// Topic names, as arguments or as the flag that Kafka's tools have.
#[derive(Debug, clap::Args)]
struct Names {
    /// The topics
    #[arg(value_name = "TOPIC", required_unless_present = "flagged")]
    named: Vec<String>,
    /// The same as a flag
    #[arg(short = 't', long = "topic", value_name = "TOPIC", value_delimiter = ',')]
    flagged: Vec<String>,
}

impl Names {
    /// All of them, each once.
    fn all(&self) -> Vec<String> {
        let mut names = Vec::new();
        for name in self.named.iter().chain(&self.flagged) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}
