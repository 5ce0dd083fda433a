//! The catalog as a [`StateMachine`]: which command goes where, and how its decisions become images.
//!
//! Everything here is released when durable, in every fsync mode: a topic that somebody has seen and filled must not
//! vanish in a power cut, nor "it exists already" be said of one that can.

use std::sync::Arc;

use super::command::{Command, InternalTopic, NewTopic, Reply};
use super::image::{CatalogImage, TopicImage};
use super::records::Record;
use super::shared_map::SharedMap;
use super::state::{Catalog, TopicRow};
use super::{CatalogWorld, Effect, configs, names, producer_ids, topics};
use crate::coord::{
    BatchKind, Context, CorruptRecord, Decision, Decoded, LogRecord, Release, StateMachine, Ticket,
};
use crate::types::{ErrorCode, Timestamp, TopicId};

/// KRaft's feature that names the schemas of the log.
const METADATA_VERSION: &str = "metadata.version";
/// Its level in Kafka 4.3 (4.3-IV0).
const METADATA_VERSION_LEVEL: i16 = 30;

/// The catalog's state machine. One shard, over `__cluster_metadata-0`.
#[derive(Debug, Clone, Copy)]
pub struct CatalogMachine;

/// The soft state: the next image in the making.
#[derive(Debug)]
pub struct Soft {
    image: CatalogImage,
    changed: bool,
}

/// What deciding on topics came to: records, and the topics as they will be.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) records: Vec<Record>,
    pub(super) put: Vec<Arc<TopicImage>>,
    /// Those of them whose settings have changed.
    pub(super) configured: Vec<Arc<TopicImage>>,
    pub(super) removed: Vec<TopicId>,
}

impl StateMachine for CatalogMachine {
    type Hard = Catalog;
    type Soft = Soft;
    type Command = Command;
    type Record = Record;
    type Reply = Reply;
    type Effect = Effect;
    type World = CatalogWorld;

    fn decide(
        hard: &Catalog,
        soft: &mut Soft,
        context: &Context<'_, CatalogWorld>,
        ticket: Ticket,
        command: Command,
    ) -> Decision<Self> {
        let world = context.world;
        let (plan, reply) = match command {
            Command::Start => return start(hard, soft, ticket),
            Command::AllocateProducerIds => {
                let (records, reply) = producer_ids::allocate(hard, world.node_id);
                return durable(records, Vec::new(), ticket, reply);
            }
            Command::FilesRemoved(id) => {
                // The image learns of it with the next change: until then it only knows more than it need.
                let known = hard.removed().get(&id).is_some();
                let records = known.then_some(Record::FilesRemoved { id }).into_iter().collect();
                return Decision { records, release: Release::Durable, ..Decision::default() };
            }
            Command::CreateTopics { topics, validate_only } => {
                let (plan, outcomes) = topics::create(hard, world, topics);
                (if validate_only { Plan::default() } else { plan }, outcomes)
            }
            Command::EnsureTopics(topics) => topics::ensure(hard, world, topics),
            Command::EnsureInternalTopic { topic, id } => {
                let name = match topic {
                    InternalTopic::ConsumerOffsets => names::CONSUMER_OFFSETS,
                    InternalTopic::TransactionState => names::TRANSACTION_STATE,
                };
                let topic = NewTopic::with_defaults(name, id);
                topics::ensure(hard, world, vec![topic])
            }
            Command::DeleteTopics(wanted) => topics::delete(hard, world, &wanted),
            Command::CreatePartitions { topics, validate_only } => {
                let (plan, outcomes) = topics::grow(hard, world, &topics);
                (if validate_only { Plan::default() } else { plan }, outcomes)
            }
            Command::AlterTopics { topics, validate_only } => {
                let (plan, outcomes) = configs::alter(hard, world, &topics);
                (if validate_only { Plan::default() } else { plan }, outcomes)
            }
        };
        let effects = soft.adopt(hard, &plan);
        durable(plan.records, effects, ticket, Reply::Topics(reply))
    }

    fn on_deadline(_: &Catalog, _: &mut Soft, _: &Context<'_, CatalogWorld>) -> Decision<Self> {
        Decision::default()
    }

    fn next_deadline(_: &Soft) -> Option<Timestamp> {
        None
    }

    fn apply(hard: &mut Catalog, record: &Record) {
        hard.apply(record);
    }

    fn on_load(hard: &Catalog, context: &Context<'_, CatalogWorld>) -> (Soft, Vec<Effect>) {
        let topics: Vec<_> = hard.topics().map(|row| image_of(row, context.world)).collect();
        let image =
            CatalogImage::new(hard.changes(), hard.start_epoch().unwrap_or(0), topics.iter().cloned());
        let removed: Vec<_> = hard.removed().iter().map(|(_, removed)| removed.clone()).collect();
        // Whoever was to tell of changed settings may have been lost with what was in memory.
        let mut effects = vec![Effect::Configured { topics, loaded: true }];
        if !removed.is_empty() {
            effects.push(Effect::Removed(removed));
        }
        (Soft { image, changed: true }, effects)
    }

    fn publish(hard: &Catalog, soft: &mut Soft, _: &Context<'_, CatalogWorld>) -> Option<Effect> {
        if !std::mem::take(&mut soft.changed) {
            return None;
        }
        soft.image.version = hard.changes();
        soft.image.start_epoch = hard.start_epoch().unwrap_or(0);
        soft.image.set_removed(SharedMap::clone(hard.removed()));
        Some(Effect::Publish(Arc::new(soft.image.clone())))
    }

    fn snapshot(hard: &Catalog) -> Option<Vec<Record>> {
        Some(hard.snapshot())
    }

    fn room(command: &Command) -> u64 {
        room(command)
    }

    fn refuse(error: ErrorCode) -> Reply {
        Reply::Refused(error)
    }

    fn encode(record: &Record) -> LogRecord {
        record.encode()
    }

    fn decode(record: &LogRecord, batch: &BatchKind) -> Result<Decoded<Record>, CorruptRecord> {
        if *batch != BatchKind::Plain {
            return Err(CorruptRecord("a record of a transaction, which nothing writes here".to_owned()));
        }
        Ok(Record::decode(record)?.map_or(Decoded::Nothing, Decoded::Own))
    }
}

impl Soft {
    /// Takes a plan over into the next image, and says what else it asks for.
    fn adopt(&mut self, hard: &Catalog, plan: &Plan) -> Vec<Effect> {
        self.changed |= !plan.records.is_empty();
        for topic in &plan.put {
            self.image.put(Arc::clone(topic));
        }
        let rows = plan.removed.iter().filter_map(|id| hard.topic_by_id(*id));
        let removed: Vec<_> = rows.map(TopicRow::removed).collect();
        for topic in &removed {
            self.image.drop_topic(topic.id);
        }
        let mut effects = Vec::new();
        if !plan.configured.is_empty() {
            effects.push(Effect::Configured { topics: plan.configured.clone(), loaded: false });
        }
        if !removed.is_empty() {
            effects.push(Effect::Removed(removed));
        }
        effects
    }
}

/// A topic as readers see it.
pub(super) fn image_of(row: &TopicRow, world: &CatalogWorld) -> Arc<TopicImage> {
    Arc::new(TopicImage {
        id: row.id,
        name: Arc::clone(&row.name),
        partitions: row.partitions,
        internal: names::is_internal(&row.name),
        epoch_base: row.epoch_base,
        overrides: Arc::clone(&row.overrides),
        settings: TopicImage::resolve(&row.overrides, &world.defaults),
    })
}

/// Counts a start. The first one also says which schemas the log is in, as KRaft's logs begin.
fn start(hard: &Catalog, soft: &mut Soft, ticket: Ticket) -> Decision<CatalogMachine> {
    let epoch = hard.start_epoch().map_or(0, |last| last.saturating_add(1));
    let mut records = Vec::new();
    if hard.feature(METADATA_VERSION).is_none() {
        let name = METADATA_VERSION.to_owned();
        records.push(Record::FeatureLevel { name, level: METADATA_VERSION_LEVEL });
    }
    records.push(Record::Start { epoch });
    soft.changed = true;
    durable(records, Vec::new(), ticket, Reply::Started(epoch))
}

fn durable(
    records: Vec<Record>,
    effects: Vec<Effect>,
    ticket: Ticket,
    reply: Reply,
) -> Decision<CatalogMachine> {
    Decision {
        records,
        release: Release::Durable,
        replies: vec![(ticket, reply)],
        effects,
        ..Decision::default()
    }
}

/// What a command writes at most, with the log's own overhead.
fn room(command: &Command) -> u64 {
    /// Any record of a fixed size, or a topic's record with the longest name.
    const RECORD: u64 = 512;
    /// A partition's record.
    const PARTITION: u64 = 128;
    match command {
        Command::CreateTopics { validate_only: true, .. }
        | Command::AlterTopics { validate_only: true, .. }
        | Command::CreatePartitions { validate_only: true, .. } => 0,
        Command::CreateTopics { topics, .. } | Command::EnsureTopics(topics) => {
            let of_topic = |topic: &NewTopic| {
                let partitions = u64::try_from(topic.partitions).unwrap_or(0).min(topics::NEW_PARTITIONS_MAX);
                let partitions = partitions + topic.assignments.len() as u64;
                let configs = topic.configs.iter();
                let configs: usize =
                    configs.map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len)).sum();
                RECORD * (4 + topic.configs.len() as u64) + configs as u64 + partitions * PARTITION
            };
            topics.iter().map(of_topic).sum()
        }
        Command::CreatePartitions { topics, .. } => {
            let count = topics.iter().map(|topic| u64::try_from(topic.count).unwrap_or(0));
            count.fold(0, |sum: u64, count| sum + count.min(topics::NEW_PARTITIONS_MAX) * PARTITION)
        }
        Command::AlterTopics { topics, .. } => topics.iter().map(|topic| configs::room(topic, RECORD)).sum(),
        Command::DeleteTopics(topics) => topics.len() as u64 * RECORD,
        Command::EnsureInternalTopic { .. } => 64 * RECORD,
        Command::Start | Command::AllocateProducerIds | Command::FilesRemoved(_) => RECORD,
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
