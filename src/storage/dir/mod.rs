//! The data directory: opened, locked, identified, tried. Everything in it is reached from here.

mod error;
mod identity;
mod lock;
mod place;
mod probe;
mod retire;
mod usage;

pub use error::DirError;
pub use identity::{FORMAT, holds_a_partition};
pub use probe::Capabilities;
pub use retire::{FoundDir, remove_partition_dir};

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::health::DirHealth;
use super::layout::MetaProperties;
use crate::types::{Timestamp, TopicId};
use identity::Found;
use lock::{DirLock, LockFault};

/// What is needed to open a data directory.
#[derive(Debug, Clone, Copy)]
pub struct DirSpec<'a> {
    /// Where it is; made if it is not there.
    pub path: &'a Path,
    /// This node.
    pub node_id: i32,
    /// The cluster id that the settings ask for; without one, the first start makes one.
    pub cluster_id: Option<&'a str>,
    /// Random bytes for the ids that a first start makes.
    pub random: [[u8; 16]; 2],
    /// The wall clock, for whoever is refused the lock meanwhile.
    pub now: Timestamp,
}

/// An open data directory. The lock is held as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: Arc<Path>,
    handle: Arc<File>,
    meta: MetaProperties,
    is_new: bool,
    capabilities: Capabilities,
    health: Arc<DirHealth>,
    lock: DirLock,
}

impl DataDir {
    /// Opens the directory, or makes it. One that is not ours, not for us or in use is left as it was.
    ///
    /// # Errors
    /// [`DirError`], each to be shown as it is.
    pub fn open(spec: &DirSpec<'_>) -> Result<Self, DirError> {
        fs::create_dir_all(spec.path).map_err(|error| refused(spec.path, "make", error))?;
        // Before anything is written: a sync through it reports only what fails from now on.
        let handle = File::open(spec.path).map_err(|error| refused(spec.path, "open", error))?;
        identity::inspect(spec.path)?;
        let lock = DirLock::take(spec.path, spec.now).map_err(|fault| match fault {
            LockFault::Held(holder) => DirError::Locked { path: absolute(spec.path), holder },
            LockFault::Io(error) => refused(spec.path, "lock", error),
        })?;
        // Looked at again: before the lock somebody else may have been at it.
        let found = identity::inspect(spec.path)?;
        let is_new = matches!(found, Found::New);
        if is_new {
            identity::warn_of_strangers(spec.path);
        }
        let meta = identity::establish(spec, found)?;
        let capabilities = probe::probe(spec.path).map_err(|error| refused(spec.path, "try out", error))?;
        Ok(Self {
            path: spec.path.into(),
            handle: Arc::new(handle),
            meta,
            is_new,
            capabilities,
            health: DirHealth::new(),
            lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// The same from the root on, links followed: for people.
    pub fn full_path(&self) -> PathBuf {
        absolute(&self.path)
    }

    /// The directory itself, open since before anything was written: what a sync of it or its file system goes through.
    pub fn handle(&self) -> &Arc<File> {
        &self.handle
    }

    /// The cluster's id, 22 characters unless the settings chose another.
    pub fn cluster_id(&self) -> &str {
        &self.meta.cluster_id
    }

    /// The directory's own id (KIP-858).
    pub fn directory_id(&self) -> TopicId {
        self.meta.directory_id.unwrap_or(TopicId::ZERO)
    }

    /// Whether this start made it: then a missing manifest is nothing to report.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// What its file system can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether it may still be written; shared by all who do.
    pub fn health(&self) -> &Arc<DirHealth> {
        &self.health
    }

    /// Space on its file system.
    ///
    /// # Errors
    /// What the file system says.
    pub fn space(&self) -> io::Result<Space> {
        let found = rustix::fs::fstatvfs(&*self.handle)?;
        Ok(Space {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }
}

/// Space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What we may still use.
    pub free_bytes: u64,
    /// All there is.
    pub total_bytes: u64,
}

/// The path from the root on: a relative one means nothing to whoever reads it elsewhere.
fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// Words for a system's refusal to let us work in `path`.
fn refused(path: &Path, action: &'static str, error: io::Error) -> DirError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => not_writable(path, action, error),
        io::ErrorKind::ReadOnlyFilesystem => DirError::ReadOnly { path: path.to_owned() },
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            DirError::NotADirectory { path: path.to_owned() }
        }
        _ => DirError::Io { action, path: path.to_owned(), error },
    }
}

fn not_writable(path: &Path, action: &'static str, error: io::Error) -> DirError {
    // Of a directory that cannot be made, the one above it that exists is the one that refuses.
    for dir in path.ancestors() {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        if let Ok(found) = fs::metadata(dir) {
            let uid = rustix::process::geteuid().as_raw();
            let (owner, mode) = (owner_name(found.uid()), found.mode() & 0o7777);
            return DirError::NotWritable {
                path: dir.to_owned(),
                owner,
                mode,
                uid,
                ours: found.uid() == uid,
                volume: in_container() && is_mounted(&found),
            };
        }
    }
    DirError::Io { action, path: path.to_owned(), error }
}

fn owner_name(uid: u32) -> String {
    let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}

/// Whether it lies on another file system than the root.
fn is_mounted(found: &fs::Metadata) -> bool {
    fs::metadata("/").is_ok_and(|root| root.dev() != found.dev())
}

fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists())
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

#[cfg(test)]
#[path = "dir_tests.rs"]
mod tests;
