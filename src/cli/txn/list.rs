//! `streamd txn list`.

use serde_json::json;

use super::super::brokers::{BrokerArgs, duration};
use super::super::failure::{ended, ended_on_topic};
use super::super::output::print;
use super::super::table::{self, Shape, Table, or_dash};
use super::partitions::Holding;
use super::{ago, moment};
use crate::client::transactions::{self, Described, Listed};
use crate::client::{Client, Error};
use crate::config::units::show_millis;
use crate::types::Timestamp;

/// List transactional ids and what their last transaction does
///
/// With --topic, list the transactions that are open in its partitions, as the partitions know them: also one that no
/// coordinator knows any more, which nobody will end.
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls")]
pub(super) struct Args {
    /// Only those with a transaction under way
    #[arg(long, conflicts_with = "topic")]
    open: bool,
    /// Only those whose transaction is under way for at least so long
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "topic")]
    older_than: Option<std::time::Duration>,
    /// What is open in the partitions of this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// How to show them
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

/// Runs `streamd txn list`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs, now: Timestamp) -> anyhow::Result<()> {
    let client = brokers.connect().await?;
    if let Some(topic) = &args.topic {
        let holding =
            Holding::of_topic(&client, topic).await.map_err(|error| ended_on_topic(topic, error))?;
        return print(&match args.output {
            Shape::Json => table::json(&holding.iter().map(Holding::json).collect())?,
            Shape::Table | Shape::Wide if brokers.quiet => {
                holding.iter().filter_map(|one| one.id.as_ref().map(|id| format!("{id}\n"))).collect()
            }
            shape => Holding::table(&holding, now, shape == Shape::Wide),
        });
    }
    let rows = known(&client, &args, now).await.map_err(ended)?;
    print(&match args.output {
        Shape::Json => table::json(&rows.iter().map(row_json).collect())?,
        Shape::Table | Shape::Wide if brokers.quiet => {
            rows.iter().map(|row| format!("{}\n", row.id)).collect()
        }
        shape => table(&rows, now, shape == Shape::Wide),
    })
}

/// What the coordinators know, as far as it is asked for.
async fn known(client: &Client, args: &Args, now: Timestamp) -> Result<Vec<Described>, Error> {
    let mut listed = transactions::list(client, &[]).await?;
    if args.open || args.older_than.is_some() {
        listed.retain(Listed::is_under_way);
    }
    let mut rows = transactions::describe_all(client, &listed).await?;
    if let Some(least) = args.older_than {
        let least = i64::try_from(least.as_millis()).unwrap_or(i64::MAX);
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

/// How long the transaction that is under way has been, for people.
pub(super) fn open_for(row: &Described, now: Timestamp) -> Option<String> {
    row.began.filter(|_| row.is_under_way()).map(|began| ago(now, began))
}

pub(super) fn row_json(row: &Described) -> serde_json::Value {
    json!({
        "transactional_id": row.id,
        "state": row.state,
        "under_way": row.is_under_way(),
        "started": row.began,
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
