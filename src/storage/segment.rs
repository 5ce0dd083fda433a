//! One segment: its file, its length and what is known of it; and the bound on how many files stand open.

use std::fs::File;
use std::io;
use std::sync::Arc;

/// The process's bound on open segment files and maps.
#[derive(Debug)]
pub struct FileCache {}

impl FileCache {
    /// At most `open_max` descriptors and `maps_max` maps (0: none; reads then go by `pread`).
    pub fn new(open_max: usize, maps_max: usize) -> Arc<Self> {
        let _ = (open_max, maps_max);
        Arc::new(Self {})
    }
}

/// A segment's `.log`, open.
#[derive(Debug)]
pub struct SegmentFile {
    log: Arc<File>,
}

impl SegmentFile {
    /// The file.
    pub fn log(&self) -> &File {
        &self.log
    }
}

/// Reads what is in memory of `into`'s length at `position`: the bytes read, 0 if the first is not resident.
pub(in crate::storage) fn read_resident(file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
    let _ = (file, position, into);
    Ok(0)
}
