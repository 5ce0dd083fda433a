//! `streamd txn describe`: a transactional id, and what its transaction holds back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::brokers::BrokerArgs;
use super::super::exit::Ended;
use super::super::failure::ended;
use super::super::output::print;
use super::super::table::{self, Shape, Table, or_dash};
use super::list::{open_for, row_json};
use super::partitions::{Columns, Holding};
use super::{Failures, in_shell, moment, transactional_id};
use crate::client::transactions::{self, Described};
use crate::client::{Client, Error, topics};
use crate::config::units::show_millis;
use crate::types::{ErrorCode, Timestamp};

/// Show a transactional id, since when its transaction is open, and which partitions it holds back
#[derive(Debug, clap::Args)]
#[command(visible_alias = "desc")]
pub(super) struct Args {
    /// The transactional ids
    #[arg(value_name = "TRANSACTIONAL_ID", value_parser = transactional_id, required = true)]
    ids: Vec<String>,
    /// How to show them; wide adds epochs and offsets of the partitions, and the command that ends each
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

/// Runs `streamd txn describe …`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs, now: Timestamp) -> anyhow::Result<()> {
    let client = brokers.connect().await?;
    let (mut views, mut failures) = (Vec::new(), Failures::default());
    for id in &args.ids {
        match Box::pin(View::ask(&client, id)).await {
            Ok(view) => views.push(view),
            Err(error) => {
                if !failures.note(told(id, error)) {
                    break;
                }
            }
        }
    }
    print(&match args.output {
        Shape::Json => table::json(&views.iter().map(|view| view.json(now)).collect())?,
        shape => {
            let columns = if shape == Shape::Wide { Columns::Wide } else { Columns::Few };
            let text = |view: &View| view.text(now, columns);
            views.iter().map(text).collect::<Vec<_>>().join("\n")
        }
    })?;
    for View { row, .. } in views.iter().filter(|view| view.row.is_open()) {
        let id = in_shell(&row.id);
        brokers.note(&format!("If its producer does not come back, end it: streamd txn abort {id}"));
    }
    Ok(failures.ended()?)
}

/// What to say about an id that cannot be shown.
pub(super) fn told(id: &str, error: Error) -> Ended {
    if error.code() == Some(ErrorCode::TransactionalIdNotFound) {
        return Ended::Refused(format!(
            "transactional id {id} does not exist. streamd txn list shows those that do."
        ));
    }
    ended(error)
}

/// Whether what is asked for does not exist, or does not exist any more.
fn is_gone(error: &Error) -> bool {
    error.last_code() == Some(ErrorCode::UnknownTopicOrPartition)
}

/// A transactional id, and what its transaction holds.
struct View {
    row: Described,
    /// Its partitions; without [`Holding`] where nothing of it is open, or not yet, or no more.
    partitions: Vec<((String, i32), Option<Holding>)>,
    /// Those of them whose topic was deleted, or made anew with fewer.
    gone: BTreeSet<(String, i32)>,
}

impl View {
    async fn ask(client: &Client, id: &str) -> Result<Self, Error> {
        let row = transactions::describe(client, id).await?;
        let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &row.partitions {
            by_topic.entry(topic).or_default().push(*partition);
        }
        let (mut holding, mut gone) = (BTreeMap::new(), BTreeSet::new());
        for (topic, mut partitions) in by_topic {
            let there: Vec<i32> = match topics::find(client, topic, false).await {
                Err(error) if is_gone(&error) => Vec::new(),
                found => found?.partitions.iter().map(|partition| partition.index).collect(),
            };
            let missing = partitions.extract_if(.., |index| !there.contains(index));
            gone.extend(missing.map(|index| (topic.to_owned(), index)));
            if partitions.is_empty() {
                continue;
            }
            let found = match Holding::of(client, topic, &partitions).await {
                // The topic is being deleted, and its part of the transaction with it.
                Err(error) if is_gone(&error) => Vec::new(),
                found => found?,
            };
            let of_this = found.into_iter().filter(|one| one.open.producer_id == row.producer_id);
            holding.extend(of_this.map(|one| ((one.open.topic.clone(), one.open.partition), one)));
        }
        let partitions = row.partitions.iter().map(|key| (key.clone(), holding.remove(key))).collect();
        Ok(Self { row, partitions, gone })
    }

    fn text(&self, now: Timestamp, columns: Columns) -> String {
        let row = &self.row;
        let headings = [
            "TRANSACTIONAL ID",
            "STATE",
            "OPEN FOR",
            "STARTED",
            "TIMEOUT",
            "PRODUCER",
            "EPOCH",
            "COORDINATOR",
        ];
        let mut head = Table::new(&headings);
        head.row(vec![
            row.id.clone(),
            row.state.clone(),
            or_dash(open_for(row, now)),
            or_dash(row.began.filter(|_| row.is_under_way()).map(moment)),
            show_millis(row.timeout_ms.into()),
            row.producer_id.to_string(),
            row.producer_epoch.to_string(),
            row.coordinator.to_string(),
        ]);
        let mut parts = vec![head.text()];
        let open: Vec<Holding> = self.partitions.iter().filter_map(|(_, holding)| holding.clone()).collect();
        if !open.is_empty() {
            parts.push(Holding::table(&open, now, columns));
        }
        let idle = self.partitions.iter().filter(|(_, holding)| holding.is_none()).map(|(place, _)| place);
        let (gone, idle): (Vec<_>, Vec<_>) = idle.partition(|place| self.gone.contains(*place));
        for (places, what) in [(idle, "with nothing open"), (gone, "no longer there")] {
            let names: Vec<String> = places.iter().map(|(topic, at)| format!("{topic}-{at}")).collect();
            if !names.is_empty() {
                parts.push(format!("Part of it, {what}: {}\n", names.join(", ")));
            }
        }
        parts.join("\n")
    }

    fn json(&self, now: Timestamp) -> Value {
        let mut json = row_json(&self.row, now);
        let partition = |((topic, partition), holding): &((String, i32), Option<Holding>)| match holding {
            Some(holding) => holding.json(now),
            None => json!({ "topic": topic, "partition": partition, "first_offset": null }),
        };
        json["partitions"] = self.partitions.iter().map(partition).collect();
        json
    }
}
