//! Small files put in place at once and synced later, together with what they describe.
//!
//! The counterpart of [`super::checkpoint::replace`], which waits for the disk: here the caller hands the file and its
//! directory to the next sync by name. A crash before that may leave the old file, the new one, or (on some file systems) an
//! empty one; readers check what they read and know a longer way.

use std::fs;
use std::io;
use std::path::Path;

use super::checkpoint::temp_path;

/// Puts a file with these bytes in place of the one at `path`. To be synced: the file and its directory.
///
/// # Errors
/// What the file system says; the old file stands.
pub(super) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = temp_path(path);
    fs::write(&temp, bytes)
        .and_then(|()| fs::rename(&temp, path))
        .inspect_err(|_| drop(fs::remove_file(&temp)))
}
