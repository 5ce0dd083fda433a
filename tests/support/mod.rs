//! A broker under test: the built binary in a process of its own, on a free port, in a directory that goes with it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod cold;
pub mod raw;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a broker may take to serve.
const START_MAX: Duration = Duration::from_secs(30);
/// How long a broker may take to stop when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(20);

/// A running streamd.
pub struct Broker {
    dir: TempDir,
    config: String,
    /// A command that runs the broker, and what it is told before the broker's own command line.
    launcher: Vec<String>,
    child: Option<Child>,
    address: String,
    pub cluster_id: String,
}

impl Broker {
    /// A broker with an empty `broker.toml`: the `prod` profile.
    pub fn start() -> Self {
        Self::with("")
    }

    /// A broker with these lines in its `broker.toml`.
    pub fn with(config: &str) -> Self {
        Self::over(TempDir::new().expect("a temp dir"), config, &[])
    }

    /// A broker in a directory that was prepared for it: its data lies under `data`. With a launcher, that is what is
    /// run, and it gets the broker's command line behind its own.
    pub fn over(dir: TempDir, config: &str, launcher: &[String]) -> Self {
        let mut broker = Self {
            dir,
            config: config.to_owned(),
            launcher: launcher.to_vec(),
            child: None,
            address: String::new(),
            cluster_id: String::new(),
        };
        broker.up();
        broker
    }

    /// Starts the broker again, on another port but with the same data.
    pub fn up(&mut self) {
        self.up_at("127.0.0.1:0");
    }

    /// Starts the broker again at this address.
    pub fn up_at(&mut self, listen: &str) {
        self.spawn(listen);
        self.wait_until_up();
    }

    /// Begins to start the broker and does not wait until it serves.
    pub fn spawn(&mut self, listen: &str) {
        assert!(self.child.is_none(), "it runs already");
        fs::write(self.path("broker.toml"), &self.config).expect("the config can be written");
        let ports = self.ports_file();
        let _ = fs::remove_file(&ports);
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log file");
        let mut words = self.launcher.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_streamd")]);
        let child = Command::new(words.next().expect("a program"))
            .args(words)
            .arg("--config")
            .arg(self.path("broker.toml"))
            .arg("--data-dir")
            .arg(self.data())
            .args(["--set", &format!("listen.kafka={listen}"), "--ports-file"])
            .arg(&ports)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("streamd starts");
        self.child = Some(child);
    }

    /// Waits until the broker that was spawned serves.
    pub fn wait_until_up(&mut self) {
        let ports = self.ports_file();
        let began = Instant::now();
        while !ports.exists() {
            let ended = self.child.as_mut().expect("it was started").try_wait().expect("its state");
            assert!(ended.is_none(), "streamd ended: {ended:?}\n{}", self.log());
            assert!(began.elapsed() < START_MAX, "streamd does not serve\n{}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
        let said: serde_json::Value = serde_json::from_slice(&fs::read(&ports).expect("the ports file"))
            .expect("the ports file is JSON");
        self.address = said["kafka"][0].as_str().expect("an address").to_owned();
        self.cluster_id = said["cluster"].as_str().expect("a cluster id").to_owned();
    }

    fn ports_file(&self) -> PathBuf {
        self.path("ports.json")
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Where its data lies.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// A path in the broker's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The memory that it holds now, in bytes.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The memory that it holds now and that no file stands behind, in bytes.
    pub fn allocated(&self) -> u64 {
        self.memory("RssAnon:")
    }

    fn memory(&self, which: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Waits until it has logged a line that contains `text`, and returns that line.
    pub fn wait_for_log(&self, text: &str) -> String {
        self.wait_for_log_from(0, text)
    }

    /// The same, passing over the log's first `bytes`: what an earlier life of the broker said.
    pub fn wait_for_log_from(&self, bytes: usize, text: &str) -> String {
        let began = Instant::now();
        loop {
            if let Some(line) = self.log()[bytes..].lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(began.elapsed() < STOP_MAX, "nothing was logged of {text:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has logged a line whose message contains `words`, and returns that line's fields.
    pub fn wait_for_event(&self, words: &str) -> serde_json::Value {
        let quoted = serde_json::Value::from(words).to_string();
        let line = self.wait_for_log(quoted.trim_matches('"').trim_end_matches('\\'));
        serde_json::from_str(&line).expect("a line is JSON")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Other lines for `broker.toml`, from the next start on.
    pub fn set_config(&mut self, config: &str) {
        config.clone_into(&mut self.config);
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.wait_until_stopped();
    }

    /// Sends it a signal by its name.
    pub fn signal(&self, name: &str) {
        signal(self.child.as_ref().expect("it runs"), name);
    }

    /// Stops every thread of it where it is, until `SIGCONT`. One that runs takes the signal when it enters the kernel.
    pub fn freeze(&self) {
        self.signal("STOP");
        let stands = |thread: &Path| {
            // One that has ended meanwhile has no state.
            let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_none_or(|state| state.is_empty() || state.starts_with('T'))
        };
        let threads = || fs::read_dir(format!("/proc/{}/task", self.pid())).expect("its threads");
        let began = Instant::now();
        while !threads().all(|thread| stands(&thread.expect("a thread").path())) {
            assert!(began.elapsed() < STOP_MAX, "a thread runs on");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of a broker that was asked to stop, which must be a good one.
    pub fn wait_until_stopped(&mut self) {
        let status = self.wait();
        assert!(status.success(), "streamd stopped with {status}\n{}", self.log());
    }

    /// Waits until the process ends.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("its state") {
                return status;
            }
            assert!(began.elapsed() < STOP_MAX, "streamd does not stop\n{}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills it: no signal handler runs.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// Stops it in order and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.up();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("--- streamd's log ---\n{}", self.log());
        }
    }
}

/// Sends a signal by its name.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot send {name}");
}

/// Runs the built binary to its end and returns its exit code, standard output and standard error.
pub fn streamd(args: &[&str], input: Option<&Path>) -> (i32, String, String) {
    let stdin = input.map_or_else(Stdio::null, |path| File::open(path).expect("the input").into());
    let output = Command::new(env!("CARGO_BIN_EXE_streamd"))
        .args(args)
        .env_clear()
        .stdin(stdin)
        .output()
        .expect("streamd runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
