//! The lock on a data directory, and who holds it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use jiff::tz::TimeZone;
use rustix::fs::{FlockOperation, flock};

use crate::storage::layout::LOCK_FILE;
use crate::types::Timestamp;

/// The lock, held until it is dropped or the process ends in whatever way.
#[derive(Debug)]
pub(super) struct DirLock {
    file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub(super) enum LockFault {
    /// Another process has it; in words.
    Held(String),
    Io(io::Error),
}

impl DirLock {
    /// Takes the lock and writes down who did.
    pub(super) fn take(dir: &Path, now: Timestamp) -> Result<Self, LockFault> {
        let path = dir.join(LOCK_FILE);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(LockFault::Io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockFault::Held(holder(&file, now, &TimeZone::system())));
            }
            Err(error) => return Err(LockFault::Io(error.into())),
        }
        // Written over in place and always equally long, so that it needs no space on a full disk but the first time.
        let note = format!("{:<NOTE_LEN$}\n", format!("pid={} started_ms={now}", std::process::id()));
        if let Err(error) = file.write_all_at(note.as_bytes(), 0) {
            tracing::debug!(%error, "the lock is held, but not signed");
        }
        Ok(Self { file })
    }

    /// The locked file, whatever its name leads to by now.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

/// Reads who holds the lock, in words.
fn holder(file: &File, now: Timestamp, zone: &TimeZone) -> String {
    let mut note = String::new();
    let read = file.take(NOTE_LEN as u64).read_to_string(&mut note);
    let field = |key: &str| {
        let value = note.split_ascii_whitespace().find_map(|word| word.strip_prefix(key))?;
        value.parse::<i64>().ok()
    };
    let (Ok(_), Some(pid)) = (read, field("pid=")) else { return "another process".into() };
    let since = field("started_ms=").and_then(|at| time_of_day(at, now, zone));
    match since {
        Some(since) => format!("streamd pid {pid} since {since}"),
        None => format!("streamd pid {pid}"),
    }
}

/// The hour and minute; the date too if it was not today.
fn time_of_day(at: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(at).ok()?.to_zoned(zone.clone());
    let today = jiff::Timestamp::from_millisecond(now).ok()?.to_zoned(zone.clone()).date();
    let format = if at.date() == today { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    Some(at.strftime(format).to_string())
}

const NOTE_LEN: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 09:14:00 UTC.
    const MORNING: Timestamp = 1_795_252_440_000;

    #[test]
    fn a_second_taker_is_told_who_and_since_when() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::take(dir.path(), MORNING).unwrap();
        let Err(LockFault::Held(holder)) = DirLock::take(dir.path(), MORNING + 60_000) else {
            panic!("the lock was given twice")
        };
        assert!(holder.starts_with(&format!("streamd pid {} since ", std::process::id())), "{holder}");
        drop(lock);
        DirLock::take(dir.path(), MORNING).unwrap();
    }

    fn holder_of(note: &[u8], now: Timestamp) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("note"), note).unwrap();
        holder(&File::open(dir.path().join("note")).unwrap(), now, &TimeZone::UTC)
    }

    #[test]
    fn the_note_is_read_or_done_without() {
        let note = format!("pid=77 started_ms={MORNING}");
        assert_eq!(holder_of(note.as_bytes(), MORNING + 3_600_000), "streamd pid 77 since 09:14");
        assert_eq!(holder_of(note.as_bytes(), MORNING + 86_400_000), "streamd pid 77 since 2026-11-21 09:14");
        assert_eq!(holder_of(b"pid=77", MORNING), "streamd pid 77");
        assert_eq!(holder_of(b"pid=77 started_ms=9223372036854775807", MORNING), "streamd pid 77");
        assert_eq!(holder_of(b"", MORNING), "another process");
        assert_eq!(holder_of(&[0xff; 80], MORNING), "another process");
    }
}
