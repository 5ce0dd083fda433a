//! A memory cgroup for a broker, of either version.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Gone with it; those in it have to go first.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// A cgroup below that of this process with this limit; `None`, and a word on it, where there cannot be one.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        match Self::make(bytes) {
            Ok(cgroup) => Some(cgroup),
            Err(error) => {
                eprintln!("SKIPPED: no memory cgroup can be made here, which takes root: {error}");
                None
            }
        }
    }

    fn make(bytes: u64) -> io::Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let v1 = own.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| path);
        let v2 = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let (above, limit) = match v1 {
            Some(path) => (format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes"),
            None => (format!("/sys/fs/cgroup{v2}"), "memory.max"),
        };
        let dir = Path::new(&above).join(format!("streamd-pressure-{}", std::process::id()));
        fs::create_dir(&dir)?;
        let cgroup = Self(dir);
        fs::write(cgroup.0.join(limit), bytes.to_string())?;
        // A process may enter.
        fs::metadata(cgroup.0.join("cgroup.procs"))?;
        Ok(cgroup)
    }

    /// The beginning of a shell's line: it enters.
    pub(crate) fn entry(&self) -> String {
        format!("echo $$ > {}/cgroup.procs && ", self.0.display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..50 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        eprintln!("{} stays", self.0.display());
    }
}
