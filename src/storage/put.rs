//! Small files put in place at once and synced later, together with what they describe.
//!
//! The counterpart of [`super::checkpoint::replace`], which waits for the disk: here the caller hands the file and its
//! directory to the next sync. A crash before that may leave the old file, the new one, or (on some file systems) an
//! empty one; readers check what they read and know a longer way.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::checkpoint::temp_path;

/// Puts a file with these bytes in place of the one at `path`. Sync the returned file and then its directory.
///
/// # Errors
/// What the file system says; the old file stands.
pub(super) fn put(path: &Path, bytes: &[u8]) -> io::Result<Arc<File>> {
    let temp = temp_path(path);
    let write = || {
        let mut file = File::create(&temp)?;
        file.write_all(bytes)?;
        fs::rename(&temp, path)?;
        Ok(Arc::new(file))
    };
    write().inspect_err(|_| drop(fs::remove_file(&temp)))
}
