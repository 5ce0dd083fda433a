//! `streamd topic trim` and `streamd topic empty`: delete the records before a place, or all of them.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::brokers::BrokerArgs;
use super::super::consume::start::{Begin, BeginText, PastEnd};
use super::super::exit::Ended;
use super::super::failure::ended_on_topic;
use super::super::output::print;
use super::super::table::{self, Shape, Table};
use super::Names;
use crate::client::alter::delete_below;
use crate::client::offsets::{self, Isolation, Place};
use crate::client::{Client, Error, topics};
use crate::types::{Clock, ErrorCode};

/// Delete the records of a topic before a place; they cannot come back
#[derive(Debug, clap::Args)]
#[command(visible_alias = "trim-prefix")]
pub(super) struct TrimArgs {
    #[command(flatten)]
    names: Names,
    /// The first record that stays: an offset, -10 for ten before the end, @-7d or @2026-11-21T09:00 for a time, end
    /// for none
    #[arg(short, long, visible_alias = "before", value_name = "WHERE", allow_hyphen_values = true)]
    offset: BeginText,
    /// In these partitions only
    #[arg(short, long, value_name = "N", value_delimiter = ',')]
    partition: Vec<i32>,
    /// How to show where the partitions begin then
    #[arg(short = 'O', long, value_enum, default_value_t)]
    output: Shape,
}

/// Delete all records of topics, and keep the topics
#[derive(Debug, clap::Args)]
pub(super) struct EmptyArgs {
    #[command(flatten)]
    names: Names,
    /// How to show where the partitions begin then
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

/// Runs `streamd topic trim …`.
pub(super) async fn run(args: TrimArgs, brokers: &BrokerArgs) -> anyhow::Result<()> {
    let begin = args.offset.meant(Clock::system().now_ms());
    trim(&args.names.all(), begin, &args.partition, args.output, brokers).await
}

/// Runs `streamd topic empty …`.
pub(super) async fn empty(args: EmptyArgs, brokers: &BrokerArgs) -> anyhow::Result<()> {
    trim(&args.names.all(), Begin::End, &[], args.output, brokers).await
}

async fn trim(
    names: &[String],
    begin: Begin,
    partitions: &[i32],
    output: Shape,
    brokers: &BrokerArgs,
) -> anyhow::Result<()> {
    let client = brokers.connect().await?;
    let mut trimmed = Vec::new();
    let mut refusals = Vec::new();
    for name in names {
        match Box::pin(Trimmed::carry_out(&client, name, begin, partitions)).await {
            Ok(Ok(one)) => trimmed.push(one),
            Ok(Err(past)) => refusals.push(format!(
                "partition {} of {name} ends at {}, before {}: nothing was deleted. -o end deletes all there is.",
                past.partition, past.end, past.wanted
            )),
            Err(error) => refusals.push(refusal(name, error).to_string()),
        }
    }
    match output {
        Shape::Json => print(&table::json(&trimmed.iter().flat_map(Trimmed::json).collect())?)?,
        Shape::Table | Shape::Wide if brokers.quiet || trimmed.is_empty() => {}
        Shape::Table | Shape::Wide => {
            let mut table = Table::new(&["TOPIC", "PARTITION", "BEGAN AT", "BEGINS AT"]);
            trimmed.iter().for_each(|one| one.rows(&mut table));
            print(&table.text())?;
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(Ended::Refused(refusals.join("\n")).into()) }
}

/// A topic whose partitions begin elsewhere.
struct Trimmed {
    topic: String,
    before: BTreeMap<i32, i64>,
    after: BTreeMap<i32, i64>,
}

impl Trimmed {
    /// `Err` inside: the place lies behind the end of a partition, which is more likely a mistake than meant.
    async fn carry_out(
        client: &Client,
        name: &str,
        begin: Begin,
        wanted: &[i32],
    ) -> Result<Result<Self, PastEnd>, Error> {
        let topic = topics::find(client, name, false).await?;
        let all = topic.partitions.iter().map(|partition| partition.index);
        // One that does not exist is the broker's to refuse.
        let partitions: Vec<i32> = if wanted.is_empty() { all.collect() } else { wanted.to_vec() };
        let isolation = Isolation::ReadUncommitted;
        let before = offsets::list(client, name, &partitions, Place::Start, isolation).await?;
        let places = begin.offsets(client, name, &partitions, isolation).await?;
        if let Some(past) = places.past_end.first() {
            return Ok(Err(*past));
        }
        let after = delete_below(client, name, &places.offsets).await?;
        Ok(Ok(Self { topic: name.to_owned(), before, after }))
    }

    fn rows(&self, table: &mut Table) {
        for (partition, after) in &self.after {
            let before = table::or_dash(self.before.get(partition));
            table.row(vec![self.topic.clone(), partition.to_string(), before, after.to_string()]);
        }
    }

    fn json(&self) -> Vec<serde_json::Value> {
        let row = |(partition, after): (&i32, &i64)| {
            let before = self.before.get(partition);
            json!({ "topic": self.topic, "partition": partition, "began_at": before, "begins_at": after })
        };
        self.after.iter().map(row).collect()
    }
}

fn refusal(topic: &str, error: Error) -> Ended {
    match error.code() {
        Some(ErrorCode::PolicyViolation) => Ended::Refused(format!(
            "topic {topic} is compacted and keeps the last record of each key: nothing was deleted. A key goes with a \
             tombstone: echo KEY: | streamd produce {topic} -K : -Z. To be able to trim, give it cleanup.policy=compact,delete, \
             but then records expire as well, whatever their key, unless retention is off: streamd topic config {topic} \
             -c cleanup.policy=compact,delete -c retention.ms=-1 -c retention.bytes=-1"
        )),
        _ => ended_on_topic(topic, error),
    }
}
