//! Crash images: a data directory as files by path, taken from one run of a broker and put down for another.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use streamd::record::batch::BatchHeader;

/// A data directory: the bytes of each file by its path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Reads a directory.
pub(crate) fn load(root: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// Makes a directory hold these files and no others.
pub(crate) fn put(files: &Files, root: &Path) {
    fs::remove_dir_all(root).unwrap();
    for (path, bytes) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// The batches of a log.
pub(crate) fn batches(log: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = log;
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at(BatchHeader::parse(rest).unwrap().total_len());
        found.push(batch.to_vec());
        rest = behind;
    }
    found
}
