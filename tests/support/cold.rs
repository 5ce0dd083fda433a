//! What is on the disk and no longer in memory, and whether it was the disk that it was read from.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use super::Broker;

const TRIED_BYTES: usize = 1 << 20;

/// Puts the logs below this directory on disk and has the kernel forget what they hold, but for what somebody has
/// mapped.
pub fn forget(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            forget(&path);
        } else if path.extension().is_some_and(|extension| extension == "log")
            && let Ok(file) = File::open(&path)
        {
            forget_file(&file).unwrap();
        }
    }
}

fn forget_file(file: &File) -> io::Result<()> {
    file.sync_data()?;
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

/// What a broker has had read from the disk since it was watched.
pub struct DiskReads<'a> {
    broker: &'a Broker,
    before: u64,
}

impl<'a> DiskReads<'a> {
    /// From now on; `None`, and a word on it, where a file that is not in memory is read without the kernel counting it,
    /// as in a file system that has no disk.
    pub fn of(broker: &'a Broker) -> Option<Self> {
        match counted(broker.path("tried").as_path()) {
            Ok(bytes) if bytes >= TRIED_BYTES as u64 => {}
            tried => {
                eprintln!("SKIPPED: whether it is the disk that is read from cannot be seen here: {tried:?}");
                return None;
            }
        }
        let before = read_bytes(&of_process(broker)).expect("its own child can be looked at");
        Some(Self { broker, before })
    }

    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        read_bytes(&of_process(self.broker)).expect("the process runs") - self.before
    }
}

fn of_process(broker: &Broker) -> String {
    format!("/proc/{}/io", broker.pid())
}

/// What the kernel counts for a file that is read when it is not in memory.
fn counted(path: &Path) -> io::Result<u64> {
    const OWN: &str = "/proc/thread-self/io";
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    file.write_all(&vec![7; TRIED_BYTES])?;
    forget_file(&file)?;
    let before = read_bytes(OWN)?;
    File::open(path)?.read_exact(&mut vec![0; TRIED_BYTES])?;
    let counted = read_bytes(OWN)? - before;
    fs::remove_file(path)?;
    Ok(counted)
}

/// Bytes that the kernel has fetched from disks for it.
fn read_bytes(io: &str) -> io::Result<u64> {
    let counts = fs::read_to_string(io)?;
    let bytes = counts.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    bytes.and_then(|bytes| bytes.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
