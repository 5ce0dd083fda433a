//! OffsetFetch: what a group has committed (S74). Reads the hard state and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{FetchOffsets, FetchTopic, TopicKey};
use super::commit::{find, identity};
use super::hard::{CommittedOffset, Hard, StoredGroup};
use super::pending::PendingOffsets;
use super::reply::{FetchReply, FetchedOffset, FetchedTopic};
use super::world::World;
use crate::catalog::CatalogImage;
use crate::types::{ErrorCode, TopicId};

/// Answers an OffsetFetch request for one group. An unknown group has no offsets, which is not an error. With
/// `require_stable` an offset that an open transaction may change is not told (S60); without, the last committed one is.
pub(super) fn fetch(hard: &Hard, world: &World, request: &FetchOffsets) -> FetchReply {
    let group = hard.group(&request.group);
    let look = Look { group, image: &world.image, require_stable: request.require_stable };
    let topics = match &request.topics {
        Some(topics) => look.at_some(topics),
        None => look.at_all(),
    };
    let barred_by = if request.require_stable { look.who_bars(&topics) } else { None };
    FetchReply { topics, barred_by }
}

/// One look at a group's offsets.
struct Look<'a> {
    group: Option<&'a StoredGroup>,
    image: &'a CatalogImage,
    require_stable: bool,
}

impl Look<'_> {
    /// Topics of unknown id come last, as in Kafka.
    fn at_some(&self, asked: &[FetchTopic]) -> Vec<FetchedTopic> {
        let mut unknown = Vec::new();
        let mut fetched = Vec::with_capacity(asked.len());
        for FetchTopic { topic, partitions } in asked {
            let found = find(self.image, topic).ok();
            if let (None, TopicKey::Id(id)) = (&found, topic) {
                let absent = |partition: &i32| FetchedOffset::absent(*partition, ErrorCode::UnknownTopicId);
                let partitions = partitions.iter().map(absent).collect();
                unknown.push(FetchedTopic { name: Arc::default(), id: *id, partitions });
                continue;
            }
            let (name, id) =
                found.map_or_else(|| identity(topic), |found| (Arc::clone(&found.name), found.id));
            let offsets = self.of(&name, id);
            let partitions = partitions.iter().map(|partition| offsets.at(*partition)).collect();
            fetched.push(FetchedTopic { name, id, partitions });
        }
        fetched.append(&mut unknown);
        fetched
    }

    /// Every committed offset. What is only pending is not among them, whoever asks: nothing is committed.
    fn at_all(&self) -> Vec<FetchedTopic> {
        let topic = |(name, stored): (&Arc<str>, &BTreeMap<i32, CommittedOffset>)| {
            let id = id_of(self.image, name);
            let (live, offsets) = (stored.iter().filter(|(_, offset)| is_of(offset, id)), self.of(name, id));
            let partitions: Vec<_> = live.map(|(partition, _)| offsets.at(*partition)).collect();
            (!partitions.is_empty()).then(|| FetchedTopic { name: Arc::clone(name), id, partitions })
        };
        self.group.into_iter().flat_map(|group| &group.offsets).filter_map(topic).collect()
    }

    /// Whose open transaction bars the first that is barred.
    fn who_bars(&self, fetched: &[FetchedTopic]) -> Option<i64> {
        let all = fetched.iter().flat_map(|topic| topic.partitions.iter().map(move |offset| (topic, offset)));
        let mut barred = all.filter(|(_, offset)| offset.error == ErrorCode::UnstableOffsetCommit);
        let (topic, offset) = barred.next()?;
        let pending = self.group?.pending.get(&topic.name)?.get(&offset.partition)?;
        pending.iter().find(|pending| is_of(&pending.value, topic.id)).map(|pending| pending.producer_id)
    }

    fn of(&self, topic: &str, id: TopicId) -> TopicOffsets<'_> {
        TopicOffsets {
            id,
            committed: self.group.and_then(|group| group.offsets.get(topic)),
            pending: self.group.filter(|_| self.require_stable).and_then(|group| group.pending.get(topic)),
        }
    }
}

/// The group's offsets of one topic.
struct TopicOffsets<'a> {
    id: TopicId,
    committed: Option<&'a BTreeMap<i32, CommittedOffset>>,
    /// What bars the committed ones; `None` when nobody asked.
    pending: Option<&'a BTreeMap<i32, PendingOffsets>>,
}

impl TopicOffsets<'_> {
    fn at(&self, partition: i32) -> FetchedOffset {
        let pending = self.pending.and_then(|pending| pending.get(&partition));
        if pending.is_some_and(|pending| pending.iter().any(|pending| is_of(&pending.value, self.id))) {
            return FetchedOffset::absent(partition, ErrorCode::UnstableOffsetCommit);
        }
        let committed = self.committed.and_then(|committed| committed.get(&partition));
        match committed.filter(|offset| is_of(offset, self.id)) {
            Some(offset) => present(partition, offset),
            None => FetchedOffset::absent(partition, ErrorCode::None),
        }
    }
}

/// The present id of the topic of this name, zero when there is none.
pub(super) fn id_of(image: &CatalogImage, name: &str) -> TopicId {
    image.topic(name).map_or(TopicId::ZERO, |topic| topic.id)
}

/// Whether an offset is one of the topic with this id, zero being none: a topic made again has another id, and inherits
/// nothing. Offsets without id (written by Kafka below 4.2) belong to whatever has the name.
pub(super) fn is_of(offset: &CommittedOffset, id: TopicId) -> bool {
    offset.topic_id.is_zero() || offset.topic_id == id
}

fn present(partition: i32, offset: &CommittedOffset) -> FetchedOffset {
    FetchedOffset {
        partition,
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.clone(),
        error: ErrorCode::None,
    }
}
