//! Kafka's small text files beside the logs: how they are read, and why one cannot be believed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A text file cannot be believed; it counts as missing.
#[derive(Debug, thiserror::Error)]
pub enum TextFault {
    /// The file system refused.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// A later release wrote it, and what it says is not known here.
    #[error("{} has a later version than is known here", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The content is not what Kafka or we write.
    #[error("{} is damaged: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and in which way.
        why: String,
    },
}

impl TextFault {
    /// The file's content makes no sense.
    pub(super) fn malformed(path: &Path, why: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), why: why.into() }
    }
}

/// Reads a file of which at most `bytes_max` are looked at, and makes of it what `decode` does; `None` if there is no
/// file.
///
/// # Errors
/// It cannot be read, is no text, or `decode` says what is wrong with it.
pub(super) fn read<T, E: Into<String>>(
    path: &Path,
    bytes_max: u64,
    decode: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, TextFault> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(bytes_max).read_to_string(&mut text)) {
        Ok(_) => decode(&text).map(Some).map_err(|why| TextFault::malformed(path, why)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(TextFault::malformed(path, "it is not text"))
        }
        Err(error) => Err(TextFault::Io { path: path.to_owned(), error }),
    }
}
