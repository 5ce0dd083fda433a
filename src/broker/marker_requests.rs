//! Markers that an operator asks for: the ends of transactions that nobody else would bring into the partitions.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::markers::End;
use super::{Broker, CONSUMER_OFFSETS};
use crate::catalog::TopicImage;
use crate::partition::{Closed, NotAppended, OpenFault, Partition, TransactionMarker};
use crate::types::ErrorCode;

/// A marker on its way.
enum Written {
    /// It is in the partition's log.
    Appended(End),
    /// The shard that keeps offsets writes it, and what goes with it.
    Posted(Posted),
}

type Posted = JoinHandle<Result<End, ErrorCode>>;

impl Broker {
    /// Ends a producer's transaction in these partitions, and answers per partition, in their order, when the markers
    /// are visible: in `fsync = "batch"` and `"always"` that is when they are durable, with one sync for all. Where
    /// groups keep their offsets, those that were pending are committed or dropped with it.
    ///
    /// Refusals: 3 for a partition that is not there, 47 and 52 as S57 has them, 56 if it could not be written, 6 while
    /// the broker stops or the offsets are still being loaded.
    pub async fn write_markers(
        self: &Arc<Self>,
        marker: TransactionMarker,
        places: &[(Arc<str>, i32)],
    ) -> Vec<Result<(), ErrorCode>> {
        let mut written = Vec::with_capacity(places.len());
        for (topic, index) in places {
            written.push(self.write_marker(marker, topic, *index).await);
        }
        let mut appended = Vec::with_capacity(places.len());
        for written in written {
            appended.push(match written {
                Ok(Written::Appended(end)) => Ok(end),
                Ok(Written::Posted(answer)) => answer.await.unwrap_or(Err(ErrorCode::NotLeaderOrFollower)),
                Err(error) => Err(error),
            });
        }
        let mut outcomes = Vec::with_capacity(places.len());
        for appended in appended {
            outcomes.push(match appended {
                Ok((partition, end)) => visible(&partition, end).await,
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    async fn write_marker(
        self: &Arc<Self>,
        marker: TransactionMarker,
        topic: &str,
        index: i32,
    ) -> Result<Written, ErrorCode> {
        let image = self.image();
        let topic = image.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if &*topic.name == CONSUMER_OFFSETS {
            return self.post_marker(marker, topic, index).map(Written::Posted);
        }
        let partition = self.partition(topic, index).await.map_err(|fault| match fault {
            OpenFault::Unknown => ErrorCode::UnknownTopicOrPartition,
            OpenFault::Stopping => ErrorCode::NotLeaderOrFollower,
            OpenFault::Storage(_) => ErrorCode::KafkaStorageError,
        })?;
        let end = partition.append_marker(marker).map_err(|why| match why {
            NotAppended::Refused(code) => code,
            NotAppended::Gone => ErrorCode::UnknownTopicOrPartition,
            NotAppended::Stopping => ErrorCode::NotLeaderOrFollower,
            NotAppended::TooLarge | NotAppended::Storage => ErrorCode::KafkaStorageError,
            NotAppended::Misplaced => ErrorCode::UnknownServerError,
        })?;
        Ok(Written::Appended((partition, end)))
    }

    fn post_marker(
        self: &Arc<Self>,
        marker: TransactionMarker,
        topic: &Arc<TopicImage>,
        index: i32,
    ) -> Result<Posted, ErrorCode> {
        if !(0..topic.partitions).contains(&index) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let (broker, topic) = (Arc::clone(self), Arc::clone(topic));
        Ok(tokio::spawn(async move {
            let (at, verdict) = broker.end_in_groups(marker, &topic, index).await.map_err(not_yet)?;
            if verdict == ErrorCode::None { Ok(at) } else { Err(not_yet(verdict)) }
        }))
    }
}

/// What a shard's answer means to whoever ends transactions: one that cannot serve yet will.
fn not_yet(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotLeaderOrFollower,
        other => other,
    }
}

/// Waits until all below `end` is visible.
async fn visible(partition: &Arc<Partition>, end: i64) -> Result<(), ErrorCode> {
    let woken = Arc::new(Notify::new());
    let wake = Arc::clone(&woken);
    partition.when_visible(end, Arc::new(move || wake.notify_one()));
    woken.notified().await;
    match partition.closed() {
        _ if partition.high_watermark() >= end => Ok(()),
        Some(Closed::Deleted) => Err(ErrorCode::UnknownTopicOrPartition),
        Some(Closed::Stopping) => Err(ErrorCode::NotLeaderOrFollower),
        None => Err(ErrorCode::KafkaStorageError),
    }
}
