//! `streamd topic list`.

use serde_json::json;

use super::super::brokers::BrokerArgs;
use super::super::failure::ended;
use super::super::output::print;
use super::super::table::{self, Shape, Table};
use crate::client::{Topic, Wanted};

/// List topics
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls")]
pub(super) struct Args {
    /// Also the broker's own topics
    #[arg(short, long)]
    internal: bool,
    /// How to show them
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

/// Runs `streamd topic list`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs) -> anyhow::Result<()> {
    let client = brokers.connect().await?;
    let metadata = client.metadata(Wanted::All, false).await.map_err(ended)?;
    let topics: Vec<&Topic> =
        metadata.topics.values().filter(|topic| args.internal || !topic.internal).collect();
    print(&match args.output {
        Shape::Json => table::json(&topics.iter().map(|topic| row_json(topic)).collect())?,
        Shape::Table | Shape::Wide if brokers.quiet => {
            topics.iter().map(|topic| format!("{}\n", topic.name)).collect()
        }
        Shape::Table => narrow(&topics),
        Shape::Wide => wide(&topics),
    })
}

fn narrow(topics: &[&Topic]) -> String {
    let mut table = Table::new(&["NAME", "PARTITIONS", "REPLICAS"]);
    for topic in topics {
        table.row(vec![topic.name.clone(), topic.partitions.len().to_string(), replicas(topic).to_string()]);
    }
    table.text()
}

fn wide(topics: &[&Topic]) -> String {
    let mut table = Table::new(&["NAME", "PARTITIONS", "REPLICAS", "OFFLINE", "ID", "INTERNAL"]);
    for topic in topics {
        let offline = topic.partitions.iter().filter(|partition| partition.leader.is_none()).count();
        table.row(vec![
            topic.name.clone(),
            topic.partitions.len().to_string(),
            replicas(topic).to_string(),
            offline.to_string(),
            table::or_dash(Some(topic.id).filter(|id| !id.is_zero())),
            if topic.internal { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.text()
}

/// How many replicas each partition has.
pub(super) fn replicas(topic: &Topic) -> usize {
    topic.partitions.first().map_or(0, |partition| partition.replicas.len())
}

fn row_json(topic: &Topic) -> serde_json::Value {
    json!({
        "name": topic.name,
        "id": Some(topic.id).filter(|id| !id.is_zero()).map(|id| id.to_string()),
        "partitions": topic.partitions.len(),
        "replication_factor": replicas(topic),
        "internal": topic.internal,
    })
}
