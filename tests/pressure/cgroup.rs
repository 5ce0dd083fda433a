//! A cgroup for a broker, of either version: what memory it may use, how much it may write to its disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use std::os::unix::fs::MetadataExt as _;

/// Gone with it; those in it have to go first.
pub(crate) struct Cgroup {
    dir: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Cgroup {
    /// A cgroup below that of this process whose processes use no more memory than this; `None`, and a word on it, where
    /// there cannot be one.
    pub(crate) fn memory(bytes: u64) -> Option<Self> {
        let made = Self::below_ours("memory").and_then(|cgroup| {
            let limit = cgroup.either("memory.limit_in_bytes", "memory.max");
            fs::write(cgroup.dir.join(limit), bytes.to_string())?;
            Ok(cgroup)
        });
        made.map_err(|error| {
            eprintln!("SKIPPED: no memory cgroup can be made here, which takes root: {error}")
        })
        .ok()
    }

    /// A cgroup below that of this process that can hold back what goes to the disk under this directory; `None`, and a
    /// word on it, where there cannot be one.
    pub(crate) fn disk(dir: &Path) -> Option<(Self, Disk)> {
        let made = Self::below_ours("blkio").and_then(|cgroup| {
            let disk = Disk(disk_of(dir)?);
            cgroup.lets_write(&disk, Some(1 << 40))?;
            Ok((cgroup, disk))
        });
        made.map_err(|error| eprintln!("SKIPPED: no disk can be made slow here, which takes root: {error}"))
            .ok()
    }

    fn below_ours(controller: &str) -> io::Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let v1 = own.lines().find_map(|line| line.split_once(&format!(":{controller}:")));
        let v2 = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let (above, version) = match v1 {
            Some((_, path)) => (format!("/sys/fs/cgroup/{controller}{path}"), Version::One),
            None => (format!("/sys/fs/cgroup{v2}"), Version::Two),
        };
        if version == Version::Two {
            // They may be handed down already, or not be ours to hand down: then what is set below is not there.
            let _ = fs::write(Path::new(&above).join("cgroup.subtree_control"), "+memory +io");
        }
        let dir = Path::new(&above).join(format!("streamd-pressure-{controller}-{}", std::process::id()));
        fs::create_dir(&dir)?;
        let cgroup = Self { dir, version };
        // A process may enter.
        fs::metadata(cgroup.dir.join("cgroup.procs"))?;
        Ok(cgroup)
    }

    fn either(&self, one: &'static str, two: &'static str) -> &'static str {
        if self.version == Version::One { one } else { two }
    }

    /// So many bytes a second go to the disk at most; as many as it takes where that is `None`.
    pub(crate) fn lets_write(&self, disk: &Disk, bytes: Option<u64>) -> io::Result<()> {
        self.lets(disk, ["blkio.throttle.write_bps_device", "wbps"], bytes)
    }

    /// So many bytes a second come from the disk at most; as many as it gives where that is `None`.
    pub(crate) fn lets_read(&self, disk: &Disk, bytes: Option<u64>) -> io::Result<()> {
        self.lets(disk, ["blkio.throttle.read_bps_device", "rbps"], bytes)
    }

    fn lets(&self, Disk(disk): &Disk, [file, word]: [&'static str; 2], bytes: Option<u64>) -> io::Result<()> {
        let line = match (self.version, bytes) {
            (Version::One, bytes) => format!("{disk} {}", bytes.unwrap_or(0)),
            (Version::Two, Some(bytes)) => format!("{disk} {word}={bytes}"),
            (Version::Two, None) => format!("{disk} {word}=max"),
        };
        fs::write(self.dir.join(self.either(file, "io.max")), line)
    }

    /// The beginning of a shell's line: it enters.
    pub(crate) fn entry(&self) -> String {
        format!("echo $$ > {}/cgroup.procs && ", self.dir.display())
    }
}

/// A disk by its numbers, `MAJOR:MINOR`.
pub(crate) struct Disk(String);

/// What lies under this directory: a whole disk, for parts of one cannot be held back.
fn disk_of(dir: &Path) -> io::Result<String> {
    let device = fs::metadata(dir)?.dev();
    let numbers = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let about = Path::new("/sys/dev/block").join(&numbers);
    if about.join("partition").exists() {
        return Ok(fs::read_to_string(about.join("../dev"))?.trim().to_owned());
    }
    if about.exists() { Ok(numbers) } else { Err(io::Error::other(format!("{numbers} is not a disk"))) }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..50 {
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        eprintln!("{} stays", self.dir.display());
    }
}
