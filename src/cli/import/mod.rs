//! `streamd import kafka`: adopts the topics, records and committed offsets of an Apache Kafka data directory.
//!
//! Kafka's directory is only read. Everything is checked before anything is made, the partitions are brought over next,
//! then the committed offsets, and one batch of the catalog's log makes it all count at last: an import that is cut
//! short leaves directories that bear a mark and that no topic has; the next import or start removes them.

mod metadata;
mod offsets;
mod place;
mod source;
mod written;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use self::metadata::{KafkaTopic, Metadata};
use self::offsets::Offsets;
use self::place::{Made, Placed, Wanted, is_kafkas_own, place, sync};
use self::source::Source;
use super::exit::Ended;
use super::offline::{Offline, each_record};
use super::output::print;
use super::settings::SettingsArgs;
use super::table;
use crate::broker::partition_of;
use crate::catalog::names::CONSUMER_OFFSETS;
use crate::catalog::records::Record;
use crate::catalog::state::TopicRow;
use crate::catalog::{TopicImage, consumer_offsets_settings};
use crate::config::{Config, TopicSettings, topic as topic_settings};
use crate::coord::{BatchKind, Decoded, LogRecord, StateMachine as _};
use crate::groups::Groups;
use crate::record::{BatchBuilder, BatchHeader, NewRecord};
use crate::storage::layout::{LOCK_FILE, MANIFEST, META_PROPERTIES, MetaProperties};
use crate::storage::log::{AppendBatch, Opened, Replayed};
use crate::types::{Clock, TopicId, TopicPartition, topic_name};

/// Adopt the data of another broker
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Kafka(Box<KafkaArgs>),
}

/// Adopt topics, records and committed offsets of an Apache Kafka data directory
///
/// The Kafka must use KRaft, must have been stopped in order, and have one replica of each partition. Its directory is
/// only read. Sealed segments are shared with it by hard links where the file system allows, and copied otherwise. The
/// broker that takes them must not run meanwhile.
#[derive(Debug, clap::Args)]
struct KafkaArgs {
    /// Kafka's data directory; all of them if log.dirs names several
    #[arg(value_name = "DIR", required = true)]
    dirs: Vec<PathBuf>,
    /// Take these topics only
    #[arg(short, long, value_name = "TOPIC", value_delimiter = ',')]
    topic: Vec<String>,
    /// Take all but these topics; without __consumer_offsets no committed offsets are taken
    #[arg(long, value_name = "TOPIC", value_delimiter = ',', conflicts_with = "topic")]
    except: Vec<String>,
    /// Copy all segments, and share none by hard links
    #[arg(long)]
    copy: bool,
    /// text or json
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

/// Runs `streamd import …`; `before` are the settings' flags that stood before it.
pub(super) fn run(args: Args, before: SettingsArgs, clock: &Clock) -> anyhow::Result<()> {
    let Verb::Kafka(args) = args.verb;
    let mut args = *args;
    args.settings = std::mem::take(&mut args.settings).under(before)?;
    let config = args.settings.load()?.config;
    let source = Source::open(&args.dirs)?;
    let metadata = Metadata::read(&source.metadata()?)?;
    let topics = chosen(&metadata, &args)?;
    check_topics(&source, &topics)?;
    let mut offsets = Offsets::default();
    if !leaves_offsets(&args) {
        read_offsets(&source, &metadata, &mut offsets)?;
    }
    let offline = target(&config, &source, clock)?;
    check_clashes(&offline, &topics)?;
    let mut import = Import {
        config: &config,
        source: &source,
        metadata: &metadata,
        offline: &offline,
        clock,
        may_link: !args.copy,
        report: Report::default(),
    };
    import.report.not_taken = not_taken(&metadata, &offsets);
    if leaves_offsets(&args) {
        let left = format!(
            "committed offsets ({CONSUMER_OFFSETS}): every group begins where its auto.offset.reset says"
        );
        import.report.not_taken.push(left);
    }
    let mut made = Made::default();
    if let Err(error) = import.carry_out(&topics, offsets, &mut made) {
        made.undo(&offline);
        if offline.dir.is_new() {
            forget(offline);
        }
        return Err(error.context("nothing was imported"));
    }
    import.report.print(&source, &config, args.output)
}

/// Takes a data directory away again that was made for an import which failed. What else is in it stays.
fn forget(offline: Offline) {
    let path = Arc::clone(offline.dir.path());
    drop(offline);
    for name in [MANIFEST, META_PROPERTIES, LOCK_FILE] {
        // What cannot be removed is a directory of ours without a topic.
        let _ = fs::remove_file(path.join(name));
    }
    let _ = fs::remove_dir(&path);
}

/// Whether the committed offsets are to stay behind.
fn leaves_offsets(args: &KafkaArgs) -> bool {
    args.except.iter().any(|name| name == CONSUMER_OFFSETS)
}

/// The topics to take.
fn chosen<'a>(metadata: &'a Metadata, args: &KafkaArgs) -> Result<Vec<(TopicId, &'a KafkaTopic)>, Ended> {
    let own = metadata.topics.iter().filter(|(_, topic)| !is_kafkas_own(&topic.name));
    let all: Vec<_> = own.map(|(id, topic)| (*id, topic)).collect();
    for name in args.topic.iter().chain(&args.except) {
        let is_offsets = name == CONSUMER_OFFSETS && args.except.contains(name);
        if !is_offsets && !all.iter().any(|(_, topic)| topic.name == *name) {
            return Err(Ended::Refused(format!("that Kafka has no topic {name}.")));
        }
    }
    let is_wanted = |name: &String| {
        if args.topic.is_empty() { !args.except.contains(name) } else { args.topic.contains(name) }
    };
    Ok(all.into_iter().filter(|(_, topic)| is_wanted(&topic.name)).collect())
}

/// Each partition is here, has one replica, and nothing of it is elsewhere.
fn check_topics(source: &Source, topics: &[(TopicId, &KafkaTopic)]) -> anyhow::Result<()> {
    for (_, topic) in topics {
        let name = &topic.name;
        topic_name::check(name).map_err(|why| Ended::Refused(format!("topic {name}: {why}")))?;
        for (nth, (partition, of)) in topic.partitions.iter().enumerate() {
            if usize::try_from(*partition) != Ok(nth) {
                return Err(Ended::Refused(format!("topic {name} has no partition {nth}.")).into());
            }
            if of.replicas != [source.node_id] {
                return Err(Ended::Refused(format!(
                    "{name}-{partition} is on brokers {}: only partitions with one replica, on this broker, are taken. \
                     Leave the topic out (--except {name}), or reassign it to broker {} first.",
                    table::numbers(&of.replicas),
                    source.node_id
                ))
                .into());
            }
            let Some(dir) = source.partition(name, *partition) else {
                return Err(Ended::Refused(format!(
                    "{name}-{partition} is not in {}. Name all directories of log.dirs.",
                    source.shown()
                ))
                .into());
            };
            source.written(&dir, name, *partition)?;
        }
    }
    Ok(())
}

fn read_offsets(source: &Source, metadata: &Metadata, offsets: &mut Offsets) -> anyhow::Result<()> {
    let Some(topic) = metadata.topics.values().find(|topic| topic.name == CONSUMER_OFFSETS) else {
        return Ok(());
    };
    for partition in topic.partitions.keys() {
        let dir = source.partition(CONSUMER_OFFSETS, *partition).ok_or_else(|| {
            let text =
                format!("{CONSUMER_OFFSETS}-{partition} is not here. Name all directories of log.dirs.");
            Ended::Refused(text)
        })?;
        offsets.read(&dir, &source.written(&dir, CONSUMER_OFFSETS, *partition)?)?;
    }
    Ok(())
}

/// Our data directory, made if it is not there.
fn target(config: &Config, source: &Source, clock: &Clock) -> anyhow::Result<Offline> {
    let is_there = MetaProperties::read(&config.data_dir).is_ok_and(|meta| meta.is_some());
    if is_there {
        return Offline::open(config, clock);
    }
    let cluster_id = config.cluster_id.as_deref().unwrap_or(&source.cluster_id);
    Offline::lock(&config.data_dir, config.node_id, Some(cluster_id), clock)
}

fn check_clashes(offline: &Offline, topics: &[(TopicId, &KafkaTopic)]) -> Result<(), Ended> {
    for (id, topic) in topics {
        let name = &topic.name;
        let clash = match offline.catalog.topic(name) {
            Some(_) => Some(format!("topic {name} exists here already")),
            None => offline
                .catalog
                .colliding(name)
                .map(|other| format!("topic {name} collides with {other} here")),
        };
        let clash = clash.or_else(|| {
            let was_here = offline.catalog.knows_id(*id);
            was_here.then(|| format!("topic {name} was here before, and its files are still being removed"))
        });
        if let Some(clash) = clash {
            return Err(Ended::Refused(format!(
                "{clash}. Nothing was changed. Leave it out: --except {name}"
            )));
        }
    }
    Ok(())
}

/// What there is in that Kafka that has no place here.
fn not_taken(metadata: &Metadata, offsets: &Offsets) -> Vec<String> {
    let counted = metadata.others().chain(offsets.others());
    let mut all: Vec<String> = counted.map(|(what, count)| format!("{what}: {count}")).collect();
    for topic in metadata.topics.values().filter(|topic| is_kafkas_own(&topic.name)) {
        match topic.name.as_str() {
            CONSUMER_OFFSETS => {}
            "__transaction_state" => {
                all.push("transactional ids and their state (__transaction_state)".to_owned())
            }
            name => all.push(format!("Kafka's own topic {name}")),
        }
    }
    all.push("the broker's settings: streamd reads server.properties as it is, with --config".to_owned());
    all
}

/// An import under way.
struct Import<'a> {
    config: &'a Config,
    source: &'a Source,
    metadata: &'a Metadata,
    offline: &'a Offline,
    clock: &'a Clock,
    may_link: bool,
    report: Report,
}

impl Import<'_> {
    fn carry_out(
        &mut self,
        topics: &[(TopicId, &KafkaTopic)],
        mut offsets: Offsets,
        made: &mut Made,
    ) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        for (id, topic) in topics {
            rows.push(self.bring_over(*id, topic, made)?);
        }
        let ids = rows.iter().map(|row| (Arc::clone(&row.name), row.id)).collect();
        let dropped = offsets.keep(&ids);
        if dropped > 0 {
            self.report.not_taken.push(format!("committed offsets of topics that were not taken: {dropped}"));
        }
        let mut records: Vec<Record> = rows.iter().flat_map(TopicRow::records).collect();
        if let Some(row) = self.commit_offsets(&offsets, made)? {
            records.extend(row.records());
        }
        let next = self.metadata.next_producer_id.max(self.offline.catalog.next_producer_id());
        records.push(Record::ProducerIds { node: self.config.node_id, next });
        let log: Vec<_> = records.iter().map(Record::encode).collect();
        self.offline
            .manifest
            .sync()
            .map_err(|error| anyhow::anyhow!("cannot write the manifest: {error}"))?;
        made.unmark().context("cannot finish what was brought over")?;
        self.append_to_catalog(&log)?;
        (self.report.groups, self.report.offsets) = offsets.counts();
        Ok(())
    }

    /// Brings a topic's partitions over; the row that the catalog gets.
    fn bring_over(&mut self, id: TopicId, topic: &KafkaTopic, made: &mut Made) -> anyhow::Result<TopicRow> {
        let overrides = Arc::new(self.settings_of(topic));
        let settings = TopicSettings::clone(&TopicImage::resolve(&overrides, &self.config.topic_defaults));
        let name: Arc<str> = topic.name.as_str().into();
        let mut last_epoch = -1;
        for (partition, known) in &topic.partitions {
            let from = self.source.partition(&name, *partition).context("a partition is gone")?;
            let wanted = Wanted {
                topic: Arc::clone(&name),
                id: TopicPartition { topic: id, partition: *partition },
                settings: settings.clone(),
                written: self.source.written(&from, &name, *partition)?,
                from,
            };
            let placed = place(self.offline, &wanted, self.may_link, made)?;
            last_epoch = last_epoch.max(placed.last_epoch).max(known.leader_epoch);
            self.report.add(&placed);
        }
        self.report.topics.push((topic.name.clone(), topic.partitions.len()));
        // From the next start on leader epochs are above all that its records and clients have seen.
        let next_start = self.offline.catalog.start_epoch().map_or(0, |epoch| epoch.saturating_add(1));
        Ok(TopicRow {
            id,
            name,
            partitions: i32::try_from(topic.partitions.len())?,
            node: self.config.node_id,
            epoch_base: next_start.saturating_sub(last_epoch.saturating_add(1)),
            overrides,
        })
    }

    /// The topic's settings that mean something here.
    fn settings_of(&mut self, topic: &KafkaTopic) -> BTreeMap<String, String> {
        let mut settings = self.metadata.configs.get(&topic.name).cloned().unwrap_or_default();
        settings.retain(|name, value| match topic_settings::validate(name, value) {
            Ok(()) => true,
            Err(why) => {
                self.report.not_taken.push(format!("{}: the setting {name}={value} ({why})", topic.name));
                false
            }
        });
        settings
    }

    /// Writes the committed offsets; returns the row of `__consumer_offsets` if it is to be made.
    fn commit_offsets(&self, offsets: &Offsets, made: &mut Made) -> anyhow::Result<Option<TopicRow>> {
        let known = self.offline.catalog.topic(CONSUMER_OFFSETS);
        let row = match known {
            Some(row) => row.clone(),
            None => self.consumer_offsets()?,
        };
        let mut by_partition: BTreeMap<i32, Vec<&Arc<str>>> = BTreeMap::new();
        for group in offsets.names() {
            by_partition.entry(partition_of(group, row.partitions)).or_default().push(group);
        }
        if by_partition.is_empty() {
            return Ok(None);
        }
        let settings =
            TopicSettings::clone(&TopicImage::resolve(&row.overrides, &self.config.topic_defaults));
        for (partition, groups) in by_partition {
            let id = TopicPartition { topic: row.id, partition };
            let at = self.offline.rows.get(&id).cloned();
            if known.is_none() {
                made.dir(self.offline, &row.name, id)?;
            }
            let mut opened =
                self.offline.open_log(&row.name, id, settings.clone(), at, &mut |_| Replayed::Sound)?;
            let here = groups_in(&opened)?;
            let now = self.clock.now_ms();
            let records: Vec<LogRecord> = groups
                .iter()
                .flat_map(|group| offsets.records(group, here.contains_key(*group), now))
                .collect();
            append(&mut opened, &records, self.clock)?;
        }
        Ok(known.is_none().then_some(row))
    }

    /// The row of a `__consumer_offsets` that is made now.
    fn consumer_offsets(&self) -> anyhow::Result<TopicRow> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        Ok(TopicRow {
            id: TopicId::from_random(random).context("no id could be drawn: try again")?,
            name: CONSUMER_OFFSETS.into(),
            partitions: self.config.offsets.topic_partitions,
            node: self.config.node_id,
            epoch_base: self.offline.catalog.start_epoch().map_or(0, |epoch| epoch.saturating_add(1)),
            overrides: Arc::new(consumer_offsets_settings(&self.config.offsets)),
        })
    }

    /// What makes it all count.
    fn append_to_catalog(&self, records: &[LogRecord]) -> anyhow::Result<()> {
        let mut opened = self.offline.open_catalog().context("the catalog cannot be opened")?;
        append(&mut opened, records, self.clock).context("cannot write to the catalog")
    }
}

/// The groups that a partition of `__consumer_offsets` knows.
fn groups_in(opened: &Opened) -> anyhow::Result<BTreeMap<Arc<str>, ()>> {
    let mut groups = BTreeMap::new();
    let mut fault = None;
    opened.reader.for_each_batch(opened.reader.start(), opened.reader.end(), &mut |batch| {
        let read = each_record(batch, &mut |record| {
            let decoded = Groups::decode(&record, &BatchKind::Plain)?;
            if let Decoded::Own(crate::groups::Record::Group { group, value }) = decoded {
                if value.is_some() {
                    groups.insert(group, ())
                } else {
                    groups.remove(&group)
                };
            }
            Ok(())
        });
        fault = read.err();
        fault.is_none()
    })?;
    fault.map_or(Ok(groups), Err)
}

/// Appends records in one batch, durably: all of them are there after a crash, or none.
fn append(opened: &mut Opened, records: &[LogRecord], clock: &Clock) -> anyhow::Result<()> {
    let mut builder = BatchBuilder::new();
    for record in records {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push(&NewRecord { timestamp: clock.now_ms(), key, value, ..NewRecord::default() });
    }
    let bytes = builder.build()?;
    let header = BatchHeader::parse(&bytes)?;
    let batch = AppendBatch {
        bytes: &bytes,
        header: &header,
        base_offset: opened.writer.end(),
        leader_epoch: opened.reader.last_epoch().unwrap_or(0),
    };
    opened.writer.append(&[batch], clock.now_ms())?;
    opened.writer.close()?;
    sync(opened)
}

/// What became of it.
#[derive(Debug, Default)]
struct Report {
    topics: Vec<(String, usize)>,
    groups: usize,
    offsets: usize,
    /// Offsets that the logs span, which compaction may have thinned out.
    records: i64,
    bytes: u64,
    copied_bytes: u64,
    not_taken: Vec<String>,
}

impl Report {
    fn add(&mut self, placed: &Placed) {
        self.records += placed.offsets;
        self.bytes += placed.bytes;
        self.copied_bytes += placed.copied_bytes;
    }

    fn print(&self, source: &Source, config: &Config, output: Output) -> anyhow::Result<()> {
        let partitions: usize = self.topics.iter().map(|(_, partitions)| partitions).sum();
        let linked = self.bytes - self.copied_bytes;
        print(&match output {
            Output::Json => table::json(&json!({
                "from": source.shown(), "cluster_id": source.cluster_id, "to": config.data_dir.display().to_string(),
                "topics": self.topics.iter().map(|(name, count)| json!({ "name": name, "partitions": count }))
                    .collect::<Vec<_>>(),
                "partitions": partitions, "offsets_spanned": self.records, "bytes": self.bytes,
                "linked_bytes": linked, "groups": self.groups, "committed_offsets": self.offsets,
                "not_taken": self.not_taken,
            }))?,
            Output::Text => {
                let mut text = format!(
                    "imported from {} (cluster {}) into {}:\n",
                    source.shown(),
                    source.cluster_id,
                    config.data_dir.display()
                );
                let _ = writeln!(
                    text,
                    "  {} topics, {partitions} partitions, {} offsets, {} bytes ({linked} of them shared by hard links)",
                    self.topics.len(),
                    self.records,
                    self.bytes
                );
                let _ = writeln!(text, "  {} groups, {} committed offsets", self.groups, self.offsets);
                let _ = writeln!(text, "not taken:");
                for what in &self.not_taken {
                    let _ = writeln!(text, "  {what}");
                }
                text
            }
        })
    }
}
