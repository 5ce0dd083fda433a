//! Writing the markers of a transaction that is decided: to its partitions, and to the groups whose offsets it holds.
//! All are appended before any is waited for, so one sync serves them all; what cannot be written now is tried again
//! until it can, for the outcome stands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::at_once::apart;
use super::txn_shards::Coordinator;
use super::{Broker, CONSUMER_OFFSETS, at_once};
use crate::catalog::TopicImage;
use crate::coord::task::LoadWhen;
use crate::groups::{self, EndTransaction};
use crate::partition::{Closed, NotAppended, OpenFault, Partition, TransactionMarker};
use crate::txn::{Command, Markers, Outcome};
use crate::types::ErrorCode;

/// How long to wait before what failed is tried again, doubled with each failure in a row.
const RETRY_MIN: Duration = Duration::from_millis(20);
/// See [`RETRY_MIN`].
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long markers may be kept waiting before a line in the log says so.
const REPORT_AFTER: Duration = Duration::from_secs(5);
/// And how long until the next one.
const REPORT_AGAIN: Duration = Duration::from_secs(60);
/// The longest wait for the disk before a marker is written once more; that does no harm.
const VISIBLE_WAIT_MAX: Duration = Duration::from_secs(10);

/// One partition that a marker is for.
type Place = (Arc<str>, i32);
/// A partition, and the end of its log behind a marker: when all below is visible, nobody can take that back.
pub(super) type End = (Arc<Partition>, i64);
/// A marker that is in the log of its partition.
type Appended = (Place, End);
/// A partition whose marker could not be written, and why.
type Left = (Place, String);

/// Writes all markers and tells the shard when all of them are as durable as the settings ask.
pub(super) async fn write(coordinator: Coordinator, markers: Arc<Markers>) {
    let topics = markers.partitions.iter();
    let mut places: Vec<Place> =
        topics.flat_map(|(topic, all)| all.iter().map(|at| (Arc::clone(topic), *at))).collect();
    let mut retry = RETRY_MIN;
    let mut waited = Duration::ZERO;
    let mut report_at = REPORT_AFTER;
    loop {
        let Some(broker) = coordinator.broker.upgrade() else { return };
        if broker.transactions.is_stopping() {
            return;
        }
        let left = round(&broker, coordinator.epoch, &markers, places).await;
        drop(broker);
        let Some(((topic, partition), why)) = left.first() else { break };
        if waited >= report_at {
            report_at = waited + REPORT_AGAIN;
            tracing::warn!(
                transactional_id = %markers.transactional_id,
                producer_id = markers.producer.id,
                left = left.len(),
                first = %format_args!("{topic}-{partition}"),
                why,
                "the end of a transaction cannot be written to all of its partitions; read_committed consumers wait there. \
                 It is tried again"
            );
        }
        tokio::time::sleep(retry).await;
        waited += retry;
        retry = (retry * 2).min(RETRY_MAX);
        places = left.into_iter().map(|(place, _)| place).collect();
    }
    if report_at > REPORT_AFTER {
        tracing::info!(transactional_id = %markers.transactional_id, "the end of the transaction is written everywhere");
    }
    let transactional_id = Arc::clone(&markers.transactional_id);
    coordinator.tell(Command::MarkersWritten { transactional_id, attempt: markers.attempt }).await;
}

/// One try at all of these partitions; returns those that are to be tried again.
async fn round(
    broker: &Arc<Broker>,
    coordinator_epoch: i32,
    markers: &Markers,
    places: Vec<Place>,
) -> Vec<Left> {
    let marker = TransactionMarker {
        producer_id: markers.producer.id,
        producer_epoch: markers.producer.epoch,
        coordinator_epoch,
        commit: markers.outcome == Outcome::Commit,
        v2: markers.raises_epoch,
        is_own: true,
    };
    let (groups, data): (Vec<Place>, Vec<Place>) =
        places.into_iter().partition(|place| *place.0 == *CONSUMER_OFFSETS);
    let mut left = Vec::new();
    let mut appended = Vec::new();
    for place in data {
        match apart(append(broker, marker, &place)).await.unwrap_or_else(|bug| Err(bug.to_string())) {
            Ok(Some(at)) => appended.push((place, at)),
            Ok(None) => {}
            Err(why) => left.push((place, why)),
        }
    }
    end_groups(broker, marker, groups, (&mut appended, &mut left)).await;
    left.extend(wait_visible(appended).await);
    left
}

/// Ends the transaction in the groups of these partitions of `__consumer_offsets`. Nobody asks for a sync meanwhile, so
/// the one that is asked for afterwards serves all.
async fn end_groups(
    broker: &Arc<Broker>,
    marker: TransactionMarker,
    places: Vec<Place>,
    (appended, left): (&mut Vec<Appended>, &mut Vec<Left>),
) {
    let (mut ends, mut ending) = (JoinSet::new(), HashMap::new());
    let mut note = |place: Place, ended: Result<Option<_>, String>| match ended {
        Ok(at) => appended.extend(at.map(|at| (place, at))),
        Err(why) => left.push((place, why)),
    };
    for place in places {
        let (broker, index) = (Arc::clone(broker), place.1);
        let mut end = Box::pin(async move {
            let ended = apart(end_in_groups(&broker, marker, index)).await;
            ended.unwrap_or_else(|bug| Err(bug.to_string()))
        });
        match at_once(end.as_mut()) {
            Some(ended) => note(place, ended),
            None => drop(ending.insert(ends.spawn(end).id(), place)),
        }
    }
    while let Some(ended) = ends.join_next_with_id().await {
        let (task, ended) = match ended {
            Ok(ended) => ended,
            // The runtime's end. What is not known to have ended has not.
            Err(error) => (error.id(), Err(error.to_string())),
        };
        if let Some(place) = ending.remove(&task) {
            note(place, ended);
        }
    }
}

/// Appends a marker, and says where it must become visible; nowhere, if there is nothing left to end.
async fn append(
    broker: &Arc<Broker>,
    marker: TransactionMarker,
    (topic, index): &Place,
) -> Result<Option<End>, String> {
    let Some(found) = broker.image().topic(topic).cloned() else { return Ok(None) };
    let partition = match broker.partition(&found, *index).await {
        Ok(partition) => partition,
        // Deleted meanwhile: with it went what the transaction wrote.
        Err(OpenFault::Unknown) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if partition.is_written_to() {
        // Nobody steps the coordinator while this waits its turn: from here on it goes in a task of its own.
        tokio::task::yield_now().await;
    }
    match partition.append_marker(marker) {
        Ok(end) => Ok(Some((partition, end))),
        Err(NotAppended::Gone) => Ok(None),
        Err(NotAppended::Refused(ErrorCode::InvalidProducerEpoch)) => {
            // Only the coordinator raises epochs, and it ends one transaction before it begins the next.
            tracing::debug!(%topic, index, producer_id = marker.producer_id, "the transaction was ended there before");
            Ok(None)
        }
        Err(NotAppended::Refused(error)) => Err(error.to_string()),
        Err(why) => Err(format!("{why:?}")),
    }
}

/// Waits until these markers cannot be taken back; returns those that still can.
async fn wait_visible(appended: Vec<Appended>) -> Vec<Left> {
    let visible = Arc::new(Semaphore::new(0));
    for (_, (partition, end)) in &appended {
        let visible = Arc::clone(&visible);
        partition.when_visible(*end, Arc::new(move || visible.add_permits(1)));
    }
    let all = u32::try_from(appended.len()).unwrap_or(u32::MAX);
    // Whichever way this ends, the partitions are asked.
    let _ = tokio::time::timeout(VISIBLE_WAIT_MAX, visible.acquire_many(all)).await;
    let still = appended.into_iter().filter(|(_, (partition, end))| {
        partition.high_watermark() < *end && partition.closed() != Some(Closed::Deleted)
    });
    still.map(|(place, _)| (place, "it is not on disk yet".to_owned())).collect()
}

/// Ends the transaction in the groups of this partition of `__consumer_offsets`, and says where that must become visible.
async fn end_in_groups(
    broker: &Arc<Broker>,
    marker: TransactionMarker,
    index: i32,
) -> Result<Option<End>, String> {
    let Some(topic) = broker.image().topic(CONSUMER_OFFSETS).cloned() else { return Ok(None) };
    if index >= topic.partitions {
        return Ok(None);
    }
    match broker.end_in_groups(marker, &topic, index).await {
        Ok((at, ErrorCode::None | ErrorCode::InvalidProducerEpoch)) => Ok(Some(at)),
        Ok((_, error)) | Err(error) => Err(error.to_string()),
    }
}

impl Broker {
    /// Has the shard of this partition of `__consumer_offsets` end a producer's transaction. Returns its verdict, and
    /// the end of the log with the marker in it: when all below is visible, nobody can take it back.
    ///
    /// # Errors
    /// The shard cannot serve now.
    pub(super) async fn end_in_groups(
        self: &Arc<Self>,
        marker: TransactionMarker,
        topic: &Arc<TopicImage>,
        index: i32,
    ) -> Result<(End, ErrorCode), ErrorCode> {
        let shard = self.shard_over(topic, index, LoadWhen::AtFirstUse).await?;
        let end = EndTransaction {
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
            coordinator_epoch: marker.coordinator_epoch,
            commit: marker.commit,
            v2: marker.v2,
        };
        let verdict = shard.call(groups::Command::EndTransaction(end)).await.end_transaction()?;
        let partition = self.partition(topic, index).await.map_err(|_| ErrorCode::NotCoordinator)?;
        let end = partition.settled_end();
        Ok(((partition, end), verdict))
    }
}

#[cfg(test)]
#[path = "markers_tests.rs"]
mod tests;
