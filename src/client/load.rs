//! Single requests of the data path for whoever measures brokers: no queue, no retry, and no batch built here, so that
//! the time of a call is the time of the request. Any number of them may be under way on one [`Client`].

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{FetchRequest, ProduceRequest, ProduceResponse};

use super::batching::Batch;
use super::cluster::{At, Lane};
use super::connection::millis;
use super::offsets::Isolation;
use super::producer::{self, Acks};
use super::{Client, Error, FetchedPartition, Topic, consumer};
use crate::types::ErrorCode;
use crate::types::offset::saturate_i32;

/// What a broker tells of itself in ApiVersions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The address that was connected to.
    pub address: String,
    /// The levels that the cluster has agreed on (KIP-584), by name; none before Kafka 2.7.
    pub features: BTreeMap<String, i16>,
    /// The version of Produce that this client and the broker speak.
    pub produce_version: Option<i16>,
    /// The version of Fetch.
    pub fetch_version: Option<i16>,
}

/// Asks a broker what it is.
///
/// # Errors
/// No answer.
pub async fn facts(client: &Client) -> Result<Facts, Error> {
    let connection = client.connection(At::Any, Lane::Questions).await?;
    Ok(Facts {
        address: connection.address().to_owned(),
        features: connection.features().clone(),
        produce_version: connection.spoken::<ProduceRequest>(),
        fetch_version: connection.spoken::<FetchRequest>(),
    })
}

/// The broker that leads a partition.
pub(super) fn leader(topic: &Topic, partition: i32) -> Result<i32, Error> {
    let row = topic.partitions.iter().find(|row| row.index == partition);
    row.and_then(|row| row.leader).ok_or_else(|| {
        let doing = format!("use {}-{partition}", topic.name);
        Error::refused(doing, ErrorCode::LeaderNotAvailable.code(), None)
    })
}

/// Sends one batch to one partition and waits until it is acknowledged; with [`Acks::None`], until the system has taken
/// it.
///
/// # Errors
/// A refusal, or no answer: tried once.
pub async fn write(
    client: &Client,
    topic: &Topic,
    partition: i32,
    batch: Bytes,
    acks: Acks,
) -> Result<(), Error> {
    let leader = leader(topic, partition)?;
    let batches = [Batch { partition, bytes: batch, records: 0 }];
    let timeout = millis(client.options().timeout);
    let make = |version| producer::request(version, (&topic.name, topic.id), &batches, acks, timeout);
    let connection = client.connection(At::Broker(leader), Lane::Produces).await?;
    if acks == Acks::None {
        return connection.post(make).await;
    }
    let answer = connection.call(client.options().timeout, make).await?;
    written(topic, partition, &answer)
}

/// What a Produce of one batch was answered.
pub(super) fn written(topic: &Topic, partition: i32, answer: &ProduceResponse) -> Result<(), Error> {
    let doing = || format!("produce to {}-{partition}", topic.name);
    let mut rows = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    match rows.find(|row| row.index == partition) {
        Some(row) => Error::check(doing(), row.error_code, row.error_message.as_deref()),
        None => {
            let code = ErrorCode::UnknownServerError.code();
            Err(Error::refused(doing(), code, Some("the answer lacks it")))
        }
    }
}

/// Partitions and the offsets to read them from, under the brokers that lead them.
///
/// # Errors
/// A partition has no leader.
pub fn by_leader(topic: &Topic, partitions: &[i32]) -> Result<Vec<(i32, Vec<i32>)>, Error> {
    let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for &partition in partitions {
        leaders.entry(leader(topic, partition)?).or_default().push(partition);
    }
    Ok(leaders.into_iter().collect())
}

/// Fetches once from a leader: partitions with the offsets to read from, and how many bytes the answer may have, one
/// large batch apart. Waits half a second where there is nothing.
///
/// # Errors
/// A refusal, no answer, or bytes that are no batches: tried once.
pub async fn read(
    client: &Client,
    leader: i32,
    topic: &Topic,
    positions: &[(i32, i64)],
    bytes_max: usize,
) -> Result<Vec<FetchedPartition>, Error> {
    let name: Arc<str> = topic.name.as_str().into();
    let isolation = Isolation::ReadUncommitted;
    let wanted: Vec<_> =
        positions.iter().map(|(partition, from)| (Arc::clone(&name), topic.id, *partition, *from)).collect();
    let make = |version| {
        let mut request = consumer::request(version, &wanted, isolation);
        request.max_bytes = saturate_i32(bytes_max);
        for row in request.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            row.partition_max_bytes = saturate_i32(bytes_max);
        }
        request
    };
    let answer = client.call(At::Broker(leader), Lane::Fetches, make).await?;
    Error::check("fetch", answer.error_code, None)?;
    let mut fetched = Vec::with_capacity(positions.len());
    for row in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
        let partition = row.partition_index;
        Error::check(format!("read {name}-{partition}"), row.error_code, None)?;
        let Some((_, from)) = positions.iter().find(|(asked, _)| *asked == partition) else { continue };
        let bytes = row.records.unwrap_or_default();
        let end = row.high_watermark;
        fetched.push(FetchedPartition::new((Arc::clone(&name), partition), *from, end, bytes, Vec::new())?);
    }
    Ok(fetched)
}
