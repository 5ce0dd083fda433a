//! `streamd topic describe`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::brokers::BrokerArgs;
use super::super::failure::ended_on_topic;
use super::super::output::print;
use super::super::table::{self, Shape, Table};
use super::Names;
use super::list::replicas;
use super::outlook::{Facts, Rules, rounded, size};
use super::shown;
use crate::client::offsets::{self, Isolation, Place};
use crate::client::sizes::{self, Lost, OnDisk};
use crate::client::topics::{self, Setting};
use crate::client::{Client, Error, Topic};
use crate::types::{Clock, Timestamp};

/// Show a topic's settings and partitions, and what becomes of its records
#[derive(Debug, clap::Args)]
#[command(visible_alias = "desc")]
pub(super) struct Args {
    #[command(flatten)]
    names: Names,
    /// How to show them; wide shows all settings, also those that nobody has changed
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

/// Runs `streamd topic describe …`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs) -> anyhow::Result<()> {
    let client = brokers.connect().await?;
    let mut described = Vec::new();
    for name in args.names.all() {
        let found = Box::pin(Described::ask(&client, &name)).await;
        described.push(found.map_err(|error| ended_on_topic(&name, error))?);
    }
    print(&match args.output {
        Shape::Json => table::json(&described.iter().map(Described::json).collect())?,
        Shape::Table => described.iter().map(|one| one.text(false)).collect::<Vec<_>>().join("\n"),
        Shape::Wide => described.iter().map(|one| one.text(true)).collect::<Vec<_>>().join("\n"),
    })
}

/// All there is to tell about a topic.
struct Described {
    topic: Topic,
    settings: Vec<Setting>,
    starts: BTreeMap<i32, i64>,
    ends: BTreeMap<i32, i64>,
    /// Where readers of committed records stop.
    stable: BTreeMap<i32, i64>,
    /// The time of each partition's oldest record.
    oldest: BTreeMap<i32, Timestamp>,
    /// What is on disk of each partition, where brokers tell.
    on_disk: BTreeMap<i32, OnDisk>,
    now: Timestamp,
}

impl Described {
    async fn ask(client: &Client, name: &str) -> Result<Self, Error> {
        let topic = topics::find(client, name, false).await?;
        let indexes: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
        let at = async |place| offsets::list(client, name, &indexes, place, Isolation::ReadUncommitted).await;
        let (starts, ends) = (at(Place::Start).await?, at(Place::End).await?);
        let stable = offsets::list(client, name, &indexes, Place::End, Isolation::ReadCommitted).await?;
        let oldest = offsets::first_times(client, name, &indexes).await?;
        let on_disk = Box::pin(sizes::of_topic(client, &topic)).await?;
        let settings = topics::settings(client, name).await?;
        Ok(Self { settings, topic, starts, ends, stable, oldest, on_disk, now: Clock::system().now_ms() })
    }

    fn facts(&self, partition: i32) -> Facts {
        let at = |offsets: &BTreeMap<i32, i64>| offsets.get(&partition).copied().unwrap_or(0);
        Facts {
            span: at(&self.ends).saturating_sub(at(&self.starts)).max(0),
            bytes: self.on_disk.get(&partition).map(|known| known.bytes),
            oldest: self.oldest.get(&partition).copied(),
        }
    }

    fn text(&self, all_settings: bool) -> String {
        let mut head = Table::new(&["NAME", "ID", "PARTITIONS", "REPLICAS"]);
        head.row(vec![
            self.topic.name.clone(),
            table::or_dash(Some(self.topic.id).filter(|id| !id.is_zero())),
            self.topic.partitions.len().to_string(),
            replicas(&self.topic).to_string(),
        ]);
        let mut settings = Table::new(&["SETTING", "VALUE", "SET BY"]);
        shown::rows(&self.settings, all_settings).for_each(|row| settings.row(row.into()));
        let mut parts = vec![head.text()];
        if !settings.is_empty() {
            parts.push(settings.text());
        }
        parts.push(self.partitions());
        parts.push(self.outlook());
        parts.extend(self.damage());
        parts.join("\n")
    }

    /// How old the oldest records are, what is deleted next, and what compaction does.
    fn outlook(&self) -> String {
        let rules = Rules::of(&self.settings);
        let mut table = Table::new(&["PARTITION", "SIZE", "OLDEST RECORD", "DELETED NEXT"]);
        for partition in &self.topic.partitions {
            let facts = self.facts(partition.index);
            let age = |oldest: Timestamp| format!("{} old", rounded(self.now.saturating_sub(oldest).max(0)));
            table.row(vec![
                partition.index.to_string(),
                table::or_dash(facts.bytes.map(size)),
                table::or_dash(facts.oldest.map(age)),
                rules.next(facts).text(self.now),
            ]);
        }
        match rules.compaction() {
            Some(compaction) => format!("{}\n{compaction}", table.text()),
            None => table.text(),
        }
    }

    /// What cannot be read any more, if there is something.
    fn damage(&self) -> Option<String> {
        let mut table = Table::new(&["PARTITION", "DAMAGED OFFSETS", "WHY"]);
        for (partition, lost) in self.lost() {
            let last = (lost.next - 1).max(lost.first);
            let offsets =
                if last == lost.first { last.to_string() } else { format!("{} to {last}", lost.first) };
            table.row(vec![partition.to_string(), offsets, lost.why.clone()]);
        }
        let (partition, _) = self.lost().next()?;
        let name = &self.topic.name;
        Some(format!(
            "{}Fetches of these fail. With the broker stopped, streamd repair {name}-{partition} --data-dir DIR shows \
             them, and with --yes gives them up.\n",
            table.text()
        ))
    }

    fn lost(&self) -> impl Iterator<Item = (i32, &Lost)> {
        self.on_disk.iter().flat_map(|(partition, known)| known.damage.iter().map(|lost| (*partition, lost)))
    }

    /// Where readers of committed records stop in this partition, if that is before its end: a transaction is open there.
    fn held_back_at(&self, partition: i32) -> Option<i64> {
        let (stable, end) = (self.stable.get(&partition)?, self.ends.get(&partition)?);
        Some(*stable).filter(|stable| stable < end)
    }

    fn partitions(&self) -> String {
        let held_back = |partition: &crate::client::Partition| self.held_back_at(partition.index).is_some();
        let is_held_back = self.topic.partitions.iter().any(held_back);
        let mut headings = vec!["PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC", "START", "END"];
        if is_held_back {
            headings.push("STABLE");
        }
        let mut table = Table::new(&headings);
        for partition in &self.topic.partitions {
            let mut cells = vec![
                partition.index.to_string(),
                table::or_dash(partition.leader),
                table::or_dash(Some(partition.leader_epoch).filter(|epoch| *epoch >= 0)),
                table::numbers(&partition.replicas),
                table::numbers(&partition.in_sync),
                table::or_dash(self.starts.get(&partition.index)),
                table::or_dash(self.ends.get(&partition.index)),
            ];
            if is_held_back {
                cells.push(table::or_dash(self.stable.get(&partition.index)));
            }
            table.row(cells);
        }
        if !is_held_back {
            return table.text();
        }
        format!(
            "{}Readers of committed records stop at STABLE, before an open transaction: streamd txn list --topic {} shows \
             whose.\n",
            table.text(),
            self.topic.name
        )
    }

    fn json(&self) -> Value {
        let rules = Rules::of(&self.settings);
        let damage = |index: i32| -> Vec<Value> {
            let own = self.lost().filter(|(partition, _)| *partition == index);
            own.map(
                |(_, lost)| json!({ "first_offset": lost.first, "next_offset": lost.next, "why": lost.why }),
            )
            .collect()
        };
        let partition = |partition: &crate::client::Partition| {
            json!({
                "partition": partition.index,
                "leader": partition.leader,
                "leader_epoch": partition.leader_epoch,
                "replicas": partition.replicas,
                "in_sync": partition.in_sync,
                "start": self.starts.get(&partition.index),
                "end": self.ends.get(&partition.index),
                "stable": self.stable.get(&partition.index),
                "size_bytes": self.on_disk.get(&partition.index).map(|known| known.bytes),
                "damage": damage(partition.index),
                "oldest_timestamp": self.oldest.get(&partition.index),
                "deleted_next": rules.next(self.facts(partition.index)).json(),
            })
        };
        json!({
            "name": self.topic.name,
            "id": Some(self.topic.id).filter(|id| !id.is_zero()).map(|id| id.to_string()),
            "internal": self.topic.internal,
            "replication_factor": replicas(&self.topic),
            "partitions": self.topic.partitions.iter().map(partition).collect::<Vec<_>>(),
            "settings": shown::json(&self.settings),
        })
    }
}
