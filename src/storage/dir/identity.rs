//! Whose data directory it is: read, checked against the settings, made at the first start.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use super::{DirError, DirSpec};
use crate::storage::checkpoint::replace;
use crate::storage::layout::{DirKind, MANIFEST, META_PROPERTIES, MetaProperties, WrittenBy, parse_dir};
use crate::types::TopicId;

/// The newest format of a data directory that this release reads and writes.
pub const FORMAT: u32 = 1;

/// What stands in a directory before anything is changed in it.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing of anybody's.
    New,
    /// Ours, of a format that we know.
    Ours(MetaProperties),
}

/// Looks who wrote the directory. Changes nothing, so it can be asked before the lock is held.
pub(super) fn inspect(dir: &Path) -> Result<Found, DirError> {
    let path = dir.join(META_PROPERTIES);
    let meta = match MetaProperties::read(dir) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(DirError::BadIdentity { path, why: error.to_string() });
        }
        Err(error) => return Err(DirError::Io { action: "read", path, error }),
    };
    match meta {
        Some(meta) => match &meta.streamd {
            Some(by) if by.format > FORMAT => Err(DirError::Newer {
                path: dir.to_owned(),
                theirs: by.version.clone(),
                format: by.format,
                ours: RELEASE.into(),
                newest: FORMAT,
            }),
            Some(_) => Ok(Found::Ours(meta)),
            None if dir.join(MANIFEST).exists() => Err(DirError::BadIdentity {
                path,
                why: "it does not say that streamd wrote it, and streamd.manifest is beside it".into(),
            }),
            None => Err(DirError::Kafka { path: dir.to_owned(), topics: count_topics(dir)? }),
        },
        None => match count_topics(dir)? {
            0 => Ok(Found::New),
            topics => Err(DirError::NoIdentity { path: dir.to_owned(), topics }),
        },
    }
}

/// Says in the log what stands in a directory that nobody has used for this before: a mistyped `data_dir` may be
/// somebody's home.
pub(super) fn warn_of_strangers(dir: &Path) {
    let strangers = strangers(dir);
    if let Some(shown) =
        strangers.get(..strangers.len().min(STRANGERS_SHOWN_MAX)).filter(|shown| !shown.is_empty())
    {
        let more = match strangers.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        tracing::warn!(
            "data_dir {} is new to streamd and not empty: it holds {}{more}. streamd leaves that alone and keeps its own \
             files beside it; if that is not meant, stop it and name an empty directory: --data-dir DIR",
            dir.display(),
            shown.join(", ")
        );
    }
}

/// What is not ours, by name. Hidden files and what file systems have in their root are nobody's.
fn strangers(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_known = |name: &String| {
        name.starts_with('.')
            || name == "lost+found"
            || name.starts_with(MANIFEST)
            || name.starts_with(META_PROPERTIES)
    };
    let mut names: Vec<String> = names.filter(|name| !is_known(name)).collect();
    names.sort_unstable();
    names
}

/// Checks what was found against the settings, and makes what is missing.
pub(super) fn establish(spec: &DirSpec<'_>, found: Found) -> Result<MetaProperties, DirError> {
    let wanted = spec.cluster_id.map(str::trim).filter(|id| !id.is_empty());
    if let Some(wanted) =
        wanted.filter(|id| id.len() > CLUSTER_ID_LEN_MAX || !id.bytes().all(|b| b.is_ascii_graphic()))
    {
        return Err(DirError::BadClusterId { wanted: wanted.into() });
    }
    let written_by = Some(WrittenBy { format: FORMAT, version: RELEASE.into() });
    match found {
        Found::New => {
            let [cluster, directory] = spec.random.map(uuid);
            let cluster_id = wanted.map_or_else(|| cluster.to_string(), str::to_owned);
            let meta = MetaProperties {
                cluster_id,
                node_id: spec.node_id,
                directory_id: Some(directory),
                streamd: written_by,
            };
            write(spec.path, &meta)?;
            Ok(meta)
        }
        Found::Ours(meta) => {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != meta.cluster_id) {
                return Err(DirError::ClusterId { wanted: wanted.into(), found: meta.cluster_id });
            }
            if meta.node_id != spec.node_id {
                return Err(DirError::NodeId { wanted: spec.node_id, found: meta.node_id });
            }
            if meta.streamd == written_by {
                return Ok(meta);
            }
            // From here on an older release that does not know our format has to keep off. While the format is the
            // same, only a refusal's wording hangs on it: no reason not to start on a full disk.
            let same_format = meta.streamd.as_ref().is_some_and(|by| by.format == FORMAT);
            let meta = MetaProperties { streamd: written_by, ..meta };
            match write(spec.path, &meta) {
                Err(DirError::Io { error, .. }) if same_format => {
                    tracing::warn!(%error, "cannot note this release in the data directory");
                    Ok(meta)
                }
                result => result.map(|()| meta),
            }
        }
    }
}

fn write(dir: &Path, meta: &MetaProperties) -> Result<(), DirError> {
    let path = dir.join(META_PROPERTIES);
    replace(&path, meta.encode().as_bytes()).map_err(|error| DirError::Io { action: "write", path, error })
}

/// A version 4 UUID whose text does not begin with `-`, which Kafka's tools take for an option.
fn uuid(mut random: [u8; 16]) -> TopicId {
    loop {
        if let Some(id) = TopicId::from_random(random) {
            return id;
        }
        // '-' is 62: any other first bits will do.
        random[0] ^= 0x80;
    }
}

/// Distinct topics that have a partition directory here.
fn count_topics(dir: &Path) -> Result<usize, DirError> {
    let fault = |error| DirError::Io { action: "list", path: dir.to_owned(), error };
    let mut topics = HashSet::new();
    for entry in fs::read_dir(dir).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if let Some(name) = entry.file_name().to_str()
            && let Some(parsed) = parse_dir(name)
            && parsed.kind == DirKind::Live
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && holds_a_partition(&entry.path())
        {
            topics.insert(parsed.topic.to_owned());
        }
    }
    Ok(topics.len())
}

/// Whether a directory holds what a partition holds; a folder called `backup-1` may be anything.
pub fn holds_a_partition(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name == crate::storage::layout::PARTITION_METADATA
            || crate::storage::layout::parse_file(&name).is_some()
    })
}

const RELEASE: &str = env!("CARGO_PKG_VERSION");
/// Names that a warning shows.
const STRANGERS_SHOWN_MAX: usize = 3;
const CLUSTER_ID_LEN_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_ours_nor_hidden_is_a_stranger() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".lock", "lost+found", "streamd.manifest", "meta.properties.tmp"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        assert_eq!(strangers(dir.path()), Vec::<String>::new());
        fs::create_dir(dir.path().join("photos")).unwrap();
        fs::write(dir.path().join("letter.txt"), b"").unwrap();
        assert_eq!(strangers(dir.path()), ["letter.txt", "photos"]);
    }
}
