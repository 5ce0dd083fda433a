//! The command tree. One file a verb; adding one is a file, a variant of `Verb` and its line in [`run`].

mod announce;
mod brokers;
mod config;
mod consume;
pub mod exit;
mod failure;
mod group;
mod interrupt;
mod output;
mod produce;
mod record;
mod serve;
mod settings;
mod signals;
mod start;
mod table;
mod topic;
mod verb;

use std::ffi::OsString;

use clap::Parser as _;

use crate::types::Clock;

/// A Kafka broker in one binary
#[derive(Debug, clap::Parser)]
#[command(name = "streamd", version, args_conflicts_with_subcommands = true)]
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
}

/// Runs the command that these arguments ask for. A wrong command line, `--help` and `--version` print their text and
/// end the process, as clap does.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
    let clock = Clock::system();
    let cli = Cli::parse_from(arguments);
    match cli.verb.unwrap_or(Verb::Serve(cli.serve)) {
        Verb::Serve(args) => serve::run(args, &clock),
        Verb::Config(args) => config::run(args),
        Verb::Produce(args) => produce::run(args, &clock),
        Verb::Consume(args) => consume::run(args, &clock),
        Verb::Topic(args) => topic::run(args),
        Verb::Group(args) => group::run(args),
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
        assert!(Cli::try_parse_from(["streamd", "--dev", "config", "check"]).is_err());
    }
}
