//! The command tree. One file a verb; adding one is a file, a variant of `Verb` and its line in [`run`].

mod acks;
mod announce;
mod bench;
mod brokers;
mod config;
mod consume;
mod dump;
pub mod exit;
mod failure;
mod group;
mod hints;
mod import;
mod interrupt;
mod offline;
mod output;
mod produce;
mod record;
mod reload;
mod repair;
mod serve;
mod settings;
mod signals;
mod start;
mod table;
mod topic;
mod txn;
mod verb;

use std::ffi::OsString;

use clap::Parser as _;

use self::exit::Ended;
use crate::types::Clock;

/// What a first reader of the help wants to type.
const EXAMPLES: &str = "\
Examples:
  streamd --dev                             a broker on port 9092 with its data in ./streamd-data
  streamd --config broker.toml              one that keeps to its file; server.properties is read too
  streamd --ephemeral --port 0              one that keeps nothing, on a free port
  streamd topic create orders -p 6
  echo hello | streamd produce orders
  streamd consume orders -e                 all records, to the end";

/// A Kafka broker in one binary
#[derive(Debug, clap::Parser)]
#[command(name = "streamd", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Run the broker; what streamd does without a command
    Serve(serve::Args),
    Config(config::Args),
    Produce(produce::Args),
    Consume(consume::Args),
    #[command(visible_alias = "topics")]
    Topic(topic::Args),
    #[command(visible_alias = "groups")]
    Group(group::Args),
    #[command(visible_alias = "txns")]
    Txn(txn::Args),
    Bench(bench::Args),
    Repair(repair::Args),
    Dump(dump::Args),
    Import(import::Args),
}

impl Verb {
    /// The name of a verb that talks to a broker; `None` for those that take a broker's settings.
    fn client_name(&self) -> Option<&'static str> {
        match self {
            Self::Serve(_) | Self::Config(_) | Self::Repair(_) | Self::Import(_) => None,
            Self::Produce(_) => Some("produce"),
            Self::Consume(_) => Some("consume"),
            Self::Topic(_) => Some("topic"),
            Self::Group(_) => Some("group"),
            Self::Txn(_) => Some("txn"),
            Self::Bench(_) => Some("bench"),
            Self::Dump(_) => Some("dump"),
        }
    }
}

/// The command tree, for the page that shows it.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the command that these arguments ask for. A wrong command line, `--help` and `--version` print their text and
/// end the process, as clap does.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
    let clock = Clock::system();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let Cli { verb, serve: before } = Cli::try_parse_from(&arguments).unwrap_or_else(|error| {
        let line: Vec<_> = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        hints::with_tip(error, &line).exit()
    });
    let Some(verb) = verb else { return serve::run(before, &clock) };
    if let Some(name) = verb.client_name()
        && before != serve::Args::default()
    {
        return Err(Ended::Usage(format!(
            "the flags before `{name}` say how a broker runs, and `streamd {name}` talks to one that runs: write its \
             flags behind it, as in `streamd {name} --help`."
        ))
        .into());
    }
    match verb {
        Verb::Serve(args) => serve::run(args.under(before)?, &clock),
        Verb::Config(args) => config::run(args, before),
        Verb::Produce(args) => produce::run(args, &clock),
        Verb::Consume(args) => consume::run(args, &clock),
        Verb::Topic(args) => topic::run(args),
        Verb::Group(args) => group::run(args),
        Verb::Txn(args) => txn::run(args, &clock),
        Verb::Bench(args) => bench::run(args, &clock),
        Verb::Dump(args) => dump::run(&args),
        Verb::Import(args) => import::run(args, before.only_settings()?, &clock),
        Verb::Repair(args) => repair::run(args, before.only_settings()?, &clock),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_what_happens_without_a_verb() {
        for line in ["streamd --dev --port 0", "streamd serve --dev --port 0"] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }

    #[test]
    fn flags_of_the_broker_before_a_verb_that_talks_to_one_are_a_usage_error() {
        let run = |line: &str| run(line.split(' ').map(OsString::from)).unwrap_err();
        let error = run("streamd --dev topic list -b localhost:1");
        assert!(matches!(error.downcast_ref(), Some(Ended::Usage(_))), "{error}");
        assert!(error.to_string().contains("before `topic`"), "{error}");
    }
}
