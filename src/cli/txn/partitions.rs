//! What a transaction does to a partition: where it begins there, and how much it keeps from readers of committed
//! records.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::table::{Table, or_dash};
use super::ago;
use crate::client::offsets::{self, Isolation, Place};
use crate::client::transactions::{self, OpenIn};
use crate::client::{Client, Error, topics};
use crate::types::Timestamp;

/// A transaction that is open in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holding {
    /// What the partition says of it.
    pub(super) open: OpenIn,
    /// Its transactional id, if a coordinator knows the producer.
    pub(super) id: Option<String>,
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
        let open = transactions::open_in(client, topic, partitions).await?;
        let mut touched: Vec<i32> = open.iter().map(|open| open.partition).collect();
        touched.dedup();
        if touched.is_empty() {
            return Ok(Vec::new());
        }
        let at = async |isolation| offsets::list(client, topic, &touched, Place::End, isolation).await;
        let (stable, ends) = (at(Isolation::ReadCommitted).await?, at(Isolation::ReadUncommitted).await?);
        let producers: Vec<i64> = open.iter().map(|open| open.producer_id).collect();
        let known = transactions::list(client, &producers).await?;
        let known: BTreeMap<i64, String> = known.into_iter().map(|one| (one.producer_id, one.id)).collect();
        let holding = |open: OpenIn| Self {
            id: known.get(&open.producer_id).cloned(),
            stable: stable.get(&open.partition).copied().unwrap_or(-1),
            end: ends.get(&open.partition).copied().unwrap_or(-1),
            open,
        };
        Ok(open.into_iter().map(holding).collect())
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
    pub(super) fn table(all: &[Self], now: Timestamp, wide: bool) -> String {
        let mut headings =
            vec!["TOPIC", "PARTITION", "TRANSACTIONAL ID", "PRODUCER", "FROM", "HOLDS BACK", "LAST WRITE"];
        if wide {
            headings.extend(["EPOCH", "COORDINATOR EPOCH", "STABLE", "END"]);
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
                or_dash((open.last_written >= 0).then(|| format!("{} ago", ago(now, open.last_written)))),
            ];
            if wide {
                let numbers =
                    [open.producer_epoch.into(), open.coordinator_epoch.into(), one.stable, one.end];
                cells.extend(numbers.map(|number: i64| number.to_string()));
            }
            table.row(cells);
        }
        table.text()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "topic": self.open.topic,
            "partition": self.open.partition,
            "transactional_id": self.id,
            "producer_id": self.open.producer_id,
            "producer_epoch": self.open.producer_epoch,
            "coordinator_epoch": self.open.coordinator_epoch,
            "first_offset": self.open.first_offset,
            "last_written": self.open.last_written,
            "stable": self.stable,
            "end": self.end,
            "holds_back": self.held_back(),
        })
    }
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
            stable: 10,
            end: 25,
        };
        assert_eq!((holding(10).held_back(), holding(20).held_back()), (Some(15), None));
        assert!(!holding(20).holds_back());
        let text = Holding::table(&[holding(10)], 61_000, false);
        assert_eq!(
            text,
            "TOPIC  PARTITION  TRANSACTIONAL ID  PRODUCER  FROM  HOLDS BACK  LAST WRITE\n\
             t      0          -                 1         10    15          1m ago\n"
        );
    }
}
