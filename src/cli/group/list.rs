//! `streamd group list`.

use serde_json::json;

use super::super::brokers::BrokerArgs;
use super::super::failure::ended;
use super::super::output::print;
use super::super::table::{self, Shape, Table, or_dash};
use crate::client::groups::{self, Listed};

/// List consumer groups
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls")]
pub(super) struct Args {
    /// How to show them
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

/// Runs `streamd group list`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs) -> anyhow::Result<()> {
    let client = brokers.connect().await?;
    let groups = groups::list(&client).await.map_err(ended)?;
    print(&match args.output {
        Shape::Json => table::json(&groups.iter().map(row_json).collect())?,
        Shape::Table | Shape::Wide if brokers.quiet => {
            groups.iter().map(|group| format!("{}\n", group.group)).collect()
        }
        Shape::Table => {
            let mut table = Table::new(&["GROUP", "STATE"]);
            for group in &groups {
                table.row(vec![group.group.clone(), or_dash(group.state.as_deref())]);
            }
            table.text()
        }
        Shape::Wide => {
            let mut table = Table::new(&["GROUP", "STATE", "TYPE", "PROTOCOL", "COORDINATOR"]);
            for group in &groups {
                table.row(vec![
                    group.group.clone(),
                    or_dash(group.state.as_deref()),
                    or_dash(group.kind.as_deref()),
                    or_dash(Some(&group.protocol_type).filter(|name| !name.is_empty())),
                    group.coordinator.to_string(),
                ]);
            }
            table.text()
        }
    })
}

fn row_json(group: &Listed) -> serde_json::Value {
    json!({
        "group": group.group,
        "state": group.state,
        "type": group.kind,
        "protocol": group.protocol_type,
        "coordinator": group.coordinator,
    })
}
