//! `streamd topic delete`.

use super::super::brokers::BrokerArgs;
use super::super::exit::Ended;
use super::super::failure::ended;
use super::super::output::print;
use super::Names;
use crate::client::topics::delete;
use crate::types::ErrorCode;

/// Delete topics with all their records
#[derive(Debug, clap::Args)]
#[command(visible_alias = "rm")]
pub(super) struct Args {
    #[command(flatten)]
    names: Names,
    /// Succeed also for topics that do not exist
    #[arg(long)]
    if_exists: bool,
}

/// Runs `streamd topic delete …`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs) -> anyhow::Result<()> {
    let names = args.names.all();
    let client = brokers.connect().await?;
    let outcomes = delete(&client, &names).await.map_err(ended)?;
    let mut text = String::new();
    let mut refusals = Vec::new();
    for (name, outcome) in names.iter().zip(outcomes) {
        match outcome {
            Ok(()) => text.push_str(&format!("deleted {name}\n")),
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                if !args.if_exists {
                    refusals.push(format!(
                        "topic {name} does not exist. streamd topic list shows those that do."
                    ));
                }
            }
            Err(error) if error.code() == Some(ErrorCode::TopicDeletionDisabled) => {
                refusals
                    .push(format!("cannot delete topic {name}: the broker has delete.topic.enable=false."));
            }
            Err(error) => refusals.push(ended(error).to_string()),
        }
    }
    if !brokers.quiet {
        print(&text)?;
    }
    if refusals.is_empty() { Ok(()) } else { Err(Ended::Refused(refusals.join("\n")).into()) }
}
