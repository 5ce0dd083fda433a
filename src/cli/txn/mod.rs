//! `streamd txn`: see transactions, what they hold back, and end one that hangs.

mod abort;
mod describe;
mod list;
mod partitions;

use super::brokers::BrokerArgs;
use super::exit::Ended;
use super::verb;
use crate::config::units::show_span;
use crate::types::shell::in_shell;
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
    show_span(now.saturating_sub(then).max(0))
}

/// A point in time, for people.
fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| at.to_string())
}

/// A transactional id of the command line.
fn transactional_id(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err(
            "a transactional id has at least one character: is a variable of the script empty?".to_owned()
        );
    }
    Ok(text.to_owned())
}

/// What went wrong with some of several, while the others were seen to.
#[derive(Debug, Default)]
struct Failures(Vec<Ended>);

impl Failures {
    /// Takes note of one. Returns whether the next are worth a try: not when nobody answers.
    fn note(&mut self, failure: Ended) -> bool {
        let goes_on = !matches!(failure, Ended::Unreachable(_));
        self.0.push(failure);
        goes_on
    }

    /// The end of the command: all that went wrong, with the exit code of what is worst.
    fn ended(self) -> Result<(), Ended> {
        let text = self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        if self.0.is_empty() {
            Ok(())
        } else if self.0.iter().any(|one| matches!(one, Ended::Unreachable(_))) {
            Err(Ended::Unreachable(text))
        } else if self.0.iter().any(|one| matches!(one, Ended::TimedOut(_))) {
            Err(Ended::TimedOut(text))
        } else {
            Err(Ended::Refused(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_as_the_worst_of_its_failures() {
        let mut failures = Failures::default();
        assert_eq!(Failures::default().ended(), Ok(()));
        assert!(failures.note(Ended::Refused("a".to_owned())));
        assert!(failures.note(Ended::TimedOut("b".to_owned())));
        assert_eq!(failures.ended(), Err(Ended::TimedOut("a\nb".to_owned())));
        assert!(
            !Failures::default().note(Ended::Unreachable("c".to_owned())),
            "nobody is there for the rest"
        );
    }
}
