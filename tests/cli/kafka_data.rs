//! The data directory that Apache Kafka 4.3.1 wrote (`tests/data/kafka`), unpacked.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub(crate) struct KafkaData {
    dir: TempDir,
}

impl KafkaData {
    pub(crate) fn unpack() -> Self {
        let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kafka/kafka-data.tar.gz");
        let mut bytes = Vec::new();
        let file = fs::File::open(packed).unwrap();
        flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        let dir = TempDir::new().unwrap();
        untar(&bytes, dir.path());
        Self { dir }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Every file with its content.
    pub(crate) fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        read_all(&self.path(), &mut all);
        all
    }
}

/// Every file below a directory, with its content.
pub(crate) fn read_all(dir: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, all);
        } else {
            all.insert(path.clone(), fs::read(path).unwrap());
        }
    }
}

/// Regular files and directories of a ustar archive.
fn untar(mut bytes: &[u8], to: &Path) {
    let text = |field: &[u8]| {
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        String::from_utf8(field[..end].to_vec()).unwrap()
    };
    while let Some((header, rest)) = bytes.split_at_checked(512).filter(|(header, _)| header[0] != 0) {
        let name = text(&header[..100]);
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
        match header[156] {
            b'5' => fs::create_dir_all(to.join(name)).unwrap(),
            b'0' => fs::write(to.join(name), &rest[..size]).unwrap(),
            kind => panic!("an entry of type {kind}"),
        }
        bytes = &rest[size.div_ceil(512) * 512..];
    }
}
