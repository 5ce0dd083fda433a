//! `streamd txn list`.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::brokers::{BrokerArgs, duration};
use super::super::failure::{ended, ended_on_topic};
use super::super::output::print;
use super::super::table::{self, Shape, Table, or_dash};
use super::moment;
use super::partitions::{Columns, Holding};
use crate::client::transactions::{self, Described, Listed};
use crate::client::{Client, Error};
use crate::config::units::{show_millis, show_span};
use crate::types::Timestamp;

/// List transactional ids and what their last transaction does
///
/// With --topic, list the transactions that are open in its partitions, as the partitions know them. With --hung, list
/// those of all partitions that no coordinator knows, which nobody will end, and the commands that end them.
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls")]
pub(super) struct Args {
    /// Only those with a transaction under way; what a topic has is all open
    #[arg(long)]
    open: bool,
    /// Only those whose transaction is under way for at least so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    older_than: Option<std::time::Duration>,
    /// What is open in partitions and known to no coordinator, in all topics or in that of --topic
    #[arg(long)]
    hung: bool,
    /// What is open in the partitions of this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// How to show them; wide adds all that is known, and the command that ends each
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

/// Runs `streamd txn list …`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs, now: Timestamp) -> anyhow::Result<()> {
    let client = brokers.connect().await?;
    if args.hung || args.topic.is_some() {
        return Box::pin(in_partitions(&client, &args, brokers, now)).await;
    }
    let rows = known(&client, &args, now).await.map_err(ended)?;
    print(&match args.output {
        Shape::Json => table::json(&rows.iter().map(|row| row_json(row, now)).collect())?,
        Shape::Table | Shape::Wide if brokers.quiet => {
            rows.iter().map(|row| format!("{}\n", row.id)).collect()
        }
        shape => table(&rows, now, shape == Shape::Wide),
    })?;
    if !brokers.quiet {
        if rows.iter().any(Described::is_open) {
            brokers.note(
                "One whose producer does not come back is ended by: streamd txn abort TRANSACTIONAL_ID",
            );
        }
        Box::pin(tell_of_hung(&client, brokers)).await;
    }
    Ok(())
}

/// Says how many there are that this list cannot show, for they have no transactional id.
async fn tell_of_hung(client: &Client, brokers: &BrokerArgs) {
    match Holding::hanging_anywhere(client).await {
        Ok(hung) if hung.is_empty() => {}
        Ok(hung) => {
            let (is, s) = if hung.len() == 1 { ("is", "") } else { ("are", "s") };
            brokers.note(&format!(
                "There {is} {} more transaction{s} open in partitions, that no coordinator knows and nobody will end: \
                 streamd txn list --hung",
                hung.len()
            ));
        }
        Err(error) => brokers.note(&format!(
            "It cannot be told whether partitions hold more, that no coordinator knows: {}",
            ended(error)
        )),
    }
}

/// What partitions know.
async fn in_partitions(
    client: &Client,
    args: &Args,
    brokers: &BrokerArgs,
    now: Timestamp,
) -> anyhow::Result<()> {
    let mut all = match &args.topic {
        Some(topic) => {
            Holding::of_topic(client, topic).await.map_err(|error| ended_on_topic(topic, error))?
        }
        None => Holding::hanging_anywhere(client).await.map_err(ended)?,
    };
    if args.hung && args.topic.is_some() {
        all.retain(|one| one.hangs);
        all = Holding::still_open(client, all).await.map_err(ended)?;
    }
    if let Some(least) = args.least_ms() {
        all.retain(|one| one.open_for_ms(now).is_some_and(|open_for| open_for >= least));
    }
    print(&match args.output {
        Shape::Json => table::json(&all.iter().map(|one| one.json(now)).collect())?,
        Shape::Table | Shape::Wide if brokers.quiet => all.iter().map(name).collect(),
        Shape::Wide => Holding::table(&all, now, Columns::Wide),
        Shape::Table if args.hung => Holding::table(&all, now, Columns::Ends),
        Shape::Table => Holding::table(&all, now, Columns::Few),
    })?;
    if let (Some(topic), false, Shape::Table) = (&args.topic, args.hung || all.is_empty(), args.output) {
        let commands: BTreeSet<String> = all.iter().map(Holding::command).collect();
        brokers.note(&match commands.first() {
            Some(only) if commands.len() == 1 => {
                format!("If its producer does not come back, end it: {only}")
            }
            _ => format!("The command that ends each: streamd txn list --topic {topic} -o wide"),
        });
    }
    Ok(())
}

/// What it is called: by its transactional id, or else by its place.
fn name(one: &Holding) -> String {
    match &one.id {
        Some(id) if !one.hangs => format!("{id}\n"),
        _ => format!("{}-{}\n", one.open.topic, one.open.partition),
    }
}

impl Args {
    /// How long those are open at least that are asked for, in milliseconds.
    fn least_ms(&self) -> Option<i64> {
        self.older_than.map(|least| i64::try_from(least.as_millis()).unwrap_or(i64::MAX))
    }
}

/// What the coordinators know, as far as it is asked for.
async fn known(client: &Client, args: &Args, now: Timestamp) -> Result<Vec<Described>, Error> {
    let mut listed = transactions::list(client, &[]).await?;
    if args.open || args.older_than.is_some() {
        listed.retain(Listed::is_under_way);
    }
    let mut rows = transactions::describe_all(client, &listed).await?;
    if let Some(least) = args.least_ms() {
        let is_old = |began: Timestamp| now.saturating_sub(began) >= least;
        rows.retain(|row| row.is_under_way() && row.began.is_some_and(is_old));
    }
    Ok(rows)
}

fn table(rows: &[Described], now: Timestamp, wide: bool) -> String {
    let mut headings = vec!["TRANSACTIONAL ID", "STATE", "OPEN FOR", "PARTITIONS"];
    if wide {
        headings.extend(["STARTED", "TIMEOUT", "PRODUCER", "EPOCH", "COORDINATOR"]);
    }
    let mut table = Table::new(&headings);
    for row in rows {
        let under_way = row.is_under_way();
        let mut cells = vec![
            row.id.clone(),
            row.state.clone(),
            or_dash(open_for(row, now)),
            or_dash(under_way.then_some(row.partitions.len())),
        ];
        if wide {
            cells.extend([
                or_dash(row.began.filter(|_| under_way).map(moment)),
                show_millis(row.timeout_ms.into()),
                row.producer_id.to_string(),
                row.producer_epoch.to_string(),
                row.coordinator.to_string(),
            ]);
        }
        table.row(cells);
    }
    table.text()
}

/// How long the transaction that is under way has been, in milliseconds.
fn open_for_ms(row: &Described, now: Timestamp) -> Option<i64> {
    row.began.filter(|_| row.is_under_way()).map(|began| now.saturating_sub(began).max(0))
}

/// The same for people.
pub(super) fn open_for(row: &Described, now: Timestamp) -> Option<String> {
    open_for_ms(row, now).map(show_span)
}

pub(super) fn row_json(row: &Described, now: Timestamp) -> serde_json::Value {
    json!({
        "transactional_id": row.id,
        "state": row.state,
        "under_way": row.is_under_way(),
        "started_ms": row.began,
        "open_for_ms": open_for_ms(row, now),
        "timeout_ms": row.timeout_ms,
        "producer_id": row.producer_id,
        "producer_epoch": row.producer_epoch,
        "coordinator": row.coordinator,
        "partitions": row.partitions.iter().map(|(topic, partition)| json!({
            "topic": topic,
            "partition": partition,
        })).collect::<Vec<_>>(),
    })
}
