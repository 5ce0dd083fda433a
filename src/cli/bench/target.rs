//! The topic that is measured on: one of its own that goes when the run is over, or one that the user names.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::super::exit::Ended;
use super::super::failure::{ended, ended_on_topic};
use super::flags::Common;
use crate::client::offsets::{self, Isolation, Place};
use crate::client::topics::{self, NewTopic};
use crate::client::{Client, Error, Topic};
use crate::types::ErrorCode;

/// How long to wait before the log is looked at again.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is looked at until what is expected is there: for ten seconds.
const LOOKS_MAX: u32 = 200;

/// Offsets by partition.
pub(super) type Offsets = BTreeMap<i32, i64>;

/// A topic.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) topic: Topic,
    /// Whether it was made for this run: then nobody else writes to it.
    pub(super) own: bool,
}

impl Target {
    /// Finds the topic, or makes one.
    pub(super) async fn open(client: Client, args: &Common) -> Result<Self, Ended> {
        let name = match &args.topic {
            Some(name) => name.clone(),
            None => make(&client, args).await?,
        };
        let own = args.topic.is_none();
        match ready(&client, &name, own).await {
            Ok(topic) => Ok(Self { client, topic, own }),
            Err(error) => {
                if own {
                    let _the_first_error_counts = topics::delete(&client, std::slice::from_ref(&name)).await;
                }
                Err(ended_on_topic(&name, error))
            }
        }
    }

    /// Its partitions.
    pub(super) fn partitions(&self) -> Vec<i32> {
        self.topic.partitions.iter().map(|row| row.index).collect()
    }

    /// How many of so many connections have a partition to read.
    pub(super) fn readers(&self, connections: u16) -> u16 {
        connections.min(u16::try_from(self.topic.partitions.len()).unwrap_or(u16::MAX))
    }

    /// Where its partitions begin.
    pub(super) async fn starts(&self) -> Result<Offsets, Error> {
        self.offsets(Place::Start, Isolation::ReadUncommitted).await
    }

    /// Where its partitions end.
    pub(super) async fn ends(&self, isolation: Isolation) -> Result<Offsets, Error> {
        self.offsets(Place::End, isolation).await
    }

    /// By how many offsets it has grown. Waits a while for as many as are expected: what only the leader has
    /// acknowledged, or nobody, readers may see a little later, and its end is what readers see.
    pub(super) async fn grown(&self, before: &Offsets, expected: u64) -> Result<u64, Error> {
        for _ in 1..LOOKS_MAX {
            let grown = grown(before, &self.ends(Isolation::ReadUncommitted).await?);
            if grown >= expected {
                return Ok(grown);
            }
            sleep(LOOK).await;
        }
        Ok(grown(before, &self.ends(Isolation::ReadUncommitted).await?))
    }

    /// Waits a while until no transaction is open in it: brokers may answer a commit before its markers are written.
    pub(super) async fn settled(&self) -> Result<bool, Error> {
        for _ in 0..LOOKS_MAX {
            let stable = self.ends(Isolation::ReadCommitted).await?;
            if stable == self.ends(Isolation::ReadUncommitted).await? {
                return Ok(true);
            }
            sleep(LOOK).await;
        }
        Ok(false)
    }

    async fn offsets(&self, place: Place, isolation: Isolation) -> Result<Offsets, Error> {
        offsets::list(&self.client, &self.topic.name, &self.partitions(), place, isolation).await
    }

    /// What an error on it means.
    pub(super) fn ended(&self, error: Error) -> Ended {
        let name = &self.topic.name;
        let set_by = if self.own {
            "a new topic has the broker's message.max.bytes, --topic takes another".to_owned()
        } else {
            format!("streamd topic describe {name} -o wide")
        };
        let is_large = error.code() == Some(ErrorCode::MessageTooLarge);
        match ended_on_topic(name, error) {
            Ended::Refused(text) if is_large => Ended::Refused(format!(
                "{text} The topic takes batches of at most max.message.bytes ({set_by}): take smaller ones with \
                 --batch-bytes."
            )),
            other => other,
        }
    }

    /// Deletes it, if it was made for this run.
    pub(super) async fn close(self) -> Result<(), Ended> {
        if !self.own {
            return Ok(());
        }
        let outcome = topics::delete(&self.client, std::slice::from_ref(&self.topic.name)).await;
        let outcome = outcome.and_then(|outcomes| outcomes.into_iter().collect::<Result<Vec<()>, _>>());
        match outcome {
            Err(error) if error.code() != Some(ErrorCode::UnknownTopicOrPartition) => {
                let name = &self.topic.name;
                Err(Ended::Refused(format!(
                    "{} Topic {name} is left over: streamd topic delete {name}",
                    ended(error)
                )))
            }
            _ => Ok(()),
        }
    }
}

async fn make(client: &Client, args: &Common) -> Result<String, Ended> {
    let random = getrandom::u32().map_err(|error| Ended::Refused(format!("no random name: {error}.")))?;
    let name = format!("streamd-bench-{random:08x}");
    let wanted = NewTopic {
        name: name.clone(),
        partitions: Some(args.partitions),
        replication_factor: args.replication_factor,
        config: BTreeMap::new(),
    };
    let made = topics::create(client, &[wanted]).await.map_err(ended)?;
    for outcome in made {
        outcome.map_err(|error| ended_on_topic(&name, error))?;
    }
    Ok(name)
}

/// The topic when each of its partitions has a leader that answers for it.
async fn ready(client: &Client, name: &str, own: bool) -> Result<Topic, Error> {
    // Brokers may not know at once what the controller has made: then it is looked for again.
    let topic = topics::find(client, name, own).await?;
    let partitions: Vec<i32> = topic.partitions.iter().map(|row| row.index).collect();
    offsets::list(client, name, &partitions, Place::End, Isolation::ReadUncommitted).await?;
    Ok(topic)
}

/// The partitions that a connection reads: its share of them, or one of them where there are more connections.
pub(super) fn share(partitions: &[i32], number: usize, connections: usize) -> Vec<i32> {
    if partitions.len() < connections {
        return partitions.iter().cycle().skip(number).take(1).copied().collect();
    }
    partitions.iter().skip(number).step_by(connections).copied().collect()
}

/// By how many offsets partitions have grown.
pub(super) fn grown(before: &Offsets, after: &Offsets) -> u64 {
    let of = |(partition, end): (&i32, &i64)| end - before.get(partition).copied().unwrap_or(0);
    u64::try_from(after.iter().map(of).sum::<i64>()).unwrap_or(0)
}

/// What is wrong, in words, if a log has not grown by what it should have: records, or whatever takes an offset. Others
/// may write to a topic that is not our own.
pub(super) fn compare(what: &str, expected: u64, grown: u64, own: bool) -> Option<String> {
    match grown {
        _ if grown < expected => Some(format!(
            "{} of {expected} {what} that the broker has acknowledged are not in the log.",
            expected - grown
        )),
        _ if grown > expected && own => Some(format!(
            "the log has grown by {grown} {what}, {} more than the broker has acknowledged.",
            grown - expected
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_reader_and_every_connection_a_partition() {
        assert_eq!(share(&[0, 1, 2, 3, 4], 1, 2), [1, 3]);
        assert_eq!(share(&[0, 1, 2, 3, 4], 0, 2), [0, 2, 4]);
        assert_eq!(share(&[0, 1], 3, 4), [1]);
        assert_eq!(share(&[0, 1, 2], 2, 3), [2]);
    }

    #[test]
    fn lost_records_are_told_and_extra_ones_only_on_a_topic_of_its_own() {
        let (before, after) = (Offsets::from([(0, 10), (1, 0)]), Offsets::from([(0, 15), (1, 7)]));
        assert_eq!(grown(&before, &after), 12);
        assert_eq!(compare("records", 12, 12, true), None);
        assert!(compare("records", 13, 12, false).unwrap().starts_with("1 of 13 records"));
        assert!(compare("records", 11, 12, true).unwrap().contains("12 records, 1 more"));
        assert_eq!(compare("records", 11, 12, false), None);
    }
}
