//! `partition.metadata`: whose a partition directory is (Kafka's `PartitionMetadataFile`).

use std::path::Path;

use super::PARTITION_METADATA;
use crate::storage::text_file::{self, TextFault};
use crate::types::TopicId;

/// The file's content, as Kafka writes it.
pub fn encode_partition_metadata(topic: TopicId) -> String {
    format!("version: {VERSION}\ntopic_id: {topic}")
}

/// Reads the file in a partition's directory; `None` if there is none.
///
/// # Errors
/// [`TextFault`] if it cannot be read or understood: then the directory's owner is unknown (2.2: it is stray).
pub fn read_partition_metadata(dir: &Path) -> Result<Option<TopicId>, TextFault> {
    let path = dir.join(PARTITION_METADATA);
    text_file::read(&path, SIZE_MAX, parse).map_err(|fault| match fault {
        TextFault::Malformed { path, why } if why == NEWER => TextFault::Newer { path },
        fault => fault,
    })
}

fn parse(text: &str) -> Result<TopicId, &'static str> {
    let (mut version, mut topic, mut stranger) = (None, None, false);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (key, value) = line.split_once(':').ok_or("a line is not `key: value`")?;
        match key.trim() {
            "version" => version = Some(value.trim()),
            "topic_id" => topic = Some(value.trim()),
            _ => stranger = true,
        }
    }
    let version = version.ok_or("the version is missing")?;
    if version.parse::<u32>().is_err() {
        return Err("its version is no number");
    }
    if version != VERSION {
        return Err(NEWER);
    }
    if stranger {
        return Err("a key is unknown");
    }
    let id: TopicId =
        topic.ok_or("the topic id is missing")?.parse().map_err(|_| "the topic id is not valid")?;
    if id.is_zero() {
        return Err("the topic id is zero");
    }
    Ok(id)
}

const VERSION: &str = "0";
const NEWER: &str = "its version is newer than 0";
/// More than any such file holds, in bytes; what lies behind is not read.
const SIZE_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(content: &[u8]) -> Result<Option<TopicId>, TextFault> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(PARTITION_METADATA), content).unwrap();
        read_partition_metadata(dir.path())
    }

    #[test]
    fn an_id_survives_the_file() {
        let id = TopicId::from_bytes([9; 16]);
        let text = encode_partition_metadata(id);
        assert_eq!(text, "version: 0\ntopic_id: CQkJCQkJCQkJCQkJCQkJCQ");
        assert_eq!(read(text.as_bytes()).unwrap(), Some(id));
        assert_eq!(read(b"version: 0\r\ntopic_id: CQkJCQkJCQkJCQkJCQkJCQ\r\n").unwrap(), Some(id));
    }

    #[test]
    fn no_file_is_no_id() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_partition_metadata(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_a_fault_and_never_an_id() {
        let cases: [&[u8]; 8] = [
            b"",
            b"version: 0",
            b"topic_id: CQkJCQkJCQkJCQkJCQkJCQ",
            b"version: 1\ntopic_id: CQkJCQkJCQkJCQkJCQkJCQ",
            b"version: 0\ntopic_id: CQkJCQkJCQkJCQkJCQkJC",
            b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
            b"version: 0\ntopic_id: CQkJ\nCQkJCQkJCQkJCQkJCQ",
            &[0xff; 40],
        ];
        for case in cases {
            assert!(read(case).is_err(), "{:?}", String::from_utf8_lossy(case));
        }
    }
}
