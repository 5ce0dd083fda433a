//! `streamd topic`: create, list, describe, change and delete topics, and delete their records.

mod config;
mod create;
mod delete;
mod describe;
mod list;
mod outlook;
mod shown;
mod trim;

use super::brokers::BrokerArgs;
use super::exit::Ended;
use super::verb;
use crate::config::keys::{self, Scope};
use crate::config::topic::nearest_name;

/// Create, list, describe, change and delete topics
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
    Config(config::Args),
    Trim(trim::TrimArgs),
    Empty(trim::EmptyArgs),
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
            Verb::Config(args) => Box::pin(config::run(args, &brokers)).await,
            Verb::Trim(args) => Box::pin(trim::run(args, &brokers)).await,
            Verb::Empty(args) => Box::pin(trim::empty(args, &brokers)).await,
            Verb::Delete(args) => Box::pin(delete::run(args, &brokers)).await,
        }
    })
}

/// A refusal of settings, with the names that those may mean which nobody knows.
fn unknown_settings<'a>(refusal: String, names: impl Iterator<Item = &'a str>) -> Ended {
    let unknown = names.filter(|name| keys::find(Scope::Topic, name).is_none());
    let near: Vec<_> = unknown.filter_map(nearest_name).map(|near| format!("\"{near}\"")).collect();
    if near.is_empty() {
        return Ended::Refused(refusal);
    }
    Ended::Refused(format!("{refusal} Did you mean {}?", near.join(", ")))
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
