//! `streamd consume`: records of topics to standard output, alone or as a member of a group.

mod filter;
mod held_back;
mod positions;
mod session;
mod sink;
pub(super) mod start;

use super::brokers::BrokerArgs;
use super::exit::Ended;
use super::interrupt::Interrupt;
use super::record::show::Format;
use super::record::template::TOKENS;
use super::verb;
use crate::client::offsets::Isolation;
use crate::types::Clock;
use filter::Filter;
use session::Session;
use start::{Begin, BeginText};

/// Read records of topics: by default their values, from the start, for ever
#[derive(Debug, clap::Args)]
#[command(visible_alias = "cat", after_help = format!("The format of -f: json, or text with {TOKENS}; \\n, \\t, \\xNN."))]
pub(super) struct Args {
    /// The topics
    #[arg(value_name = "TOPIC", required_unless_present = "flagged")]
    named: Vec<String>,
    /// The same as a flag
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    flagged: Vec<String>,
    /// Where to begin: start, end, an offset, -10 for ten before the end, +10 for ten after the start, @-5m or
    /// @2026-11-21T09:00 for a time
    #[arg(short, long, value_name = "WHERE", allow_hyphen_values = true, conflicts_with = "from_beginning")]
    offset: Option<BeginText>,
    /// The same as -o start
    #[arg(long)]
    from_beginning: bool,
    /// Stop after so many records
    #[arg(short, long, visible_short_alias = 'c', visible_alias = "max-messages", value_name = "N")]
    num: Option<u64>,
    /// Stop at what is the end now
    #[arg(short, long)]
    exit: bool,
    /// Read as a member of this group and commit what was read
    #[arg(short, long, conflicts_with = "partitions")]
    group: Option<String>,
    /// Only these partitions
    #[arg(short, long, visible_alias = "partition", value_delimiter = ',', value_name = "N")]
    partitions: Vec<i32>,
    /// How to print records; see below
    #[arg(short, long, value_name = "FORMAT", value_parser = Format::parse)]
    format: Option<Format>,
    /// Only records whose value matches this regular expression
    #[arg(long, value_name = "REGEX")]
    grep: Option<String>,
    /// Only records whose key matches this regular expression
    #[arg(long = "key", value_name = "REGEX")]
    key_pattern: Option<String>,
    /// Leave out records of transactions that are open or aborted
    #[arg(long)]
    read_committed: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

/// Runs `streamd consume …`.
pub(super) fn run(args: Args, clock: &Clock) -> anyhow::Result<()> {
    let plan = args.plan(clock)?;
    verb::run(async {
        let client = args.brokers.connect().await?;
        let interrupt = Interrupt::listen()?;
        let mut session = Session::new(client, plan, &args.brokers, interrupt);
        let outcome = Box::pin(session.run()).await;
        // Also after a fault: what was printed is committed, and the others need not wait for this member.
        let closed = Box::pin(session.close()).await;
        outcome.and(closed)
    })
}

/// What is to be read, and how: the arguments as they are meant.
#[derive(Debug)]
struct Plan {
    topics: Vec<String>,
    /// Only these; empty for all.
    partitions: Vec<i32>,
    start: Begin,
    /// Whether the user said where to begin.
    is_start_given: bool,
    records_max: Option<u64>,
    stop_at_end: bool,
    group: Option<String>,
    format: Format,
    filter: Filter,
    isolation: Isolation,
}

impl Args {
    fn plan(&self, clock: &Clock) -> Result<Plan, Ended> {
        let mut topics: Vec<String> = Vec::new();
        for topic in self.named.iter().chain(&self.flagged) {
            if !topics.contains(topic) {
                topics.push(topic.clone());
            }
        }
        if self.group.as_deref().is_some_and(str::is_empty) {
            return Err(Ended::Usage("-g: a group needs a name.".to_owned()));
        }
        let start = match &self.offset {
            Some(text) => text.meant(clock.now_ms()),
            None => Begin::Start,
        };
        Ok(Plan {
            topics,
            partitions: self.partitions.clone(),
            start,
            is_start_given: self.offset.is_some() || self.from_beginning,
            records_max: self.num,
            stop_at_end: self.exit,
            group: self.group.clone(),
            format: self.format.clone().unwrap_or_default(),
            filter: Filter::new(self.grep.as_deref(), self.key_pattern.as_deref())?,
            isolation: if self.read_committed {
                Isolation::ReadCommitted
            } else {
                Isolation::ReadUncommitted
            },
        })
    }
}
