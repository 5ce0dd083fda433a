//! `streamd txn abort`: ends a transaction that nobody ends.

use serde_json::{Value, json};

use super::super::brokers::BrokerArgs;
use super::super::exit::Ended;
use super::super::failure::{ended, ended_on_topic};
use super::super::output::print;
use super::super::table::{self, Shape};
use super::describe::told;
use super::partitions::{Columns, Holding};
use super::{Failures, in_shell, transactional_id};
use crate::client::{Client, open_transactions, topics, transactions};
use crate::types::Timestamp;

/// Abort a transaction that hangs
///
/// By transactional id: the coordinator aborts what is open, and the producer is fenced: it cannot write before it begins
/// anew. Of several ids, one that cannot be aborted is told of and the others are aborted all the same. By partition, for
/// what no coordinator knows any more: the transaction is ended in this partition alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The transactional ids
    #[arg(
        value_name = "TRANSACTIONAL_ID",
        value_parser = transactional_id,
        required_unless_present = "topic",
        conflicts_with = "topic"
    )]
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
    /// How to show what was ended
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

/// Runs `streamd txn abort …`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs, now: Timestamp) -> anyhow::Result<()> {
    let client = brokers.connect_as(CLIENT_ID).await?;
    let show = |done: &Done| match args.output {
        Shape::Table | Shape::Wide if !brokers.quiet => print(&done.text()),
        _ => Ok(()),
    };
    let (mut all, mut failures) = (Vec::new(), Failures::default());
    if let (Some(topic), Some(partition)) = (&args.topic, args.partition) {
        match Box::pin(abort_in(&client, topic, partition, args.producer, now)).await {
            Ok(done) => {
                show(&done)?;
                all.push(done);
            }
            Err(failure) => drop(failures.note(failure)),
        }
    }
    for id in &args.ids {
        match Box::pin(abort(&client, id)).await {
            Ok(done) => {
                show(&done)?;
                all.push(done);
            }
            Err(failure) => {
                if !failures.note(failure) {
                    break;
                }
            }
        }
    }
    if args.output == Shape::Json {
        print(&table::json(&all.iter().map(Done::json).collect())?)?;
    }
    Ok(failures.ended()?)
}

/// A transaction that was ended.
#[derive(Debug)]
enum Done {
    Whole { id: String, producer_id: i64, outcome: &'static str },
    InPartition { topic: String, partition: i32, producer_id: i64, first_offset: i64 },
}

impl Done {
    fn text(&self) -> String {
        match self {
            Self::Whole { id, outcome, .. } => {
                let outcome = if *outcome == COMMITTED { "committed, as it was decided," } else { "aborted" };
                format!("{outcome} the transaction of {id}; its producer is fenced\n")
            }
            Self::InPartition { topic, partition, producer_id, first_offset } => format!(
                "aborted the transaction of producer {producer_id} in {topic}-{partition}, from {first_offset}\n"
            ),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Whole { id, producer_id, outcome } => {
                json!({ "transactional_id": id, "producer_id": producer_id, "outcome": outcome })
            }
            Self::InPartition { topic, partition, producer_id, first_offset } => json!({
                "topic": topic,
                "partition": partition,
                "producer_id": producer_id,
                "first_offset": first_offset,
                "outcome": ABORTED,
            }),
        }
    }
}

/// What brokers' logs call who ends a transaction from outside.
const CLIENT_ID: &str = "streamd txn abort";
const ABORTED: &str = "aborted";
const COMMITTED: &str = "committed";

async fn abort(client: &Client, id: &str) -> Result<Done, Ended> {
    // An id that does not exist must not come into being by this.
    let before = transactions::describe(client, id).await.map_err(|error| told(id, error))?;
    if !before.is_under_way() {
        return Err(Ended::Refused(format!(
            "transactional id {id} has no transaction under way ({}): there is nothing to abort.",
            before.state
        )));
    }
    transactions::fence(client, &before).await.map_err(ended)?;
    let outcome = if before.state == "PrepareCommit" { COMMITTED } else { ABORTED };
    Ok(Done::Whole { id: id.to_owned(), producer_id: before.producer_id, outcome })
}

async fn abort_in(
    client: &Client,
    topic: &str,
    partition: i32,
    producer: Option<i64>,
    now: Timestamp,
) -> Result<Done, Ended> {
    let on_topic = |error| ended_on_topic(topic, error);
    let found = topics::find(client, topic, false).await.map_err(on_topic)?;
    if !found.partitions.iter().any(|known| known.index == partition) {
        return Err(Ended::Refused(format!(
            "topic {topic} has {} partition{}, and none with the number {partition}. streamd txn list --topic {topic} \
             shows where transactions are open.",
            found.partitions.len(),
            if found.partitions.len() == 1 { "" } else { "s" }
        )));
    }
    let open = Holding::of(client, topic, &[partition]).await.map_err(on_topic)?;
    let mut meant = open.iter().filter(|one| producer.is_none_or(|id| one.open.producer_id == id));
    let (Some(one), None) = (meant.next(), meant.next()) else {
        return Err(not_one(&open, topic, partition, producer, now));
    };
    if let (Some(id), false) = (&one.id, one.hangs) {
        return Err(Ended::Refused(format!(
            "this is the transaction of {id}, which is under way: to end it in one partition alone would tear it. \
             End it as a whole: streamd txn abort {}",
            in_shell(id)
        )));
    }
    // One that has ended before its coordinator was asked does not hang, and the producer's next must not be torn.
    if Holding::still_open(client, vec![one.clone()]).await.map_err(ended)?.is_empty() {
        let producer = one.open.producer_id;
        return Err(Ended::Refused(format!(
            "the transaction of producer {producer} in {topic}-{partition} has ended meanwhile: there is nothing to abort."
        )));
    }
    open_transactions::abort_in(client, &one.open).await.map_err(ended)?;
    Ok(Done::InPartition {
        topic: topic.to_owned(),
        partition,
        producer_id: one.open.producer_id,
        first_offset: one.open.first_offset,
    })
}

fn not_one(open: &[Holding], topic: &str, partition: i32, producer: Option<i64>, now: Timestamp) -> Ended {
    let of_it = producer.map_or_else(String::new, |id| format!(" of producer {id}"));
    if open.is_empty() {
        return Ended::Refused(format!(
            "no transaction{of_it} is open in {topic}-{partition}: there is nothing to abort. streamd txn list --open \
             shows those that are open elsewhere."
        ));
    }
    let table = Holding::table(open, now, Columns::Ends);
    let first = match producer {
        Some(_) => {
            format!(
                "no transaction{of_it} is open in {topic}-{partition}. Take the producer of one of these:"
            )
        }
        None => format!("say which one with --producer; these are open in {topic}-{partition}:"),
    };
    Ended::Refused(format!("{first}\n{}", table.trim_end()))
}
