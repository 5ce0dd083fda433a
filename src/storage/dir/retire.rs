//! Partition directories on their way out of use: renamed at once, so that the name is free, and removed later.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::DataDir;
use crate::storage::layout::{DirKind, deleted_dir, parse_dir, partition_dir, stray_dir};
use crate::types::TopicId;

/// A partition directory that was found in the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDir {
    /// Where it is.
    pub path: PathBuf,
    /// The topic in its name.
    pub topic: String,
    /// The partition in its name.
    pub partition: i32,
    /// What its name says of it.
    pub kind: DirKind,
}

impl DataDir {
    /// Every partition directory, in no order. After an unclean stop it shows those without a manifest row, and after
    /// any stop those that are still to be removed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn partition_dirs(&self) -> io::Result<Vec<FoundDir>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(parsed) = name.to_str().and_then(parse_dir)
                && entry.file_type()?.is_dir()
            {
                let (topic, partition, kind) = (parsed.topic.to_owned(), parsed.partition, parsed.kind);
                found.push(FoundDir { path: entry.path(), topic, partition, kind });
            }
        }
        Ok(found)
    }

    /// Renames a deleted partition's directory out of the way and says where it is now, to be removed with
    /// [`remove_partition_dir`]; `None` if there was none. `id` is the deleted topic's.
    ///
    /// The rename need not be durable before the deletion is answered: the catalog knows that the topic is gone.
    ///
    /// # Errors
    /// What the file system says. On a full disk a rename may fail too: then remove the directory where it is.
    pub fn retire_deleted(&self, topic: &str, partition: i32, id: TopicId) -> io::Result<Option<PathBuf>> {
        self.retire(topic, partition, |unique| deleted_dir(topic, partition, unique), id)
    }

    /// Renames a directory that belongs to no known topic out of the way; it is never served and never removed by us.
    ///
    /// # Errors
    /// What the file system says.
    pub fn retire_stray(&self, topic: &str, partition: i32, id: TopicId) -> io::Result<Option<PathBuf>> {
        self.retire(topic, partition, |unique| stray_dir(topic, partition, unique), id)
    }

    fn retire(
        &self,
        topic: &str,
        partition: i32,
        name: impl Fn(TopicId) -> String,
        id: TopicId,
    ) -> io::Result<Option<PathBuf>> {
        let from = self.path().join(partition_dir(topic, partition));
        let mut unique = u128::from_be_bytes(*id.as_bytes());
        for _ in 0..RENAMES_MAX {
            let to = self.path().join(name(TopicId::from_bytes(unique.to_be_bytes())));
            match fs::rename(&from, &to) {
                Ok(()) => return Ok(Some(to)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                // The name is taken by an earlier one of the same id; only a stray without an id meets that.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    unique = unique.wrapping_add(1)
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("no free name to move {} to", from.display()),
        ))
    }
}

/// Removes a retired directory with all that is in it. That it is gone already is no error.
///
/// # Errors
/// What the file system says.
pub fn remove_partition_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

const RENAMES_MAX: usize = 10_000;
