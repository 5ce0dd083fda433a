//! `streamd txn abort`: ends a transaction that nobody ends.

use super::super::brokers::BrokerArgs;
use super::super::exit::Ended;
use super::super::failure::{ended, ended_on_topic};
use super::super::output::print;
use super::describe::told;
use super::partitions::Holding;
use crate::client::{Client, transactions};
use crate::types::Timestamp;

/// Abort a transaction that hangs
///
/// By transactional id: the coordinator aborts what is open, and the producer is fenced: it cannot write before it begins
/// anew. By partition, for what no coordinator knows any more: the transaction is ended in this partition alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The transactional ids
    #[arg(value_name = "TRANSACTIONAL_ID", required_unless_present = "topic", conflicts_with = "topic")]
    ids: Vec<String>,
    /// The topic of a partition in which a transaction hangs
    #[arg(short, long, requires = "partition")]
    topic: Option<String>,
    /// The partition
    #[arg(short, long, value_name = "N", requires = "topic")]
    partition: Option<i32>,
    /// Which one, when several are open there; streamd txn list --topic shows them
    #[arg(long, value_name = "ID", requires = "topic")]
    producer: Option<i64>,
}

/// Runs `streamd txn abort …`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs, now: Timestamp) -> anyhow::Result<()> {
    let client = brokers.connect().await?;
    if let (Some(topic), Some(partition)) = (&args.topic, args.partition) {
        let done = Box::pin(abort_in(&client, topic, partition, args.producer, now)).await?;
        return if brokers.quiet { Ok(()) } else { print(&done) };
    }
    for id in &args.ids {
        let done = abort(&client, id).await?;
        if !brokers.quiet {
            print(&done)?;
        }
    }
    Ok(())
}

async fn abort(client: &Client, id: &str) -> Result<String, Ended> {
    // An id that does not exist must not come into being by this.
    let before = transactions::describe(client, id).await.map_err(|error| told(id, error))?;
    if !before.is_under_way() {
        return Err(Ended::Refused(format!(
            "transactional id {id} has no transaction under way ({}): there is nothing to abort.",
            before.state
        )));
    }
    transactions::fence(client, id).await.map_err(ended)?;
    let outcome = if before.state == "PrepareCommit" { "committed, as it was decided," } else { "aborted" };
    Ok(format!("{outcome} the transaction of {id}; its producer is fenced\n"))
}

async fn abort_in(
    client: &Client,
    topic: &str,
    partition: i32,
    producer: Option<i64>,
    now: Timestamp,
) -> Result<String, Ended> {
    let open =
        Holding::of(client, topic, &[partition]).await.map_err(|error| ended_on_topic(topic, error))?;
    let mut meant = open.iter().filter(|one| producer.is_none_or(|id| one.open.producer_id == id));
    let (Some(one), None) = (meant.next(), meant.next()) else {
        return Err(not_one(&open, topic, partition, now));
    };
    if let Some(id) = &one.id {
        let known = transactions::describe(client, id).await.map_err(ended)?;
        let covers = known.partitions.iter().any(|(name, index)| name == topic && *index == partition);
        if known.is_under_way() && covers && known.producer_id == one.open.producer_id {
            return Err(Ended::Refused(format!(
                "this is the transaction of {id}, which is under way: to end it in one partition alone would tear it. \
                 End it as a whole: streamd txn abort {id}"
            )));
        }
    }
    transactions::abort_in(client, &one.open).await.map_err(ended)?;
    let first = one.open.first_offset;
    Ok(format!(
        "aborted the transaction of producer {} in {topic}-{partition}, from {first}\n",
        one.open.producer_id
    ))
}

fn not_one(open: &[Holding], topic: &str, partition: i32, now: Timestamp) -> Ended {
    if open.is_empty() {
        return Ended::Refused(format!("no transaction is open in {topic}-{partition}."));
    }
    Ended::Refused(format!(
        "say which one with --producer; these are open in {topic}-{partition}:\n{}",
        Holding::table(open, now, false).trim_end()
    ))
}
