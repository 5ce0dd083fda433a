//! Commands in, decisions out: each rule of S84 and S89 with Kafka's code and words.

use std::collections::BTreeMap;

use super::*;
use crate::catalog::{MorePartitions, ProducerIdBlock, TopicError, TopicOutcome, TopicRef};
use crate::config::{Config, OffsetRules, TopicDefaults, TopicRules};

struct Machine {
    hard: Catalog,
    soft: Soft,
    world: CatalogWorld,
    ids: u8,
    /// Records of the last decision.
    records: Vec<Record>,
    effects: Vec<Effect>,
}

impl Machine {
    fn new() -> Self {
        let world = CatalogWorld {
            node_id: 1,
            topics: TopicRules { default_partitions: 2, ..Config::default().topics },
            defaults: TopicDefaults::default(),
            offsets: OffsetRules { topic_partitions: 50, ..Config::default().offsets },
            transactions: Config::default().transactions,
        };
        let hard = Catalog::default();
        let (soft, _) = CatalogMachine::on_load(&hard, &context(&world));
        Self { hard, soft, world, ids: 0, records: Vec::new(), effects: Vec::new() }
    }

    fn decide(&mut self, command: Command) -> Reply {
        let room = CatalogMachine::room(&command);
        let context = context(&self.world);
        let decision = CatalogMachine::decide(&self.hard, &mut self.soft, &context, Ticket(1), command);
        assert_eq!(decision.release, Release::Durable, "nobody may see what a power cut can undo");
        for record in &decision.records {
            self.hard.apply(record);
        }
        let written: usize = decision.records.iter().map(|r| r.encode().value.unwrap().len() + 40).sum();
        assert!(written as u64 <= room, "{written} bytes written, room for {room} asked");
        self.records = decision.records;
        self.effects = decision.effects;
        let [(Ticket(1), reply)] = &decision.replies[..] else { panic!("{:?}", decision.replies) };
        reply.clone()
    }

    fn topics(&mut self, command: Command) -> Vec<TopicOutcome> {
        match self.decide(command) {
            Reply::Topics(outcomes) => outcomes,
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<TopicOutcome> {
        self.topics(Command::CreateTopics { topics, validate_only: false })
    }

    fn new_topic(&mut self, name: &str) -> NewTopic {
        self.ids += 1;
        NewTopic::with_defaults(name, TopicId::from_bytes([self.ids; 16]))
    }

    /// Makes a topic and returns it.
    fn make(&mut self, name: &str) -> Arc<TopicImage> {
        let topic = self.new_topic(name);
        self.create(vec![topic]).remove(0).result.unwrap()
    }

    /// The refusal of one topic changed by `with`.
    fn refusal(&mut self, name: &str, with: impl FnOnce(&mut NewTopic)) -> (ErrorCode, String) {
        let mut topic = self.new_topic(name);
        with(&mut topic);
        let refused = error(&self.create(vec![topic])[0]);
        assert_eq!(self.records, [], "what is refused leaves no record");
        refused
    }

    fn grow(&mut self, name: &str, count: i32, assignments: Option<Vec<Vec<i32>>>) -> TopicOutcome {
        let topics = vec![MorePartitions { name: name.into(), count, assignments }];
        self.topics(Command::CreatePartitions { topics, validate_only: false }).remove(0)
    }

    fn delete(&mut self, name: &str) -> TopicOutcome {
        self.topics(Command::DeleteTopics(vec![TopicRef::Name(name.into())])).remove(0)
    }

    /// The image that the last decisions publish.
    fn image(&mut self) -> Option<Arc<CatalogImage>> {
        match CatalogMachine::publish(&self.hard, &mut self.soft, &context(&self.world)) {
            Some(Effect::Publish(image)) => Some(image),
            other => {
                assert!(other.is_none());
                None
            }
        }
    }
}

fn context(world: &CatalogWorld) -> Context<'_, CatalogWorld> {
    Context { now: 0, wall: 0, world }
}

fn error(outcome: &TopicOutcome) -> (ErrorCode, String) {
    let TopicError { code, message } = outcome.result.as_ref().unwrap_err();
    (*code, message.clone().unwrap_or_default())
}

#[test]
fn s84_a_topic_is_made_with_the_brokers_defaults_and_its_own_settings() {
    let mut m = Machine::new();
    let mut topic = m.new_topic("orders");
    topic.configs =
        vec![("retention.ms".into(), Some("5".into())), ("retention.ms".into(), Some("1000".into()))];
    let outcome = m.create(vec![topic]).remove(0);
    let made = outcome.result.unwrap();
    assert_eq!(outcome.name.as_deref(), Some("orders"));
    assert_eq!((made.id, made.partitions, made.internal), (TopicId::from_bytes([1; 16]), 2, false));
    let overrides = BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]);
    assert_eq!(*made.overrides, overrides, "given twice, the last counts");
    let partition = |partition| Record::Partition { topic: made.id, partition, node: 1 };
    let name = || Arc::<str>::from("orders");
    let config =
        Record::TopicConfig { topic: name(), name: "retention.ms".into(), value: Some("1000".into()) };
    assert_eq!(m.records, [Record::Topic { name: name(), id: made.id }, config, partition(0), partition(1)]);
}

#[test]
fn s84_validate_only_does_everything_but_create() {
    let mut m = Machine::new();
    let topic = m.new_topic("orders");
    let topics = m.topics(Command::CreateTopics { topics: vec![topic], validate_only: true });
    assert_eq!(topics[0].result.as_ref().unwrap().partitions, 2);
    assert_eq!(m.records, []);
    assert!(m.hard.topic("orders").is_none());
    m.make("orders");
    let topic = m.new_topic("orders");
    let topics = m.topics(Command::CreateTopics { topics: vec![topic], validate_only: true });
    assert_eq!(error(&topics[0]).0, ErrorCode::TopicAlreadyExists);
}

#[test]
fn s84_a_name_must_be_free_and_collide_with_none() {
    let mut m = Machine::new();
    m.make("a.b");
    let exists = (ErrorCode::TopicAlreadyExists, "Topic 'a.b' already exists.".into());
    assert_eq!(m.refusal("a.b", |_| {}), exists);
    let collides = (ErrorCode::InvalidTopicException, "Topic 'a_b' collides with existing topic: a.b".into());
    assert_eq!(m.refusal("a_b", |_| {}), collides);
    let bad = (ErrorCode::InvalidTopicException, "Topic name is invalid: '..' is not allowed".into());
    assert_eq!(m.refusal("..", |_| {}), bad);
    let reserved = "Creation of internal topic __cluster_metadata is prohibited.".into();
    assert_eq!(m.refusal("__cluster_metadata", |_| {}), (ErrorCode::InvalidRequest, reserved));
    assert_eq!(m.refusal("__share_group_state", |_| {}).0, ErrorCode::InvalidTopicException);
    m.delete("a.b");
    assert!(m.make("a_b").partitions == 2, "a deleted topic's name and those like it are free at once");
}

#[test]
fn s84_counts_are_positive_or_left_to_the_broker() {
    let mut m = Machine::new();
    for count in [0, -2] {
        let refused = m.refusal("t", |topic| topic.partitions = count);
        let why = "Number of partitions was set to an invalid non-positive value.".into();
        assert_eq!(refused, (ErrorCode::InvalidPartitions, why));
        let refused = m.refusal("t", |topic| topic.replication_factor = i16::try_from(count).unwrap());
        let why = "Replication factor must be larger than 0, or -1 to use the default value.".into();
        assert_eq!(refused, (ErrorCode::InvalidReplicationFactor, why));
    }
    let why = "replication factor 3 needs 3 brokers, 1 is up. Use -r 1, or omit it.".into();
    let refused = m.refusal("t", |topic| topic.replication_factor = 3);
    assert_eq!(refused, (ErrorCode::InvalidReplicationFactor, why));
}

#[test]
fn s84_manual_assignments_name_this_broker_once_for_each_partition_from_0() {
    let mut m = Machine::new();
    let mut assigned = |assignments: &[(i32, &[i32])], partitions, factor| {
        let mut topic = m.new_topic("t");
        topic.assignments =
            assignments.iter().map(|(partition, brokers)| (*partition, brokers.to_vec())).collect();
        (topic.partitions, topic.replication_factor) = (partitions, factor);
        let topics = vec![topic];
        let outcome = m.topics(Command::CreateTopics { topics, validate_only: true }).remove(0);
        outcome.result.map(|topic| topic.partitions).map_err(|e| (e.code.code(), e.message.unwrap()))
    };
    let refusal = |code, why: &str| Err((code, why.to_owned()));
    assert_eq!(assigned(&[(1, &[1]), (0, &[1])], -1, -1), Ok(2));
    let with =
        |what: &str| format!("A manual partition assignment was specified, but {what} was not set to -1.");
    assert_eq!(assigned(&[(0, &[1])], -1, 1), refusal(42, &with("replication factor")));
    assert_eq!(assigned(&[(0, &[1])], 1, -1), refusal(42, &with("numPartitions")));
    assert_eq!(
        assigned(&[(0, &[1]), (0, &[1])], -1, -1),
        refusal(39, "Found multiple manual partition assignments for partition 0")
    );
    assert_eq!(
        assigned(&[(0, &[1]), (2, &[1])], -1, -1),
        refusal(39, "partitions should be a consecutive 0-based integer sequence")
    );
    let includes = |what: &str| format!("The manual partition assignment includes {what}");
    assert_eq!(assigned(&[(0, &[])], -1, -1), refusal(39, &includes("an empty replica list.")));
    assert_eq!(
        assigned(&[(0, &[2])], -1, -1),
        refusal(39, &includes("broker 2, but no such broker is registered."))
    );
    assert_eq!(assigned(&[(0, &[1, 1])], -1, -1), refusal(39, &includes("the broker 1 more than once.")));
}

#[test]
fn s84_settings_are_checked() {
    let mut m = Machine::new();
    let set = |name: &'static str, value: Option<&'static str>| {
        move |topic: &mut NewTopic| topic.configs.push((name.into(), value.map(str::to_owned)))
    };
    let refused = m.refusal("t", set("no.such.setting", Some("1")));
    assert_eq!(refused.0, ErrorCode::InvalidConfig);
    assert!(!refused.1.is_empty());
    assert_eq!(m.refusal("t", set("retention.ms", Some("soon"))).0, ErrorCode::InvalidConfig);
    let why = "Null value not supported for topic configs: retention.ms".into();
    assert_eq!(m.refusal("t", set("retention.ms", None)), (ErrorCode::InvalidConfig, why));
    let refused =
        m.refusal("t", |topic| topic.configs.push(("retention.ms".into(), Some("1".repeat(32_768)))));
    assert!(refused.1.contains("exceeds the maximum value size of 32767"), "{}", refused.1);
}

#[test]
fn s84_a_name_given_twice_is_refused_once_and_the_others_are_made() {
    let mut m = Machine::new();
    let topics = vec![m.new_topic("a"), m.new_topic("b"), m.new_topic("a"), m.new_topic("a")];
    let outcomes = m.create(topics);
    let names: Vec<_> = outcomes.iter().map(|outcome| outcome.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["b", "a"]);
    assert!(outcomes[0].result.is_ok());
    assert_eq!(error(&outcomes[1]), (ErrorCode::InvalidRequest, "Duplicate topic name.".into()));
}

#[test]
fn s84_one_request_makes_10000_partitions_and_no_more() {
    let mut m = Machine::new();
    let sized = |mut topic: NewTopic, partitions| {
        topic.partitions = partitions;
        topic
    };
    let topics = vec![sized(m.new_topic("a"), 9_999), sized(m.new_topic("b"), -1)];
    for outcome in m.create(topics) {
        let why = "Excessively large number of partitions per request.".into();
        assert_eq!(error(&outcome), (ErrorCode::PolicyViolation, why));
    }
    let topic = sized(m.new_topic("a"), 10_000);
    assert_eq!(m.create(vec![topic])[0].result.as_ref().unwrap().partitions, 10_000);
    let refused = m.grow("a", 20_001, None);
    let why = "Unable to perform excessively large batch operation.".into();
    assert_eq!(error(&refused), (ErrorCode::PolicyViolation, why));
    assert_eq!(m.grow("a", 20_000, None).result.unwrap().partitions, 20_000);
}

#[test]
fn s84_partitions_only_grow() {
    let mut m = Machine::new();
    m.make("t");
    assert_eq!(
        error(&m.grow("t", 2, None)),
        (ErrorCode::InvalidPartitions, "Topic already has 2 partition(s).".into())
    );
    let why = "The topic t currently has 2 partition(s); 1 would not be an increase.".into();
    assert_eq!(error(&m.grow("t", 1, None)), (ErrorCode::InvalidPartitions, why));
    assert_eq!(error(&m.grow("u", 3, None)), (ErrorCode::UnknownTopicOrPartition, String::new()));
    let why = "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.".into();
    assert_eq!(error(&m.grow("t", 4, Some(vec![vec![1]]))), (ErrorCode::InvalidReplicaAssignment, why));
    assert_eq!(error(&m.grow("t", 3, Some(vec![vec![7]]))).0, ErrorCode::InvalidReplicaAssignment);
    let grown = m.grow("t", 4, Some(vec![vec![1], vec![1]])).result.unwrap();
    assert_eq!(grown.partitions, 4);
    let topic = grown.id;
    assert_eq!(m.records, [2, 3].map(|partition| Record::Partition { topic, partition, node: 1 }));
}

#[test]
fn s89_topics_are_deleted_by_name_or_id_and_once() {
    let mut m = Machine::new();
    let (a, b, c) = (m.make("a"), m.make("b"), m.make("c"));
    let name = |name: &str| TopicRef::Name(name.into());
    let unknown = TopicId::from_bytes([99; 16]);
    let wanted = vec![
        name("a"),
        TopicRef::Id(b.id),
        name("no"),
        TopicRef::Id(unknown),
        TopicRef::Id(a.id),
        name("c"),
        name("c"),
    ];
    let outcomes = m.topics(Command::DeleteTopics(wanted));
    assert_eq!(outcomes[0].result.as_ref().unwrap().id, a.id);
    assert_eq!(outcomes[1].name.as_deref(), Some("b"));
    let texts: Vec<_> = outcomes[2..].iter().map(error).collect();
    assert_eq!(
        texts,
        [
            (
                ErrorCode::UnknownTopicOrPartition,
                "This server does not host this topic-partition.".to_owned()
            ),
            (ErrorCode::UnknownTopicId, "This server does not host this topic ID.".to_owned()),
            (
                ErrorCode::InvalidRequest,
                "The provided topic name maps to an ID that was already supplied.".to_owned()
            ),
            (ErrorCode::InvalidRequest, "Duplicate topic name.".to_owned()),
        ]
    );
    assert_eq!(m.records, [Record::RemoveTopic { id: a.id }, Record::RemoveTopic { id: b.id }]);
    let [Effect::Removed(removed)] = &m.effects[..] else { panic!("{:?}", m.effects) };
    assert_eq!(removed.iter().map(|topic| topic.id).collect::<Vec<_>>(), [a.id, b.id]);
    assert!(m.hard.topic_by_id(c.id).is_some());
}

#[test]
fn s89_deletion_can_be_forbidden_and_the_brokers_own_topics_stay() {
    let mut m = Machine::new();
    m.make("t");
    let id = TopicId::from_bytes([200; 16]);
    m.topics(Command::EnsureInternalTopic { topic: InternalTopic::ConsumerOffsets, id });
    assert_eq!(error(&m.delete("__consumer_offsets")).0, ErrorCode::InvalidRequest);
    assert_eq!(error(&m.grow("__consumer_offsets", 60, None)).0, ErrorCode::InvalidPartitions);
    m.world.topics.deletable = false;
    assert_eq!(error(&m.delete("t")), (ErrorCode::TopicDeletionDisabled, String::new()));
    assert_eq!(m.records, []);
}

#[test]
fn a_topics_trace_stays_until_its_files_are_gone() {
    let mut m = Machine::new();
    let old = m.make("t");
    m.delete("t");
    let new = m.make("t");
    assert_ne!(old.id, new.id);
    let image = m.image().unwrap();
    assert_eq!(image.topic("t").unwrap().id, new.id);
    assert!(image.topic_by_id(old.id).is_none());
    assert_eq!(image.removed(old.id).unwrap().partitions, 2);
    // A start finds the work undone.
    let (_, effects) = CatalogMachine::on_load(&m.hard, &context(&m.world));
    assert!(
        matches!(&effects[..], [Effect::Configured { loaded: true, .. }, Effect::Removed(removed)] if removed[0].id == old.id),
        "{effects:?}"
    );
    let done = Command::FilesRemoved(old.id);
    let decision =
        CatalogMachine::decide(&m.hard, &mut m.soft, &context(&m.world), Ticket::NOBODY, done.clone());
    decision.records.iter().for_each(|record| m.hard.apply(record));
    assert!(m.hard.removed().is_empty());
    let again = CatalogMachine::decide(&m.hard, &mut m.soft, &context(&m.world), Ticket::NOBODY, done);
    assert!(again.records.is_empty(), "a second report changes nothing");
    assert!(m.image().is_none(), "no image is worth a sync for this alone");
}

#[test]
fn s83_two_clients_that_auto_create_get_the_same_topic() {
    let mut m = Machine::new();
    let mut ensure = |names: &[&str]| {
        let topics = names.iter().map(|name| m.new_topic(name)).collect();
        m.topics(Command::EnsureTopics(topics))
    };
    let first = ensure(&["t", "u", "t"]);
    let ids: Vec<_> = first.iter().map(|outcome| outcome.result.as_ref().unwrap().id).collect();
    assert_eq!(ids[0], ids[2], "asked twice in one request");
    let second = ensure(&["t", "a b"]);
    assert_eq!(second[0].result.as_ref().unwrap().id, ids[0]);
    assert_eq!(error(&second[1]).0, ErrorCode::InvalidTopicException);
    assert_eq!(m.records, []);
}

#[test]
fn the_offsets_topic_is_compacted_and_keeps_its_partition_count() {
    let mut m = Machine::new();
    let ensure = |n| Command::EnsureInternalTopic {
        topic: InternalTopic::ConsumerOffsets,
        id: TopicId::from_bytes([n; 16]),
    };
    let made = m.topics(ensure(200)).remove(0).result.unwrap();
    assert_eq!((made.partitions, made.internal), (50, true));
    assert_eq!(made.overrides["cleanup.policy"], "compact");
    assert_eq!(made.overrides["segment.bytes"], "104857600");
    m.world.offsets.topic_partitions = 10;
    let again = m.topics(ensure(201)).remove(0).result.unwrap();
    assert_eq!((again.id, again.partitions), (made.id, 50));
}

#[test]
fn the_transaction_topic_is_compacted_and_keeps_its_partition_count() {
    let mut m = Machine::new();
    m.world.transactions.topic_partitions = 20;
    let ensure = |n| Command::EnsureInternalTopic {
        topic: InternalTopic::TransactionState,
        id: TopicId::from_bytes([n; 16]),
    };
    let made = m.topics(ensure(200)).remove(0).result.unwrap();
    assert_eq!((&*made.name, made.partitions, made.internal), ("__transaction_state", 20, true));
    assert_eq!(made.overrides["cleanup.policy"], "compact");
    assert_eq!(made.overrides["compression.type"], "uncompressed");
    m.world.transactions.topic_partitions = 10;
    let again = m.topics(ensure(201)).remove(0).result.unwrap();
    assert_eq!((again.id, again.partitions), (made.id, 20));
    assert_eq!(error(&m.delete("__transaction_state")).0, ErrorCode::InvalidRequest);
}

#[test]
fn s50_producer_ids_come_in_blocks_and_never_again() {
    let mut m = Machine::new();
    for first in [0, 1_000, 2_000] {
        let reply = m.decide(Command::AllocateProducerIds);
        assert!(matches!(reply, Reply::ProducerIds(block) if block == ProducerIdBlock { first, len: 1_000 }));
    }
    m.hard.apply(&Record::ProducerIds { node: 1, next: i64::MAX - 5 });
    assert!(matches!(m.decide(Command::AllocateProducerIds), Reply::Refused(ErrorCode::UnknownServerError)));
}

#[test]
fn starts_are_counted_and_a_new_topics_leader_epoch_begins_at_0() {
    let mut m = Machine::new();
    for epoch in 0..3 {
        assert!(matches!(m.decide(Command::Start), Reply::Started(started) if started == epoch));
        let first = matches!(m.records[0], Record::FeatureLevel { .. });
        assert_eq!(first, epoch == 0, "the log begins with the version of its schemas");
    }
    let topic = m.make("t");
    let image = m.image().unwrap();
    assert_eq!(image.leader_epoch(&topic), 0);
    m.decide(Command::Start);
    let image = m.image().unwrap();
    assert_eq!(image.leader_epoch(image.topic("t").unwrap()), 1);
}

#[test]
fn an_image_comes_with_every_change_and_only_then() {
    let mut m = Machine::new();
    let empty = m.image().expect("after a load there is one");
    assert!(m.image().is_none());
    let topic = m.make("t");
    let first = m.image().unwrap();
    assert!(first.version > empty.version);
    assert!(Arc::ptr_eq(first.topic("t").unwrap(), &topic), "what the caller was told is what readers see");
    m.refusal("t", |_| {});
    assert!(m.image().is_none());
    m.grow("t", 3, None);
    let second = m.image().unwrap();
    assert_eq!((first.topic("t").unwrap().partitions, second.topic("t").unwrap().partitions), (2, 3));
    m.delete("t");
    let third = m.image().unwrap();
    assert_eq!(third.topics().count(), 0);
    assert!(third.version > second.version && second.version > first.version);
}
