//! Committed offsets: what Kafka's `__consumer_offsets` comes to, and as which records it goes into ours.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::super::offline::each_record;
use super::written::Written;
use crate::coord::{BatchKind, Decoded, LogRecord, StateMachine as _};
use crate::groups::{CommittedOffset, GroupMetadata, Groups, Record};
use crate::record::control::{ControlType, read_marker};
use crate::storage::inspect::{self, Look, Piece};
use crate::storage::layout::{FileKind, FileState, parse_file};
use crate::types::{Timestamp, TopicId};

/// All groups of a Kafka cluster.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    groups: BTreeMap<Arc<str>, Group>,
    /// Groups of other kinds whose state is not taken, by kind.
    others: BTreeMap<&'static str, BTreeMap<Arc<str>, ()>>,
}

#[derive(Debug, Default)]
struct Group {
    /// Whether it has had members, and its generation.
    generation: Option<i32>,
    offsets: BTreeMap<(Arc<str>, i32), CommittedOffset>,
}

/// The kinds of keys that name a group of another kind (Kafka's `CoordinatorRecordType`).
const CONSUMER_GROUP: i16 = 3;
const SHARE_GROUP: i16 = 11;
const STREAMS_GROUP: i16 = 17;

impl Offsets {
    /// Reads one partition of `__consumer_offsets`.
    ///
    /// # Errors
    /// It is damaged, or not whole.
    pub(super) fn read(&mut self, dir: &Path, written: &Written) -> anyhow::Result<()> {
        let mut logs = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(parse_file);
            if let Some(name) =
                name.filter(|name| name.kind == FileKind::Log && name.state == FileState::Live)
            {
                logs.push((name.offset, path));
            }
        }
        logs.sort();
        logs.first().map_or(Ok(()), |(first, _)| written.check_front(*first))?;
        let mut end = 0;
        // Offsets of transactions count when they are committed.
        let mut open: HashMap<i64, Vec<LogRecord>> = HashMap::new();
        for (base, path) in logs {
            end = end.max(base);
            let look = Look { base, next: None, verify: true, bytes: true };
            inspect::segment::<anyhow::Error>(&path, look, &mut |piece| {
                let (header, batch) = match piece {
                    Piece::Epoch { .. } => return Ok(()),
                    Piece::Damage { damage, .. } => {
                        bail!("it is damaged at byte {}: {}", damage.position, damage.why)
                    }
                    Piece::Batch { header, batch, .. } => (header, batch.context("a batch is too large")?),
                };
                end = end.max(header.next_offset());
                if let Some(marker) = read_marker(&batch)? {
                    let ended = open.remove(&header.producer_id).unwrap_or_default();
                    if marker.kind == ControlType::Commit {
                        ended.iter().try_for_each(|record| self.apply(record))?;
                    }
                    return Ok(());
                }
                let transactional = header.attributes.is_transactional();
                each_record(&batch, &mut |record| {
                    if transactional {
                        open.entry(header.producer_id).or_default().push(record);
                        return Ok(());
                    }
                    self.apply(&record)
                })
            })
            .with_context(|| format!("cannot read {}", path.display()))?;
        }
        Ok(written.check_end(end)?)
    }

    fn apply(&mut self, record: &LogRecord) -> anyhow::Result<()> {
        if let Some((kind, group)) = other_group(record) {
            let is_gone = record.value.is_none();
            match kind {
                CONSUMER_GROUP if is_gone => self.group(&group).generation = None,
                CONSUMER_GROUP => self.group(&group).generation = Some(0),
                SHARE_GROUP => self.other("share groups", &group, is_gone),
                STREAMS_GROUP => self.other("streams groups", &group, is_gone),
                _ => {}
            }
            return Ok(());
        }
        match Groups::decode(record, &BatchKind::Plain)? {
            Decoded::Own(Record::Offset { group, topic, partition, value: Some(value) }) => {
                self.group(&group).offsets.insert((topic, partition), value);
            }
            Decoded::Own(Record::Offset { group, topic, partition, value: None }) => {
                self.group(&group).offsets.remove(&(topic, partition));
            }
            Decoded::Own(Record::Group { group, value: Some(value) }) => {
                self.group(&group).generation = Some(value.generation);
            }
            Decoded::Own(Record::Group { group, value: None }) => self.group(&group).generation = None,
            // Offsets of transactions are read as plain ones, once their marker is there.
            Decoded::Own(Record::PendingOffset { .. } | Record::EndTransaction { .. })
            | Decoded::Nothing
            | Decoded::NotOurs(_) => {}
        }
        Ok(())
    }

    fn group(&mut self, id: &Arc<str>) -> &mut Group {
        self.groups.entry(Arc::clone(id)).or_default()
    }

    fn other(&mut self, what: &'static str, group: &Arc<str>, is_gone: bool) {
        let all = self.others.entry(what).or_default();
        if is_gone {
            all.remove(group)
        } else {
            all.insert(Arc::clone(group), ())
        };
    }

    /// How many groups of other kinds there are.
    pub(super) fn others(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        self.others.iter().map(|(what, all)| (*what, all.len())).filter(|(_, count)| *count > 0)
    }

    /// Keeps the offsets of these topics, each under the topic's id. Returns how many of others went.
    pub(super) fn keep(&mut self, topics: &BTreeMap<Arc<str>, TopicId>) -> usize {
        let mut gone = 0;
        for group in self.groups.values_mut() {
            group.offsets.retain(|(topic, _), value| {
                let id = topics.get(topic).copied();
                // An offset of an older topic of the same name is nobody's.
                let is_its = id.is_some_and(|id| value.topic_id.is_zero() || value.topic_id == id);
                value.topic_id = id.unwrap_or(value.topic_id);
                gone += usize::from(!is_its);
                is_its
            });
        }
        self.groups.retain(|_, group| !group.offsets.is_empty());
        gone
    }

    /// How many groups and offsets there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.groups.len(), self.groups.values().map(|group| group.offsets.len()).sum())
    }

    /// The groups.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.keys()
    }

    /// A group's records. A group that had members is recorded as empty since now: it keeps its offsets as long as one
    /// whose last member has just left.
    pub(super) fn records(&self, id: &Arc<str>, is_known: bool, now: Timestamp) -> Vec<LogRecord> {
        let Some(group) = self.groups.get(id) else { return Vec::new() };
        let mut records = Vec::new();
        if let Some(generation) = group.generation.filter(|_| !is_known) {
            records.push(Record::Group {
                group: Arc::clone(id),
                value: Some(Arc::new(GroupMetadata {
                    protocol_type: Some("consumer".into()),
                    generation,
                    protocol: None,
                    leader: None,
                    state_since: Some(now),
                    members: Vec::new(),
                })),
            });
        }
        records.extend(group.offsets.iter().map(|((topic, partition), value)| Record::Offset {
            group: Arc::clone(id),
            topic: Arc::clone(topic),
            partition: *partition,
            value: Some(value.clone()),
        }));
        records.iter().map(Groups::encode).collect()
    }
}

/// The kind and the group of a record that is not about a classic group.
fn other_group(record: &LogRecord) -> Option<(i16, Arc<str>)> {
    let mut reader = crate::wire::Reader::new(record.key.as_ref()?, false);
    let kind = reader.i16().ok()?;
    if [0, 1, 2].contains(&kind) {
        return None;
    }
    Some((kind, reader.str().ok()?.into()))
}
