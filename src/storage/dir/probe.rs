//! What the data directory's file system can do: tried, not looked up.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate};

use crate::storage::flush::WholeSync;
use crate::storage::mmap::ReadMap;
use crate::storage::room::is_no_space;

/// What storage may rely on. Whatever is missing has a slower way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Space can be reserved ahead of the end of a file, so a full disk is told before a write.
    pub reserves_space: bool,
    /// A read-only map made before bytes are written shows them once they are. Some network and desktop mounts do not;
    /// reads then go by `pread`.
    pub maps_show_writes: bool,
    /// One sync of the whole file system may stand for many files: nobody else writes to it, and the kernel reports
    /// failures to whoever asks (Linux 5.8).
    pub syncfs: bool,
    /// The kernel reports failures of such a sync, whoever else writes there.
    pub syncfs_tells: bool,
    /// The file system's type as the kernel names it, e.g. `ext4`; `?` if it does not say.
    pub file_system: String,
}

impl Capabilities {
    /// When one sync of the whole file system may stand for many files.
    pub fn whole_sync(&self) -> WholeSync {
        match (self.syncfs, self.syncfs_tells) {
            (true, _) => WholeSync::Own,
            (false, true) => WholeSync::Shared,
            (false, false) => WholeSync::Never,
        }
    }
}

/// Tries everything, in a file that is removed again. A full disk shows nothing of what the file system can do, and must
/// not keep the broker from starting.
pub(super) fn probe(dir: &Path) -> io::Result<Capabilities> {
    let path = dir.join(PROBE_FILE);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    let (reserves_space, maps_show_writes) = match open {
        Ok(file) => {
            let found = (reserves_space(&file), maps_show_writes(&file));
            fs::remove_file(&path)?;
            (found.0?, found.1.unwrap_or_else(|error| is_no_space(&error)))
        }
        Err(error) if is_no_space(&error) => (true, true),
        Err(error) => return Err(error),
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = find_mount(&mounts, &fs::canonicalize(dir)?);
    let syncfs_tells = kernel_is_at_least(5, 8);
    Ok(Capabilities {
        reserves_space,
        maps_show_writes,
        syncfs: mount.as_ref().is_some_and(|mount| mount.is_own) && syncfs_tells,
        syncfs_tells,
        file_system: mount.map_or_else(|| "?".into(), |mount| mount.kind),
    })
}

fn reserves_space(file: &File) -> io::Result<bool> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, 64 << 10) {
        Ok(()) => Ok(file.metadata()?.len() == 0),
        Err(error) => Ok(is_no_space(&error.into())),
    }
}

/// Maps past the end of the file, writes, and has the kernel copy from the map: never looked at by our own code, so that
/// a page that is not there is an error and not a signal.
fn maps_show_writes(file: &File) -> io::Result<bool> {
    let committed = Arc::new(AtomicU64::new(0));
    let map = ReadMap::new(file, 4 * PAGE, committed.clone())?;
    let (reader, writer) = rustix::pipe::pipe()?;
    for (at, byte) in [(0, b'a'), (2 * PAGE as u64, b'b')] {
        let written = [byte; PAGE];
        file.write_all_at(&written, at)?;
        committed.store(at + PAGE as u64, Ordering::Release);
        let Some(slice) = map.slice(at, PAGE) else { return Ok(false) };
        let mut seen = [0; PAGE];
        let copied = rustix::io::write(&writer, slice)?;
        let read = rustix::io::read(&reader, &mut seen)?;
        if (copied, read) != (PAGE, PAGE) || seen != written {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    kind: String,
    /// Whether the directory, or the one above it, is where a whole file system of its own is mounted.
    is_own: bool,
}

/// The mount that a directory lies in, from the kernel's table (`man 5 proc`: mountinfo).
fn find_mount(table: &str, dir: &Path) -> Option<Mount> {
    let mut best: Option<(usize, Mount)> = None;
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut fields = left.split(' ').skip(3);
        let (Some(root), Some(point)) = (fields.next(), fields.next()) else { continue };
        let point = unescape(point);
        let Ok(below) = dir.strip_prefix(&point) else { continue };
        let depth = Path::new(&point).components().count();
        // A bind mount shows a part of a file system that others use too; the root belongs to everybody.
        let is_own = root == "/" && point != "/" && below.components().count() <= 1;
        let kind = right.split(' ').next().unwrap_or("?").to_owned();
        // Of two mounts on one point the later one is seen.
        if best.as_ref().is_none_or(|(found, _)| depth >= *found) {
            best = Some((depth, Mount { kind, is_own }));
        }
    }
    best.map(|(_, mount)| mount)
}

/// The table writes blanks as octal: `\040`.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

const PROBE_FILE: &str = ".probe.tmp";
/// What a pipe takes in one piece.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 254:16 / /var/lib/streamd rw - xfs /dev/vdb rw
31 22 254:0 /srv/volumes/a /data rw - ext4 /dev/vda rw
32 22 0:40 / /mnt/my\\040disk rw - nfs4 server:/x rw
33 22 254:32 / /home rw - btrfs /dev/vdc rw
not a line
";

    fn mount(dir: &str) -> (String, bool) {
        let mount = find_mount(TABLE, Path::new(dir)).unwrap();
        (mount.kind, mount.is_own)
    }

    #[test]
    fn only_a_file_system_of_its_own_may_be_synced_whole() {
        assert_eq!(mount("/opt/streamd-data"), ("ext4".into(), false), "the root is everybody's");
        assert_eq!(mount("/var/lib/streamd"), ("xfs".into(), true));
        assert_eq!(mount("/var/lib/streamd/data"), ("xfs".into(), true));
        assert_eq!(mount("/data"), ("ext4".into(), false), "a bind mount of a shared disk");
        assert_eq!(mount("/home/me/streamd-data"), ("btrfs".into(), false), "others live there");
        assert_eq!(mount("/mnt/my disk/d").0, "nfs4");
        assert_eq!(find_mount("", Path::new("/x")), None);
    }

    #[test]
    fn this_machine_is_probed_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let found = probe(dir.path()).unwrap();
        assert!(!found.file_system.is_empty());
        assert!(found.maps_show_writes, "tests run on a local disk or in memory");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(kernel_is_at_least(3, 0) && !kernel_is_at_least(99, 0));
    }
}
