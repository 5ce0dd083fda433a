//! What a transaction does to a partition: where it begins there, and how much it keeps from readers of committed
//! records.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::table::{Table, or_dash};
use super::{ago, in_shell};
use crate::client::offsets::{self, Isolation, Place};
use crate::client::open_transactions::{self, OpenIn};
use crate::client::transactions::{self, Described};
use crate::client::{Client, Error, topics};
use crate::config::units::show_span;
use crate::types::{ErrorCode, Timestamp};

/// A transaction that is open in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holding {
    /// What the partition says of it.
    pub(super) open: OpenIn,
    /// Its transactional id, if a coordinator knows the producer.
    pub(super) id: Option<String>,
    /// Whether it hangs: no coordinator counts the partition to a transaction that is under way.
    pub(super) hangs: bool,
    /// When it began: by its coordinator, or by its first record here if it hangs.
    pub(super) began: Option<Timestamp>,
    /// Where readers of committed records stop.
    stable: i64,
    /// Where the partition ends.
    end: i64,
}

impl Holding {
    /// The transactions that are open in a topic, by partition and first offset.
    pub(super) async fn of_topic(client: &Client, topic: &str) -> Result<Vec<Self>, Error> {
        let found = topics::find(client, topic, false).await?;
        let partitions: Vec<i32> = found.partitions.iter().map(|partition| partition.index).collect();
        Self::of(client, topic, &partitions).await
    }

    /// The same in some partitions of a topic.
    pub(super) async fn of(client: &Client, topic: &str, partitions: &[i32]) -> Result<Vec<Self>, Error> {
        let open = open_transactions::open_in(client, topic, partitions).await?;
        let mut all = with_coordinators(client, open).await?;
        measure(client, &mut all).await?;
        Ok(all)
    }

    /// Those that hang, in all partitions that there are.
    pub(super) async fn hanging_anywhere(client: &Client) -> Result<Vec<Self>, Error> {
        let open = open_transactions::open_anywhere(client).await?;
        let mut all = with_coordinators(client, open).await?;
        all.retain(|one| one.hangs);
        let mut all = Self::still_open(client, all).await?;
        measure(client, &mut all).await?;
        Ok(all)
    }

    /// Those that are still open. A coordinator knows a partition before anything is written there, and until its end is:
    /// what was open before the coordinators were asked, and still is, is what they know nothing of.
    pub(super) async fn still_open(client: &Client, mut all: Vec<Self>) -> Result<Vec<Self>, Error> {
        let mut still = BTreeSet::new();
        for (topic, partitions) in by_topic(&all) {
            match open_transactions::open_in(client, &topic, &partitions).await {
                Err(error) if error.last_code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
                found => still.extend(found?.iter().map(place)),
            }
        }
        all.retain(|one| still.contains(&place(&one.open)));
        Ok(all)
    }

    /// How long it is open, in milliseconds.
    pub(super) fn open_for_ms(&self, now: Timestamp) -> Option<i64> {
        self.began.map(|began| now.saturating_sub(began).max(0))
    }

    /// The command that ends it.
    pub(super) fn command(&self) -> String {
        let OpenIn { topic, partition, producer_id, .. } = &self.open;
        match &self.id {
            Some(id) if !self.hangs => format!("streamd txn abort {}", in_shell(id)),
            _ => {
                format!("streamd txn abort --topic {topic} --partition {partition} --producer {producer_id}")
            }
        }
    }

    /// Whether readers of committed records wait for this one: it is the first that is open there.
    pub(super) fn holds_back(&self) -> bool {
        self.stable >= 0 && self.stable == self.open.first_offset
    }

    /// How many offsets readers of committed records do not get because of it.
    fn held_back(&self) -> Option<i64> {
        self.holds_back().then(|| (self.end - self.stable).max(0))
    }

    /// For people.
    pub(super) fn table(all: &[Self], now: Timestamp, columns: Columns) -> String {
        let mut headings = vec![
            "TOPIC",
            "PARTITION",
            "TRANSACTIONAL ID",
            "PRODUCER",
            "FROM",
            "HOLDS BACK",
            "OPEN FOR",
            "LAST WRITE",
        ];
        if columns == Columns::Wide {
            headings.extend(["EPOCH", "COORDINATOR EPOCH", "STABLE", "END"]);
        }
        if columns != Columns::Few {
            headings.push("END WITH");
        }
        let mut table = Table::new(&headings);
        for one in all {
            let open = &one.open;
            let mut cells = vec![
                open.topic.clone(),
                open.partition.to_string(),
                or_dash(one.id.as_ref()),
                open.producer_id.to_string(),
                open.first_offset.to_string(),
                or_dash(one.held_back()),
                or_dash(one.open_for_ms(now).map(show_span)),
                or_dash((open.last_written >= 0).then(|| format!("{} ago", ago(now, open.last_written)))),
            ];
            if columns == Columns::Wide {
                let numbers =
                    [open.producer_epoch.into(), open.coordinator_epoch.into(), one.stable, one.end];
                cells.extend(numbers.map(|number: i64| number.to_string()));
            }
            if columns != Columns::Few {
                cells.push(one.command());
            }
            table.row(cells);
        }
        table.text()
    }

    /// For programs.
    pub(super) fn json(&self, now: Timestamp) -> Value {
        json!({
            "topic": self.open.topic,
            "partition": self.open.partition,
            "transactional_id": self.id,
            "hangs": self.hangs,
            "producer_id": self.open.producer_id,
            "producer_epoch": self.open.producer_epoch,
            "coordinator_epoch": self.open.coordinator_epoch,
            "first_offset": self.open.first_offset,
            "started_ms": self.began,
            "open_for_ms": self.open_for_ms(now),
            "last_written_ms": Some(self.open.last_written).filter(|at| *at >= 0),
            "stable": self.stable,
            "end": self.end,
            "holds_back": self.held_back(),
            "end_with": self.command(),
        })
    }
}

/// How much of each a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    Few,
    /// Also the command that ends it.
    Ends,
    /// All.
    Wide,
}

/// What tells one open transaction of a partition from a later one.
fn place(open: &OpenIn) -> (String, i32, i64, i64) {
    (open.topic.clone(), open.partition, open.producer_id, open.first_offset)
}

fn by_topic(all: &[Holding]) -> BTreeMap<String, Vec<i32>> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for Holding { open, .. } in all {
        let partitions = topics.entry(open.topic.clone()).or_default();
        if partitions.last() != Some(&open.partition) {
            partitions.push(open.partition);
        }
    }
    topics
}

/// What the coordinators know of these.
async fn with_coordinators(client: &Client, open: Vec<OpenIn>) -> Result<Vec<Holding>, Error> {
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let producers: BTreeSet<i64> = open.iter().map(|open| open.producer_id).collect();
    let listed = transactions::list(client, &Vec::from_iter(producers)).await?;
    let known = transactions::describe_all(client, &listed).await?;
    let known: BTreeMap<i64, Described> = known.into_iter().map(|one| (one.producer_id, one)).collect();
    let holding = |open: OpenIn| {
        let known = known.get(&open.producer_id);
        let covers = |known: &&Described| {
            let is_here =
                |(topic, partition): &(String, i32)| *topic == open.topic && *partition == open.partition;
            known.is_under_way() && known.partitions.iter().any(is_here)
        };
        let covering = known.filter(covers);
        Holding {
            id: known.map(|known| known.id.clone()),
            hangs: covering.is_none(),
            began: covering.and_then(|known| known.began),
            stable: -1,
            end: -1,
            open,
        }
    };
    Ok(open.into_iter().map(holding).collect())
}

/// Finds out how much they hold back, and since when those are open that hang.
async fn measure(client: &Client, all: &mut [Holding]) -> Result<(), Error> {
    for (topic, partitions) in by_topic(all) {
        let at = async |isolation| offsets::list(client, &topic, &partitions, Place::End, isolation).await;
        let (stable, ends) = (at(Isolation::ReadCommitted).await?, at(Isolation::ReadUncommitted).await?);
        for one in all.iter_mut().filter(|one| one.open.topic == topic) {
            one.stable = stable.get(&one.open.partition).copied().unwrap_or(-1);
            one.end = ends.get(&one.open.partition).copied().unwrap_or(-1);
        }
    }
    for one in all.iter_mut().filter(|one| one.hangs) {
        one.began = open_transactions::first_written(client, &one.open).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_that_is_open_holds_a_partition_back() {
        let holding = |first_offset| Holding {
            open: OpenIn {
                topic: "t".to_owned(),
                partition: 0,
                producer_id: 1,
                producer_epoch: 0,
                coordinator_epoch: -1,
                first_offset,
                last_written: 1_000,
            },
            id: None,
            hangs: true,
            began: Some(500),
            stable: 10,
            end: 25,
        };
        assert_eq!((holding(10).held_back(), holding(20).held_back()), (Some(15), None));
        assert!(!holding(20).holds_back());
        let text = Holding::table(&[holding(10)], 192_500, Columns::Ends);
        assert_eq!(
            text,
            "TOPIC  PARTITION  TRANSACTIONAL ID  PRODUCER  FROM  HOLDS BACK  OPEN FOR  LAST WRITE  END WITH\n\
             t      0          -                 1         10    15          3m12s     3m11s ago   \
             streamd txn abort --topic t --partition 0 --producer 1\n"
        );
    }
}
