//! `streamd group describe`: members, and how far each partition is read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::brokers::BrokerArgs;
use super::super::exit::Ended;
use super::super::failure::ended;
use super::super::output::print;
use super::super::table::{self, Shape, Table, or_dash};
use crate::client::groups::{self, Described, Member};
use crate::client::offsets::{self, Isolation, Place};
use crate::client::{Client, Error};
use crate::types::ErrorCode;

/// Show a group's members, and the committed offset, end and lag of each partition
#[derive(Debug, clap::Args)]
#[command(visible_alias = "desc")]
pub(super) struct Args {
    /// The groups
    #[arg(value_name = "GROUP", required_unless_present = "flagged")]
    named: Vec<String>,
    /// The same as a flag
    #[arg(short = 'g', long = "group", value_name = "GROUP")]
    flagged: Vec<String>,
    /// How to show them; wide adds what is known of the members
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

/// Runs `streamd group describe …`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs) -> anyhow::Result<()> {
    let client = brokers.connect().await?;
    let mut views = Vec::new();
    for group in args.named.iter().chain(&args.flagged) {
        let view = Box::pin(View::ask(&client, group)).await;
        views.push(view.map_err(|error| told(group, error))?);
    }
    print(&match args.output {
        Shape::Json => table::json(&views.iter().map(View::json).collect())?,
        Shape::Table => views.iter().map(|view| view.text(false)).collect::<Vec<_>>().join("\n"),
        Shape::Wide => views.iter().map(|view| view.text(true)).collect::<Vec<_>>().join("\n"),
    })
}

fn told(group: &str, error: Error) -> Ended {
    if error.code() == Some(ErrorCode::GroupIdNotFound) {
        return Ended::Refused(format!(
            "group {group} does not exist. streamd group list shows those that do."
        ));
    }
    ended(error)
}

/// A group and where its partitions end.
struct View {
    group: Described,
    rows: Vec<Row>,
}

/// One partition that the group reads or has committed for.
struct Row {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    /// `None` when the topic is gone.
    end: Option<i64>,
    /// Index into the members.
    member: Option<usize>,
}

impl Row {
    /// `None` without a commit, where the reader's `auto.offset.reset` decides, and for a partition that is gone.
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

impl View {
    async fn ask(client: &Client, group: &str) -> Result<Self, Error> {
        let group = groups::describe(client, group).await?;
        let mut owners: BTreeMap<(String, i32), usize> = BTreeMap::new();
        for (index, member) in group.members.iter().enumerate() {
            for (topic, partitions) in &member.assignment {
                owners.extend(partitions.iter().map(|partition| ((topic.clone(), *partition), index)));
            }
        }
        let all: BTreeSet<(String, i32)> = owners.keys().chain(group.committed.keys()).cloned().collect();
        let ends = ends(client, &all).await?;
        let row = |key: (String, i32)| Row {
            committed: group.committed.get(&key).copied(),
            end: ends.get(&key).copied(),
            member: owners.get(&key).copied(),
            topic: key.0,
            partition: key.1,
        };
        let rows = all.into_iter().map(row).collect();
        Ok(Self { group, rows })
    }

    /// The group's lag; `None` when that of a partition is not known, since the rest would understate it. Partitions
    /// that are gone have nothing left to read.
    fn lag(&self) -> Option<i64> {
        self.rows.iter().filter(|row| row.end.is_some()).map(Row::lag).sum()
    }

    fn member(&self, row: &Row) -> Option<&Member> {
        self.group.members.get(row.member?)
    }

    fn text(&self, wide: bool) -> String {
        let mut head = Table::new(&["GROUP", "STATE", "ASSIGNOR", "MEMBERS", "LAG", "COORDINATOR"]);
        head.row(vec![
            self.group.group.clone(),
            self.group.state.clone(),
            or_dash(Some(&self.group.assignor).filter(|name| !name.is_empty())),
            self.group.members.len().to_string(),
            or_dash(self.lag()),
            self.group.coordinator.to_string(),
        ]);
        let mut parts = vec![head.text()];
        let mut rows = Table::new(&["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST"]);
        for row in &self.rows {
            let member = self.member(row);
            rows.row(vec![
                row.topic.clone(),
                row.partition.to_string(),
                or_dash(row.committed),
                or_dash(row.end),
                or_dash(row.lag()),
                or_dash(member.map(|member| &member.client_id)),
                or_dash(member.map(|member| &member.host)),
            ]);
        }
        if !rows.is_empty() {
            parts.push(rows.text());
        }
        if wide && !self.group.members.is_empty() {
            parts.push(self.members());
        }
        parts.join("\n")
    }

    fn members(&self) -> String {
        let mut table = Table::new(&["MEMBER ID", "INSTANCE ID", "CLIENT ID", "HOST", "PARTITIONS"]);
        for member in &self.group.members {
            table.row(vec![
                member.id.clone(),
                or_dash(member.instance_id.as_deref()),
                member.client_id.clone(),
                member.host.clone(),
                member.assignment.values().map(Vec::len).sum::<usize>().to_string(),
            ]);
        }
        table.text()
    }

    fn json(&self) -> Value {
        let member = |member: &Member| {
            json!({
                "member_id": member.id,
                "instance_id": member.instance_id,
                "client_id": member.client_id,
                "host": member.host,
                "assignment": member.assignment,
            })
        };
        let row = |row: &Row| {
            json!({
                "topic": row.topic,
                "partition": row.partition,
                "committed": row.committed,
                "end": row.end,
                "lag": row.lag(),
                "member_id": self.member(row).map(|member| &member.id),
            })
        };
        json!({
            "group": self.group.group,
            "state": self.group.state,
            "assignor": self.group.assignor,
            "coordinator": self.group.coordinator,
            "lag": self.lag(),
            "members": self.group.members.iter().map(member).collect::<Vec<_>>(),
            "partitions": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

/// Where these partitions end; those of topics that are gone are left out.
async fn ends(
    client: &Client,
    partitions: &BTreeSet<(String, i32)>,
) -> Result<BTreeMap<(String, i32), i64>, Error> {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        by_topic.entry(topic).or_default().push(*partition);
    }
    let names: Vec<&str> = by_topic.keys().copied().collect();
    let metadata = client.metadata(crate::client::Wanted::Named(&names), false).await?;
    let mut ends = BTreeMap::new();
    for (topic, wanted) in by_topic {
        let Some(known) = metadata.topics.get(topic).filter(|topic| topic.error.is_none()) else { continue };
        let exists = |index: &i32| known.partitions.iter().any(|partition| partition.index == *index);
        let wanted: Vec<i32> = wanted.into_iter().filter(exists).collect();
        let found = offsets::list(client, topic, &wanted, Place::End, Isolation::ReadUncommitted).await?;
        ends.extend(found.into_iter().map(|(index, end)| ((topic.to_owned(), index), end)));
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(rows: &[(Option<i64>, Option<i64>)]) -> Option<i64> {
        let group = Described {
            group: "g".to_owned(),
            state: "Stable".to_owned(),
            assignor: "range".to_owned(),
            coordinator: 1,
            members: Vec::new(),
            committed: BTreeMap::new(),
        };
        let row =
            |&(committed, end)| Row { topic: "t".to_owned(), partition: 0, committed, end, member: None };
        View { group, rows: rows.iter().map(row).collect() }.lag()
    }

    #[test]
    fn a_groups_lag_is_unknown_rather_than_understated() {
        assert_eq!(lag(&[(Some(1), Some(4)), (Some(2), Some(2))]), Some(3));
        assert_eq!(lag(&[(Some(1), Some(4)), (None, Some(100))]), None, "one partition has no commit");
        assert_eq!(lag(&[(Some(1), Some(4)), (Some(7), None)]), Some(3), "one topic is gone");
        assert_eq!(lag(&[]), Some(0));
    }
}
