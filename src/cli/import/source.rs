//! An Apache Kafka data directory: whose it is, whether it may be taken, and what is where in it. Only ever read.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::super::exit::Ended;
use super::written::{Checkpoints, Written};
use crate::catalog::names::CLUSTER_METADATA;
use crate::storage::layout::{LOCK_FILE, META_PROPERTIES, MetaProperties, partition_dir};

/// The directories that make up one broker's data (`log.dirs` may name several).
#[derive(Debug)]
pub(super) struct Source {
    dirs: Vec<(PathBuf, Checkpoints)>,
    pub(super) cluster_id: String,
    pub(super) node_id: i32,
}

/// Written by Kafka when it stops in order, removed when it starts.
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

impl Source {
    /// Looks whether these are directories of one Kafka broker that stopped in order.
    ///
    /// # Errors
    /// [`Ended::Refused`] with what is wrong and what to do.
    pub(super) fn open(dirs: &[PathBuf]) -> Result<Self, Ended> {
        let mut found: Option<MetaProperties> = None;
        let mut read = Vec::new();
        for dir in dirs {
            let meta = check(dir)?;
            read.push((dir.clone(), Checkpoints::read(dir)?));
            if let Some(first) = &found
                && (&first.cluster_id, first.node_id) != (&meta.cluster_id, meta.node_id)
            {
                let text = "these directories are not of one broker: cluster.id or node.id differs.";
                return Err(Ended::Refused(text.to_owned()));
            }
            found.get_or_insert(meta);
        }
        let Some(meta) = found else { return Err(Ended::Usage("name a directory.".to_owned())) };
        Ok(Self { dirs: read, cluster_id: meta.cluster_id, node_id: meta.node_id })
    }

    /// The directories, for people.
    pub(super) fn shown(&self) -> String {
        self.dirs.iter().map(|(dir, _)| dir.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Where a partition is, if it is here.
    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<PathBuf> {
        let name = partition_dir(topic, partition);
        self.dirs.iter().map(|(dir, _)| dir.join(&name)).find(|dir| dir.is_dir())
    }

    /// The log of the cluster's metadata.
    ///
    /// # Errors
    /// It is in none of the directories.
    pub(super) fn metadata(&self) -> Result<PathBuf, Ended> {
        self.partition(CLUSTER_METADATA, 0).ok_or_else(|| {
            Ended::Refused(format!(
                "{}: there is no {CLUSTER_METADATA}-0, so nothing says which topics there are. Name all directories of \
                 log.dirs and metadata.log.dir.",
                self.shown()
            ))
        })
    }

    /// What Kafka wrote down about a partition that lies in `dir`.
    ///
    /// # Errors
    /// Nothing says where its log ends.
    pub(super) fn written(&self, dir: &Path, topic: &str, partition: i32) -> anyhow::Result<Written> {
        let root = self.dirs.iter().find(|(root, _)| dir.parent() == Some(root));
        let (_, checkpoints) = root.context("a partition is in no directory")?;
        Ok(checkpoints.of(dir, topic, partition)?)
    }
}

fn check(dir: &Path) -> Result<MetaProperties, Ended> {
    let shown = dir.display();
    let refused = |text: String| Ended::Refused(text);
    if !dir.is_dir() {
        return Err(refused(format!("{shown} is not a directory.")));
    }
    let meta = match MetaProperties::read(dir) {
        Ok(Some(meta)) => meta,
        Ok(None) => {
            return Err(refused(format!(
                "{shown} is no data directory of Apache Kafka: it has no {META_PROPERTIES}."
            )));
        }
        Err(error) => return Err(refused(format!("{}: {error}.", dir.join(META_PROPERTIES).display()))),
    };
    if let Some(by) = &meta.streamd {
        return Err(refused(format!("{shown} is a data directory of streamd {} already.", by.version)));
    }
    if !is_kraft(dir) {
        return Err(refused(format!(
            "{shown} was written by an Apache Kafka with ZooKeeper. Migrate it to KRaft first (Kafka 3.9 does that)."
        )));
    }
    if let Some(pid) = locked_by(dir) {
        return Err(refused(format!("{shown} is in use by pid {pid}. Stop that Kafka first.")));
    }
    if !dir.join(CLEAN_SHUTDOWN).exists() {
        return Err(refused(format!(
            "{shown} was not shut down cleanly ({CLEAN_SHUTDOWN} is missing). Start that Kafka again, stop it with \
             SIGTERM or kafka-server-stop.sh, and wait until it has ended."
        )));
    }
    Ok(meta)
}

/// Whether `meta.properties` has the version that came with KRaft.
fn is_kraft(dir: &Path) -> bool {
    let text = fs::read_to_string(dir.join(META_PROPERTIES)).unwrap_or_default();
    text.lines().any(|line| {
        line.split_once('=').is_some_and(|(key, value)| (key.trim(), value.trim()) == ("version", "1"))
    })
}

/// The process that holds Kafka's lock on the directory.
fn locked_by(dir: &Path) -> Option<i32> {
    let file = File::open(dir.join(LOCK_FILE)).ok()?;
    let held = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).ok()??;
    Some(held.pid.map_or(0, |pid| pid.as_raw_nonzero().get()))
}

/// Puts a file's content under another name: as a second name for the same bytes if that can be, else as a copy. Whether
/// it is a copy.
///
/// # Errors
/// What the file system says.
pub(super) fn link_or_copy(from: &Path, to: &Path, may_link: bool) -> io::Result<bool> {
    if may_link && fs::hard_link(from, to).is_ok() {
        return Ok(false);
    }
    let mut input = File::open(from)?;
    let mut output = File::create_new(to)?;
    io::copy(&mut input, &mut output)?;
    output.sync_all()?;
    Ok(true)
}
