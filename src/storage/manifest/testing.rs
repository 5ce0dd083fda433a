//! Random rows for the manifest's tests.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Checkpoint, PartitionRow, SegmentRow};
use crate::storage::txn_index::AbortedSum;
use crate::types::{TopicId, TopicPartition};

pub(super) fn id(topic: u8, partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicId::from_bytes([topic; 16]), partition }
}

/// A row of topic number `topic` with nothing remarkable in it.
pub(super) fn plain_row(topic: u8, partition: i32, offset: i64) -> Arc<PartitionRow> {
    let segment = SegmentRow { base: 0, bytes: 77, max_timestamp: 1_000, appended_at: 1_001, aborted: None };
    Arc::new(PartitionRow {
        id: id(topic, partition),
        topic: format!("topic-{topic}").into(),
        log_start: 0,
        checkpoint: Checkpoint { offset, segment: 0, position: 77, max_timestamp: 1_000 },
        segments: vec![segment],
        producers: false,
    })
}

prop_compose! {
    /// Any sound row of a few topics and partitions, numbers at their extremes included.
    pub(super) fn any_row()(
        topic in 0..4_u8, partition in prop_oneof![0..6_i32, Just(i32::MAX)],
        log_start in offset(), segment in offset(), above in offset(), position: u64, times: [i64; 3],
        bases in prop::collection::btree_map(offset(), prop::option::of((1..=u64::MAX, any::<u32>())), 0..5), bytes: u64, producers: bool,
    ) -> Arc<PartitionRow> {
        let checkpoint = Checkpoint { offset: segment.saturating_add(above), segment, position, max_timestamp: times[0] };
        let segments = bases.into_iter().map(|(base, aborted)| SegmentRow {
            base, bytes, max_timestamp: times[1], appended_at: times[2],
            aborted: aborted.map(|(entries, crc)| AbortedSum { entries, crc }),
        });
        let topic_name = format!("topic-{topic}").into();
        Arc::new(PartitionRow {
            id: id(topic, partition), topic: topic_name, log_start, checkpoint, segments: segments.collect(), producers,
        })
    }
}

fn offset() -> impl Strategy<Value = i64> {
    prop_oneof![0..100_i64, 0..i64::MAX, Just(i64::MAX)]
}
