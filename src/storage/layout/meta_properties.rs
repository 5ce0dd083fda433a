//! `meta.properties`: whose data directory this is, in Kafka's file and keys (`MetaProperties`, version 1).
//!
//! Two keys are ours and Kafka passes over them: `streamd.format`, the version of everything that we keep here, and
//! `streamd.version`, who wrote last. A file without them is Kafka's own.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::META_PROPERTIES;
use crate::types::TopicId;

/// The file as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id`, a UUID; Kafka may leave it out.
    pub directory_id: Option<TopicId>,
    /// Set if streamd wrote the directory.
    pub streamd: Option<WrittenBy>,
}

/// Who of us wrote the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenBy {
    /// `streamd.format`.
    pub format: u32,
    /// `streamd.version`.
    pub version: String,
}

impl MetaProperties {
    /// The file's content.
    pub fn encode(&self) -> String {
        let mut pairs = vec![
            ("cluster.id", self.cluster_id.clone()),
            ("node.id", self.node_id.to_string()),
            ("version", VERSION.to_owned()),
        ];
        pairs.extend(self.directory_id.map(|id| ("directory.id", id.to_string())));
        if let Some(streamd) = &self.streamd {
            pairs.push(("streamd.format", streamd.format.to_string()));
            pairs.push(("streamd.version", streamd.version.clone()));
        }
        pairs.into_iter().map(|(key, value)| format!("{key}={}\n", escape(&value))).collect()
    }

    /// Reads the file in a data directory; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read; `InvalidData` says in which way it is not such a file.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        let mut text = String::new();
        match File::open(dir.join(META_PROPERTIES)) {
            Ok(file) => file.take(SIZE_MAX).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Self::decode(&text).map(Some).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }

    fn decode(text: &str) -> Result<Self, String> {
        let pairs = pairs(text);
        let get = |key: &str| pairs.iter().rfind(|(k, _)| k == key).map(|(_, value)| value.trim());
        // Kafka takes a missing version for 0; a file that has neither that nor version 0's key is none of its own.
        let version = match get("version") {
            Some(version) => version,
            None if get("broker.id").is_some() => "0",
            None => return Err("version is missing".into()),
        };
        // Version 0 is what Kafka with ZooKeeper wrote: known, so that it is recognised.
        let node_key = match version {
            "0" => "broker.id",
            VERSION => "node.id",
            _ => return Err(format!("its version is {version}")),
        };
        let node = get(node_key).ok_or_else(|| format!("{node_key} is missing"))?;
        let node_id = node.parse().map_err(|_| format!("{node_key} is {node:?}"))?;
        let cluster_id = match get("cluster.id") {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ if version == "0" => String::new(),
            _ => return Err("cluster.id is missing".into()),
        };
        let directory_id = match get("directory.id") {
            Some(id) => Some(id.parse().map_err(|_| format!("directory.id is {id:?}"))?),
            None => None,
        };
        let streamd = match get("streamd.format") {
            Some(format) => {
                let format = format.parse().map_err(|_| format!("streamd.format is {format:?}"))?;
                Some(WrittenBy { format, version: get("streamd.version").unwrap_or("?").to_owned() })
            }
            None => None,
        };
        Ok(Self { cluster_id, node_id, directory_id, streamd })
    }
}

/// Keys and values of a Java properties file (`java.util.Properties.load`).
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start_matches(BLANK);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while continues(&logical) {
            logical.pop();
            let Some(next) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(BLANK));
        }
        let (key, value) = split(&logical);
        pairs.push((unescape(key), unescape(value)));
    }
    pairs
}

/// Whether a line ends in an odd number of backslashes: then the next one belongs to it.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// Splits at the first `=`, `:` or blank that no backslash hides.
fn split(line: &str) -> (&str, &str) {
    let mut hidden = false;
    let end = line.find(|c: char| {
        let ends = !hidden && (c == '=' || c == ':' || BLANK.contains(&c));
        hidden = c == '\\' && !hidden;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANK);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(BLANK))
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('t') => out.push('\t'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('f') => out.push('\x0c'),
                Some('u') => {
                    let hex: String = chars.by_ref().take(4).collect();
                    out.extend(u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32));
                }
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | '=' | ':' | '#' | '!') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

const VERSION: &str = "1";
const BLANK: [char; 3] = [' ', '\t', '\x0c'];
/// More than any such file holds, in bytes.
const SIZE_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kafkas_own_file_is_read() {
        let text = "#\n#Sat Nov 21 09:14:00 UTC 2026\ncluster.id=5L6g3nShT-eMCtK--X86sw\nversion=1\n\
                    directory.id=CQkJCQkJCQkJCQkJCQkJCQ\nnode.id=1\n";
        let meta = MetaProperties::decode(text).unwrap();
        assert_eq!((meta.cluster_id.as_str(), meta.node_id), ("5L6g3nShT-eMCtK--X86sw", 1));
        assert_eq!(meta.directory_id, Some(TopicId::from_bytes([9; 16])));
        assert_eq!(meta.streamd, None);
        let old = MetaProperties::decode("version=0\nbroker.id=7\n").unwrap();
        assert_eq!((old.node_id, old.cluster_id.as_str()), (7, ""));
    }

    #[test]
    fn javas_spellings_are_understood() {
        let text = "! note\n  version : 1\r\nnode.id\t 3\ncluster.id = a\\=b\\u0041\\\n   c\n\n";
        let meta = MetaProperties::decode(text).unwrap();
        assert_eq!((meta.node_id, meta.cluster_id.as_str()), (3, "a=bAc"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (text, expected) in [
            ("version=1\ncluster.id=a\n", "node.id is missing"),
            ("version=1\nnode.id=1\n", "cluster.id is missing"),
            ("version=1\nnode.id=x\ncluster.id=a\n", "node.id is \"x\""),
            ("version=2\nnode.id=1\n", "version is 2"),
            ("version=1\nnode.id=1\ncluster.id=a\nstreamd.format=new\n", "streamd.format"),
            ("node.id=abc\n", "version is missing"),
            ("version=0\n", "broker.id is missing"),
            ("", "version is missing"),
        ] {
            let why = MetaProperties::decode(text).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }

    proptest! {
        #[test]
        fn it_survives_its_text(cluster in "[!-~]{1,40}", node_id: i32, id: Option<[u8; 16]>, format: Option<u32>) {
            let meta = MetaProperties {
                cluster_id: cluster,
                node_id,
                directory_id: id.map(TopicId::from_bytes),
                streamd: format.map(|format| WrittenBy { format, version: "0.9.1-rc=1".into() }),
            };
            prop_assert_eq!(MetaProperties::decode(&meta.encode()), Ok(meta));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,300}", escapes in "[\\\\u=:a-f0-9\n ]{0,60}") {
            let _ = MetaProperties::decode(&text);
            let _ = MetaProperties::decode(&escapes);
        }
    }
}
