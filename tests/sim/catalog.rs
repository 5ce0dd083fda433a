//! The catalog on a log that fails: what was answered is so, images never run ahead of the disk nor behind an answer,
//! no id is given twice, and a snapshot stands for all that it replaces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use streamd::catalog::{
    AlterTopic, CatalogImage, CatalogMachine, CatalogWorld, Command, ConfigChange, ConfigOp, Effect,
    InternalTopic, MorePartitions, NewTopic, Reply, TopicRef,
};
use streamd::config::{Config, TopicRules, TopicSettings};
use streamd::coord::shard::{Now, Output, Shard, replay};
use streamd::coord::{CoordLog, Ticket};
use streamd::types::TopicId;

use crate::faulty_log::{AppendFault, FaultyLog};
use crate::seeds::{Random, for_each_seed};

/// What callers were told exists: name to id and partitions.
type Told = BTreeMap<String, (TopicId, i32)>;

struct Broker {
    log: Arc<FaultyLog>,
    shard: Shard<CatalogMachine>,
    world: CatalogWorld,
    tickets: u64,
    /// Commands not answered yet.
    waiting: BTreeMap<Ticket, Command>,
    internal: VecDeque<Command>,
    image: Arc<CatalogImage>,
    told: Told,
    /// Topics whose names a refused command may have changed.
    unsure: BTreeSet<String>,
    /// The first producer id that nobody may have.
    next_producer_id: i64,
    last_start: i32,
    /// Removals reported and not yet carried out.
    removals: BTreeSet<TopicId>,
    /// Settings as open partitions have them: those of the topics when they were made, and what they were told since.
    in_force: BTreeMap<TopicId, Arc<TopicSettings>>,
    /// Whether the log is replayed after every step.
    thorough: bool,
}

const NOW: Now = Now { steady: 0, wall: 0 };

fn world() -> CatalogWorld {
    let config = Config::default();
    let topics = TopicRules { default_partitions: 2, ..config.topics };
    let (offsets, transactions) = (config.offsets, config.transactions);
    CatalogWorld { node_id: 1, topics, defaults: config.topic_defaults, offsets, transactions }
}

fn load(log: &Arc<FaultyLog>, world: &CatalogWorld) -> Shard<CatalogMachine> {
    let replayed = replay::<CatalogMachine>(&**log).expect("the log is sound");
    let log: Arc<dyn CoordLog> = Arc::clone(log) as _;
    Shard::new(log, replayed, Arc::new(|| {}), NOW, world)
}

impl Broker {
    fn new() -> Self {
        let (log, world) = (FaultyLog::new(), world());
        let shard = load(&log, &world);
        let mut broker = Self {
            log,
            shard,
            world,
            tickets: 0,
            waiting: BTreeMap::new(),
            internal: VecDeque::new(),
            image: Arc::default(),
            told: Told::new(),
            unsure: BTreeSet::new(),
            next_producer_id: 0,
            last_start: -1,
            removals: BTreeSet::new(),
            in_force: BTreeMap::new(),
            thorough: true,
        };
        broker.release();
        broker
    }

    fn step(&mut self, commands: Vec<Command>) {
        let mut client = Vec::new();
        for command in commands {
            self.tickets += 1;
            self.waiting.insert(Ticket(self.tickets), command.clone());
            client.push((Ticket(self.tickets), command));
        }
        match self.shard.step(NOW, &self.world, &mut self.internal, client) {
            Ok(outputs) => {
                self.carry_out(outputs);
                self.replay_equals_state();
            }
            Err(_) => self.reload(),
        }
    }

    fn release(&mut self) {
        match self.shard.release() {
            Ok(outputs) => self.carry_out(outputs),
            Err(_) => self.reload(),
        }
    }

    /// All who wait are refused: what they asked for may have happened or not.
    fn reload(&mut self) {
        for (_, command) in std::mem::take(&mut self.waiting) {
            self.unsure.extend(names(&command));
        }
        self.shard = load(&self.log, &self.world);
        self.replay_equals_state();
        self.release();
    }

    fn cut_power(&mut self, random: &mut Random) {
        self.log.cut_power(random);
        self.internal.clear();
        self.removals.clear();
        self.reload();
        self.log.sync();
        self.release();
        let there: BTreeSet<_> = self.shard.state().removed().iter().map(|(id, _)| *id).collect();
        assert_eq!(self.removals, there, "a start finds the removals undone");
    }

    fn replay_equals_state(&self) {
        if !self.thorough {
            return;
        }
        let replayed = replay::<CatalogMachine>(&*self.log).expect("the log is sound");
        assert!(replayed.state() == self.shard.state(), "replay gives another state");
    }

    fn carry_out(&mut self, outputs: Vec<Output<CatalogMachine>>) {
        let mut published = false;
        for output in outputs {
            match output {
                Output::Effect(Effect::Publish(image)) => {
                    assert!(image.version >= self.image.version);
                    self.image = image;
                    published = true;
                }
                Output::Effect(Effect::Removed(topics)) => {
                    for topic in topics {
                        assert!(self.image.topic_by_id(topic.id).is_none());
                        assert!(self.image.removed(topic.id).is_some());
                        self.removals.insert(topic.id);
                    }
                }
                Output::Effect(Effect::Configured { topics, .. }) => {
                    for topic in topics {
                        let Some(shown) = self.image.topic_by_id(topic.id) else { continue };
                        assert!(
                            published || self.image.version > 0,
                            "settings in force before anybody sees them"
                        );
                        self.in_force.insert(topic.id, Arc::clone(&shown.settings));
                    }
                }
                Output::Reply(ticket, reply) => self.hear(ticket, reply),
            }
        }
        self.image_is_what_was_told(published);
    }

    fn hear(&mut self, ticket: Ticket, reply: Reply) {
        let command = self.waiting.remove(&ticket).expect("a ticket is answered once");
        match reply {
            Reply::Started(epoch) => {
                assert!(epoch > self.last_start, "two starts have the number {epoch}");
                assert!(self.image.start_epoch >= epoch);
                self.last_start = epoch;
            }
            Reply::ProducerIds(block) => {
                assert!(block.first >= self.next_producer_id, "a producer id is given twice");
                self.next_producer_id = block.first + i64::from(block.len);
            }
            Reply::Topics(outcomes) => {
                let validate_only = matches!(
                    command,
                    Command::CreateTopics { validate_only: true, .. }
                        | Command::AlterTopics { validate_only: true, .. }
                        | Command::CreatePartitions { validate_only: true, .. }
                );
                let deleted = matches!(command, Command::DeleteTopics(_));
                for topic in outcomes.into_iter().filter_map(|outcome| outcome.result.ok()) {
                    if validate_only {
                        continue;
                    }
                    if deleted {
                        self.told.remove(&*topic.name);
                    } else {
                        self.told.insert(topic.name.to_string(), (topic.id, topic.partitions));
                    }
                }
            }
            Reply::Refused(_) => {}
        }
    }

    /// Called when all that came out together was heard.
    fn image_is_what_was_told(&mut self, published: bool) {
        let shown: Told =
            self.image.topics().map(|topic| (topic.name.to_string(), (topic.id, topic.partitions))).collect();
        let names: BTreeSet<_> = shown.keys().chain(self.told.keys()).cloned().collect();
        for name in names {
            if self.unsure.contains(&name) {
                continue;
            }
            assert_eq!(shown.get(&name), self.told.get(&name), "{name}");
        }
        for (id, partitions) in shown.values() {
            let topic = self.image.topic_by_id(*id).expect("by name and by id");
            assert_eq!(topic.partitions, *partitions);
            assert!(self.image.leader_epoch(topic) >= 0);
            let in_force = self.in_force.entry(*id).or_insert_with(|| Arc::clone(&topic.settings));
            assert_eq!(
                **in_force, *topic.settings,
                "{}: an open partition goes by other settings",
                topic.name
            );
        }
        if published {
            // An image from after the fault: what it shows is how it came out.
            self.unsure.clear();
            self.told = shown;
        }
    }
}

/// The topics that a command may change.
fn names(command: &Command) -> Vec<String> {
    let all = || ["a", "b.c", "b_c", "d", "__consumer_offsets"].map(str::to_owned).to_vec();
    match command {
        Command::CreateTopics { topics, .. } | Command::EnsureTopics(topics) => {
            topics.iter().map(|topic| topic.name.clone()).collect()
        }
        Command::CreatePartitions { topics, .. } => topics.iter().map(|topic| topic.name.clone()).collect(),
        Command::AlterTopics { topics, .. } => topics.iter().map(|topic| topic.name.clone()).collect(),
        Command::DeleteTopics(_) | Command::EnsureInternalTopic { .. } => all(),
        Command::Start | Command::AllocateProducerIds | Command::FilesRemoved(_) => Vec::new(),
    }
}

fn new_topic(random: &mut Random) -> NewTopic {
    let name = *random.pick(&["a", "b.c", "b_c", "d"]);
    let mut topic = NewTopic::with_defaults(name, TopicId::from_bytes(random.bytes()));
    topic.partitions = *random.pick(&[-1, 1, 3, 0]);
    if random.one_in(2) {
        topic.configs.push(("retention.ms".into(), Some(random.below(1_000).to_string())));
    }
    topic
}

fn changed_topic(random: &mut Random) -> AlterTopic {
    let name = (*random.pick(&["a", "b.c", "d", "__consumer_offsets"])).to_owned();
    let set = |random: &mut Random| ("retention.ms".to_owned(), random.below(1_000).to_string());
    let change = match random.below(4) {
        0 => ConfigChange::Replace(Vec::new()),
        1 => ConfigChange::Replace(vec![set(random)]),
        2 => {
            let (key, value) = set(random);
            ConfigChange::Each(vec![(key, ConfigOp::Set(value))])
        }
        _ => ConfigChange::Each(vec![
            ("retention.ms".to_owned(), ConfigOp::Delete),
            ("cleanup.policy".to_owned(), ConfigOp::Append("compact".to_owned())),
        ]),
    };
    AlterTopic { name, change }
}

fn random_command(broker: &Broker, random: &mut Random) -> Command {
    let validate_only = random.one_in(5);
    match random.below(14) {
        12..=13 => Command::AlterTopics { topics: vec![changed_topic(random)], validate_only },
        0..=2 => {
            let topics = (0..random.below(4)).map(|_| new_topic(random)).collect();
            Command::CreateTopics { topics, validate_only }
        }
        3 => Command::EnsureTopics(vec![new_topic(random)]),
        4 => {
            let id = TopicId::from_bytes(random.bytes());
            Command::EnsureInternalTopic { topic: InternalTopic::ConsumerOffsets, id }
        }
        5..=6 => {
            let name = (*random.pick(&["a", "b.c", "b_c", "d"])).to_owned();
            Command::DeleteTopics(vec![match broker.told.get(&name) {
                Some((id, _)) if random.one_in(2) => TopicRef::Id(*id),
                _ => TopicRef::Name(name),
            }])
        }
        7..=8 => {
            let name = (*random.pick(&["a", "b.c", "d"])).to_owned();
            let count = 1 + random.below(6) as i32;
            Command::CreatePartitions {
                topics: vec![MorePartitions { name, count, assignments: None }],
                validate_only,
            }
        }
        9..=10 => Command::AllocateProducerIds,
        _ => Command::Start,
    }
}

#[test]
fn under_any_faults_what_was_answered_is_so_and_images_agree() {
    for_each_seed(300, |random| {
        let mut broker = Broker::new();
        for _ in 0..random.below(100) {
            match random.below(12) {
                0..=5 => {
                    let commands = (0..random.below(4)).map(|_| random_command(&broker, random)).collect();
                    broker.step(commands);
                }
                6 => {
                    if let Some(done) = broker.removals.pop_first() {
                        broker.internal.push_back(Command::FilesRemoved(done));
                    }
                }
                7 => broker.log.fail_append(*random.pick(&[
                    AppendFault::Before,
                    AppendFault::After,
                    AppendFault::Torn(1),
                ])),
                8 => broker.log.limit_room(if random.one_in(2) { Some(random.below(3_000)) } else { None }),
                9 if random.one_in(2) => broker.cut_power(random),
                _ => {
                    broker.log.sync();
                    broker.release();
                }
            }
        }
        broker.log.sync();
        broker.release();
        assert!(broker.waiting.is_empty(), "{:?}", broker.waiting);
    });
}

/// A topic that takes some 160 kB in the log.
fn large_topic(random: &mut Random) -> NewTopic {
    let value = || Some(format!("{}1", "0".repeat(32_000)));
    let names = ["retention.ms", "retention.bytes", "segment.ms", "flush.ms", "flush.messages"];
    let configs = names.map(|name| (name.to_owned(), value())).to_vec();
    let name = format!("large-{}", random.next());
    NewTopic { configs, ..NewTopic::with_defaults(name, TopicId::from_bytes(random.bytes())) }
}

/// Makes and deletes large topics until a snapshot is written. Returns how large the log is then.
fn outgrow(broker: &mut Broker, random: &mut Random) -> u64 {
    broker.thorough = false;
    let rolls = broker.log.rolls();
    for _ in 0..200 {
        let topic = large_topic(random);
        let id = topic.id;
        broker.step(vec![Command::CreateTopics { topics: vec![topic], validate_only: false }]);
        broker.step(vec![Command::DeleteTopics(vec![TopicRef::Id(id)])]);
        broker.internal.push_back(Command::FilesRemoved(id));
        if broker.log.rolls() > rolls {
            break;
        }
        broker.log.sync();
        broker.release();
    }
    broker.thorough = true;
    broker.log.size()
}

#[test]
fn a_log_that_outgrows_its_state_is_replaced_by_a_snapshot_of_it() {
    for_each_seed(1, |random| {
        let mut broker = Broker::new();
        broker.step(vec![Command::Start, Command::AllocateProducerIds]);
        let topics = vec![NewTopic::with_defaults("kept", TopicId::from_bytes(random.bytes()))];
        broker.step(vec![Command::CreateTopics { topics, validate_only: false }]);
        let most = outgrow(&mut broker, random);
        assert!(most > 16 << 20, "{most} bytes");
        broker.log.sync();
        broker.release();
        assert!(broker.log.start() > 0, "the log below the snapshot is gone");
        assert!(broker.log.size() < 1 << 20, "{} bytes are left", broker.log.size());
        broker.replay_equals_state();
        broker.cut_power(random);
        assert!(broker.image.topic("kept").is_some());
        broker.step(vec![Command::Start, Command::AllocateProducerIds]);
        broker.log.sync();
        broker.release();
        assert_eq!((broker.last_start, broker.next_producer_id), (1, 2_000));
    });
}

#[test]
fn a_snapshot_that_a_power_cut_takes_back_is_made_again() {
    for_each_seed(1, |random| {
        let mut broker = Broker::new();
        outgrow(&mut broker, random);
        // The snapshot is written, not durable, and lost.
        assert_eq!(broker.log.start(), 0);
        broker.log.cut_power(random);
        broker.reload();
        assert_eq!(broker.log.start(), 0);
        outgrow(&mut broker, random);
        broker.log.sync();
        broker.release();
        assert!(broker.log.start() > 0);
        broker.replay_equals_state();
    });
}
