//! A broker whose system calls can be made to fail, or to stand still: it runs under `inject.c`, which is built when a test first asks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::Broker;

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;

/// Every call that changes a file or makes one.
pub(crate) const WRITES: [&str; 8] =
    ["write", "pwrite", "pwritev", "pwritev2", "fallocate", "create", "rename", "mkdir"];
/// Every call that waits for the disk.
pub(crate) const SYNCS: [&str; 3] = ["fsync", "fdatasync", "syncfs"];
/// Every call that reads a file at a place.
pub(crate) const READS: [&str; 4] = ["pread", "preadv", "preadv2", "sendfile"];

/// The rules of one broker.
pub(crate) struct Faults {
    rules: PathBuf,
}

impl Faults {
    fn new(dir: &Path) -> Self {
        Self { rules: dir.join("rules") }
    }

    /// From now on these calls on files with `path` in their paths fail with `errno`, or stand still if that is 0; of reads
    /// those at `from` or behind it.
    pub(crate) fn set(&self, calls: &[&str], path: &str, errno: i32, from: u64) {
        let rules: String = calls.iter().map(|call| format!("{call} {path} {errno} {from}\n")).collect();
        let next = self.rules.with_extension("next");
        fs::write(&next, rules).expect("the rules can be written");
        fs::rename(next, &self.rules).expect("the rules can be put in place");
    }

    /// Nothing fails any more.
    pub(crate) fn clear(&self) {
        fs::remove_file(&self.rules).expect("there are rules");
    }

    /// The calls that were failed, each with its path.
    pub(crate) fn met(&self) -> Vec<String> {
        let met = fs::read_to_string(self.rules.with_extension("met")).unwrap_or_default();
        met.lines().map(str::to_owned).collect()
    }

    /// Forgets what was met.
    pub(crate) fn forget(&self) {
        let _none = fs::remove_file(self.rules.with_extension("met"));
    }
}

/// A broker with these settings that runs under the injector; `None`, and a word on it, where that is not possible.
pub(crate) fn broker(config: &str) -> Option<(Broker, Faults)> {
    broker_behind(&[], config)
}

/// The same behind a program that runs what it is told.
pub(crate) fn broker_behind(program: &[String], config: &str) -> Option<(Broker, Faults)> {
    let injector = injector()?;
    let dir = TempDir::new().expect("a temp dir");
    let faults = Faults::new(dir.path());
    let own = [injector, &faults.rules].map(|path| path.display().to_string());
    Some((Broker::over(dir, config, &[program, &own].concat()), faults))
}

/// The built injector, if it works here.
fn injector() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(build) {
        Ok(path) => Some(path),
        Err(why) => {
            eprintln!("SKIPPED: system calls cannot be made to fail here: {why}");
            None
        }
    }
}

fn build() -> Result<PathBuf, String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/inject.c");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("inject-{}", std::process::id()));
    let built = Command::new("cc").args(["-O1", "-o"]).arg(&target).arg(source).output();
    let built = built.map_err(|error| format!("cc: {error}"))?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    let tried = Command::new(&target).args(["/nowhere", "/bin/true"]).output();
    let tried = tried.map_err(|error| error.to_string())?;
    if tried.status.success() { Ok(target) } else { Err(String::from_utf8_lossy(&tried.stderr).into_owned()) }
}
