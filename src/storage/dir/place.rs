//! Whether the data directory is still where it was: somebody may remove it, move it or put another in its place while
//! the broker runs, and open files notice nothing of that.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::DataDir;
use crate::storage::layout::{LOCK_FILE, META_PROPERTIES, MetaProperties};

impl DataDir {
    /// Looks whether the path still leads to this directory, with our lock and our identity in it. Three looks at
    /// inodes and one small file.
    ///
    /// # Errors
    /// What is there instead, in words. What cannot be found out is no error: a file system that does not answer for a
    /// while loses nothing.
    pub fn check_place(&self) -> Result<(), String> {
        match place(&self.path, &self.handle) {
            Place::Same | Place::Unknown => {}
            Place::Gone => return Err("there is no directory any more".to_owned()),
            Place::Other => return Err("another directory is in its place".to_owned()),
        }
        match place(&self.path.join(LOCK_FILE), self.lock.file()) {
            Place::Same | Place::Unknown => {}
            Place::Gone => return Err(format!("its lock file is gone ({LOCK_FILE})")),
            Place::Other => return Err(format!("its lock file is another ({LOCK_FILE})")),
        }
        match MetaProperties::read(&self.path) {
            Ok(None) => Err(format!("{META_PROPERTIES} is gone")),
            Ok(Some(meta)) if !self.is_ours(&meta) => {
                Err(format!("{META_PROPERTIES} is that of another data directory"))
            }
            // Whoever edits the file may be in the midst of it.
            Ok(Some(_)) | Err(_) => Ok(()),
        }
    }

    fn is_ours(&self, meta: &MetaProperties) -> bool {
        (&meta.cluster_id, meta.node_id, meta.directory_id)
            == (&self.meta.cluster_id, self.meta.node_id, self.meta.directory_id)
    }
}

/// What a path leads to.
enum Place {
    Same,
    Other,
    Gone,
    Unknown,
}

/// Whether a path leads to the file that is open.
fn place(path: &Path, open: &File) -> Place {
    use io::ErrorKind::{NotADirectory, NotFound, StaleNetworkFileHandle};
    match (fs::metadata(path), open.metadata()) {
        (Ok(found), Ok(ours)) if (found.dev(), found.ino()) == (ours.dev(), ours.ino()) => Place::Same,
        (Ok(_), Ok(_)) => Place::Other,
        (Err(error), _) | (_, Err(error)) => match error.kind() {
            NotFound | NotADirectory | StaleNetworkFileHandle => Place::Gone,
            _ => Place::Unknown,
        },
    }
}
