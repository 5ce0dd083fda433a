//! Answers per topic and partition, in the order that Kafka gives them: topics of which something was refused at the
//! door come first, and what became of their other partitions follows in the same entry.

use std::collections::HashMap;
use std::sync::Arc;

use super::reply::CommittedTopic;
use crate::types::{ErrorCode, TopicId};

/// Refusals gathered so far.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    topics: Vec<CommittedTopic>,
    places: HashMap<(Arc<str>, TopicId), usize>,
}

impl Refusals {
    /// Refuses partitions of a topic.
    pub(super) fn refuse(
        &mut self,
        name: &Arc<str>,
        id: TopicId,
        partitions: impl IntoIterator<Item = i32>,
        error: ErrorCode,
    ) {
        let partitions: Vec<_> = partitions.into_iter().map(|partition| (partition, error)).collect();
        self.add(CommittedTopic { name: Arc::clone(name), id, partitions });
    }

    /// The refusals, followed by these answers.
    pub(super) fn and(mut self, answers: Vec<CommittedTopic>) -> Vec<CommittedTopic> {
        if self.topics.is_empty() {
            return answers;
        }
        for topic in answers {
            self.add(topic);
        }
        self.topics
    }

    fn add(&mut self, topic: CommittedTopic) {
        let key = (Arc::clone(&topic.name), topic.id);
        match self.places.get(&key).and_then(|place| self.topics.get_mut(*place)) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => {
                self.places.insert(key, self.topics.len());
                self.topics.push(topic);
            }
        }
    }
}
