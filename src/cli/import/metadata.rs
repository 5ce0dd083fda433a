//! What a KRaft metadata log says: topics, partitions, settings, producer ids, and how much there is besides.
//!
//! Read are the newest snapshot and the log behind it, in Kafka's record schemas. Kinds that streamd has no use for are
//! counted, so that the import can say what it did not take.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::Bytes;

use super::super::offline::each_record;
use crate::storage::inspect::{self, Look, Piece};
use crate::storage::layout::{FileKind, FileState, parse_file};
use crate::types::TopicId;
use crate::wire::{DecodeError, Reader};

/// The metadata of a Kafka cluster.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) topics: BTreeMap<TopicId, KafkaTopic>,
    /// Settings of topics, by name.
    pub(super) configs: BTreeMap<String, BTreeMap<String, String>>,
    /// The first producer id that nobody was given.
    pub(super) next_producer_id: i64,
    /// What streamd does not take, by what people call it, and how many there are.
    others: BTreeMap<&'static str, BTreeMap<Bytes, ()>>,
    /// Records of a transaction that has not ended yet.
    pending: Option<Vec<Bytes>>,
}

/// A topic of Kafka's.
#[derive(Debug, Default)]
pub(super) struct KafkaTopic {
    pub(super) name: String,
    pub(super) partitions: BTreeMap<i32, KafkaPartition>,
}

/// A partition of Kafka's.
#[derive(Debug, Default)]
pub(super) struct KafkaPartition {
    pub(super) replicas: Vec<i32>,
    /// At least the leader epoch that clients were told of.
    pub(super) leader_epoch: i32,
}

impl Metadata {
    /// Reads `__cluster_metadata-0`.
    ///
    /// # Errors
    /// It is damaged or not whole, or not as Kafka 4.3 writes it.
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let mut metadata = Self::default();
        let mut from = 0;
        if let Some((end, path)) = newest_snapshot(dir)? {
            // A snapshot is whole or is not there.
            let mut any = i64::MAX;
            metadata.replay(&path, 0, 0, &mut any)?;
            from = end;
        }
        let mut logs: Vec<(i64, PathBuf)> = Vec::new();
        // Kafka writes its producers' state where the log ends when it stops, even if there are no producers.
        let mut written_end = from;
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(parse_file);
            match name.filter(|name| name.state == FileState::Live) {
                Some(name) if name.kind == FileKind::Log => logs.push((name.offset, path)),
                Some(name) if name.kind == FileKind::Snapshot => written_end = written_end.max(name.offset),
                _ => {}
            }
        }
        logs.sort();
        let mut next = from;
        for (base, path) in logs {
            metadata.replay(&path, base, from, &mut next)?;
        }
        if next < written_end {
            bail!(missing(dir, next, written_end));
        }
        Ok(metadata)
    }

    /// How many there are of what is not taken.
    pub(super) fn others(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        self.others.iter().map(|(what, all)| (*what, all.len())).filter(|(_, count)| *count > 0)
    }

    /// Applies the records of a file that lie at `from` or behind. No batch may begin behind `next`, which is moved on.
    fn replay(&mut self, path: &Path, base: i64, from: i64, next: &mut i64) -> anyhow::Result<()> {
        let look = Look { base, next: None, verify: true, bytes: true };
        inspect::segment::<anyhow::Error>(path, look, &mut |piece| match piece {
            Piece::Epoch { .. } => Ok(()),
            Piece::Damage { damage, .. } => {
                bail!("{} is damaged at byte {}: {}", path.display(), damage.position, damage.why)
            }
            Piece::Batch { header, batch, .. } => {
                if header.base_offset > *next {
                    bail!(missing(path, *next, header.base_offset));
                }
                *next = header.next_offset().max(*next);
                if header.last_offset() < from || header.attributes.is_control() {
                    return Ok(());
                }
                let batch = batch.context("a batch of the metadata is too large")?;
                each_record(&batch, &mut |record| self.apply(record.value.unwrap_or_default()))
            }
        })
        .with_context(|| format!("cannot read {}", path.display()))
    }

    fn apply(&mut self, value: Bytes) -> anyhow::Result<()> {
        let mut reader = Reader::new(&value, true);
        let head = (|| Ok((reader.uvarint()?, reader.uvarint()?, reader.uvarint()?)))();
        let (frame, kind, _version) = head.map_err(garbled)?;
        if frame != 1 {
            bail!("a record of the metadata has frame version {frame}, not 1");
        }
        match kind {
            kind::BEGIN_TRANSACTION => self.pending = Some(Vec::new()),
            kind::ABORT_TRANSACTION => self.pending = None,
            kind::END_TRANSACTION => {
                for value in self.pending.take().unwrap_or_default() {
                    self.apply(value)?;
                }
            }
            _ => match &mut self.pending {
                Some(pending) => pending.push(value),
                None => self.apply_one(kind, &mut reader).map_err(garbled)?,
            },
        }
        Ok(())
    }

    fn apply_one(&mut self, kind: u32, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        match kind {
            kind::TOPIC => {
                let (name, id) = (r.str()?.to_owned(), r.topic_id()?);
                self.topics.insert(id, KafkaTopic { name, ..KafkaTopic::default() });
            }
            kind::PARTITION => self.partition(r)?,
            kind::PARTITION_CHANGE => self.partition_change(r)?,
            kind::REMOVE_TOPIC => {
                if let Some(topic) = self.topics.remove(&r.topic_id()?) {
                    self.configs.remove(&topic.name);
                }
            }
            kind::CONFIG => self.config(r)?,
            kind::PRODUCER_IDS => {
                let (_node, _broker_epoch) = (r.i32()?, r.i64()?);
                self.next_producer_id = r.i64()?;
            }
            kind::SCRAM => self.count("SCRAM users", &[r.str()?.as_bytes(), &[r.i8()?.cast_unsigned()]]),
            kind::REMOVE_SCRAM => {
                self.forget("SCRAM users", &[r.str()?.as_bytes(), &[r.i8()?.cast_unsigned()]])
            }
            kind::ACL => self.count("ACLs", &[r.topic_id()?.as_bytes()]),
            kind::REMOVE_ACL => self.forget("ACLs", &[r.topic_id()?.as_bytes()]),
            kind::QUOTA => self.quota(r)?,
            kind::DELEGATION_TOKEN => self.count("delegation tokens", &[r.str()?.as_bytes()]),
            // Registrations, features and the controllers' own book-keeping mean nothing to one broker alone.
            _ => {}
        }
        Ok(())
    }

    fn partition(&mut self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        let (partition, topic) = (r.i32()?, r.topic_id()?);
        let replicas = r.array(|r| r.i32())?;
        for _in_sync_removing_adding in 0..3 {
            r.array(|r| r.i32())?;
        }
        let (_leader, leader_epoch) = (r.i32()?, r.i32()?);
        if let Some(topic) = self.topics.get_mut(&topic) {
            topic.partitions.insert(partition, KafkaPartition { replicas, leader_epoch });
        }
        Ok(())
    }

    fn partition_change(&mut self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        /// The tag of the replicas.
        const REPLICAS: u32 = 2;
        let (partition, topic) = (r.i32()?, r.topic_id()?);
        let mut replicas = None;
        r.tags(&[REPLICAS], |_, r| {
            replicas = Some(r.array(|r| r.i32())?);
            Ok(())
        })?;
        if let Some(found) =
            self.topics.get_mut(&topic).and_then(|topic| topic.partitions.get_mut(&partition))
        {
            // Most changes raise the epoch by one; one too many does no harm.
            found.leader_epoch = found.leader_epoch.saturating_add(1);
            found.replicas = replicas.unwrap_or_else(|| found.replicas.clone());
        }
        Ok(())
    }

    fn config(&mut self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        const TOPIC: i8 = 2;
        let (kind, resource, name, value) = (r.i8()?, r.str()?, r.str()?, r.nullable_str()?);
        if kind == TOPIC {
            let settings = self.configs.entry(resource.to_owned()).or_default();
            match value {
                Some(value) => settings.insert(name.to_owned(), value.to_owned()),
                None => settings.remove(name),
            };
            return Ok(());
        }
        let of = [&[kind.cast_unsigned()][..], resource.as_bytes(), b"=", name.as_bytes()];
        match value {
            Some(_) => self.count("settings of brokers, groups and client metrics", &of),
            None => self.forget("settings of brokers, groups and client metrics", &of),
        }
        Ok(())
    }

    fn quota(&mut self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        let entity = r.array(|r| {
            let (kind, name) = (r.str()?.to_owned(), r.nullable_str()?.unwrap_or_default().to_owned());
            r.end()?;
            Ok(format!("{kind}={name};"))
        })?;
        let key = r.str()?;
        let _value = r.i64()?;
        let of = [entity.concat(), key.to_owned()].concat();
        if r.bool()? {
            self.forget("client quotas", &[of.as_bytes()])
        } else {
            self.count("client quotas", &[of.as_bytes()])
        }
        Ok(())
    }

    fn count(&mut self, what: &'static str, of: &[&[u8]]) {
        self.others.entry(what).or_default().insert(of.concat().into(), ());
    }

    fn forget(&mut self, what: &'static str, of: &[&[u8]]) {
        if let Some(all) = self.others.get_mut(what) {
            all.remove(of.concat().as_slice());
        }
    }
}

fn missing(what: &Path, from: i64, to: i64) -> String {
    format!(
        "{}: offsets {from} to {} of the metadata are not there, so topics may be missing. Restore the directory from a \
         copy.",
        what.display(),
        to.saturating_sub(1)
    )
}

fn garbled(error: DecodeError) -> anyhow::Error {
    anyhow::anyhow!("a record of the metadata does not parse: {error}")
}

/// The newest snapshot, and the first offset that it does not cover: `<offset, 20 digits>-<epoch, 10 digits>.checkpoint`.
fn newest_snapshot(dir: &Path) -> anyhow::Result<Option<(i64, PathBuf)>> {
    let mut newest: Option<(i64, i32, PathBuf)> = None;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((offset, epoch)) = name.strip_suffix(".checkpoint").and_then(|name| name.split_once('-'))
        else {
            continue;
        };
        let (Ok(offset), Ok(epoch)) = (offset.parse(), epoch.parse()) else { continue };
        if newest.as_ref().is_none_or(|(o, e, _)| (*o, *e) < (offset, epoch)) {
            newest = Some((offset, epoch, path));
        }
    }
    Ok(newest.map(|(offset, _, path)| (offset, path)))
}

/// Api keys of the metadata's records (Kafka's `MetadataRecordType`).
mod kind {
    pub(super) const TOPIC: u32 = 2;
    pub(super) const PARTITION: u32 = 3;
    pub(super) const CONFIG: u32 = 4;
    pub(super) const PARTITION_CHANGE: u32 = 5;
    pub(super) const REMOVE_TOPIC: u32 = 9;
    pub(super) const DELEGATION_TOKEN: u32 = 10;
    pub(super) const SCRAM: u32 = 11;
    pub(super) const QUOTA: u32 = 14;
    pub(super) const PRODUCER_IDS: u32 = 15;
    pub(super) const ACL: u32 = 18;
    pub(super) const REMOVE_ACL: u32 = 19;
    pub(super) const REMOVE_SCRAM: u32 = 22;
    pub(super) const BEGIN_TRANSACTION: u32 = 23;
    pub(super) const END_TRANSACTION: u32 = 24;
    pub(super) const ABORT_TRANSACTION: u32 = 25;
}
