//! OffsetFetch: what a group has committed (S74). Reads the hard state and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{FetchOffsets, FetchTopic, TopicKey};
use super::commit::{find, identity};
use super::hard::{CommittedOffset, Hard, StoredGroup};
use super::reply::{FetchReply, FetchedOffset, FetchedTopic};
use super::world::World;
use crate::catalog::CatalogImage;
use crate::types::{ErrorCode, TopicId};

/// Answers an OffsetFetch request for one group. An unknown group has no offsets, which is not an error.
///
/// `require_stable` asks for nothing yet: without transactions no offset is pending.
pub(super) fn fetch(hard: &Hard, world: &World, request: &FetchOffsets) -> FetchReply {
    let group = hard.group(&request.group);
    let topics = match &request.topics {
        Some(topics) => fetch_some(group, &world.image, topics),
        None => group.map(|group| fetch_all(group, &world.image)).unwrap_or_default(),
    };
    FetchReply { topics }
}

/// Topics of unknown id come last, as in Kafka.
fn fetch_some(group: Option<&StoredGroup>, image: &CatalogImage, asked: &[FetchTopic]) -> Vec<FetchedTopic> {
    let mut unknown = Vec::new();
    let mut fetched = Vec::with_capacity(asked.len());
    for FetchTopic { topic, partitions } in asked {
        let found = find(image, topic).ok();
        if let (None, TopicKey::Id(id)) = (&found, topic) {
            let absent = |partition: &i32| FetchedOffset::absent(*partition, ErrorCode::UnknownTopicId);
            let partitions = partitions.iter().map(absent).collect();
            unknown.push(FetchedTopic { name: Arc::default(), id: *id, partitions });
            continue;
        }
        let (name, id) = found.map_or_else(|| identity(topic), |found| (Arc::clone(&found.name), found.id));
        let stored = group.and_then(|group| group.offsets.get(&name));
        let look_up = |partition: &i32| {
            let offset = stored.and_then(|stored| stored.get(partition));
            match offset.filter(|offset| is_of(offset, id)) {
                Some(offset) => present(*partition, offset),
                None => FetchedOffset::absent(*partition, ErrorCode::None),
            }
        };
        let partitions = partitions.iter().map(look_up).collect();
        fetched.push(FetchedTopic { name, id, partitions });
    }
    fetched.append(&mut unknown);
    fetched
}

fn fetch_all(group: &StoredGroup, image: &CatalogImage) -> Vec<FetchedTopic> {
    let topic = |(name, stored): (&Arc<str>, &BTreeMap<i32, CommittedOffset>)| {
        let id = id_of(image, name);
        let live = stored.iter().filter(|(_, offset)| is_of(offset, id));
        let partitions: Vec<_> = live.map(|(partition, offset)| present(*partition, offset)).collect();
        (!partitions.is_empty()).then(|| FetchedTopic { name: Arc::clone(name), id, partitions })
    };
    group.offsets.iter().filter_map(topic).collect()
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
