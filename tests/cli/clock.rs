//! A broker whose clock a test sets forward: it runs with `clock.c`, which is built when a test first asks. What takes a
//! minute is so tested in a second, with the binary as it is.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::Broker;

/// The clock of one broker.
pub(crate) struct Clock {
    file: File,
    ahead: Duration,
}

impl Clock {
    /// It is so much later, from now on.
    pub(crate) fn forward(&mut self, by: Duration) {
        self.ahead += by;
        self.set();
    }

    fn set(&self) {
        let seconds = i64::try_from(self.ahead.as_secs()).expect("not for ever");
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).expect("the clock can be set");
    }
}

/// A broker with these settings whose clock can be set; `None`, and a word on it, where that is not possible.
pub(crate) fn broker(config: &str) -> Option<(Broker, Clock)> {
    let library = library()?;
    let dir = TempDir::new().expect("a temp dir");
    let path = dir.path().join("clock");
    let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
    let clock = Clock { file, ahead: Duration::ZERO };
    clock.set();
    let set = |name: &str, path: &PathBuf| format!("{name}={}", path.display());
    let launcher = ["env".to_owned(), set("LD_PRELOAD", library), set("CLOCK_FILE", &path)];
    Some((Broker::over(dir, config, &launcher), clock))
}

/// The built library, if it works here.
fn library() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(build) {
        Ok(path) => Some(path),
        Err(why) => {
            eprintln!("SKIPPED: a program's clock cannot be set here: {why}");
            None
        }
    }
}

fn build() -> Result<PathBuf, String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/clock.c");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("clock-{}.so", std::process::id()));
    let built = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&target).arg(source).output();
    let built = built.map_err(|error| format!("cc: {error}"))?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    // A hundred years on, for who asks the time.
    let file = target.with_extension("try");
    fs::write(&file, (100_i64 * 365 * 86_400).to_ne_bytes()).map_err(|error| error.to_string())?;
    let asked = Command::new("date").arg("+%Y").env("LD_PRELOAD", &target).env("CLOCK_FILE", &file).output();
    let asked = asked.map_err(|error| format!("date: {error}"))?;
    match String::from_utf8_lossy(&asked.stdout).trim().parse::<u32>() {
        Ok(2100..) => Ok(target),
        _ => Err(format!("{asked:?}")),
    }
}
