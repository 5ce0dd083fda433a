//! A broker, and commands that run against it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;

use crate::support::{Broker, signal};

/// How long a command may take to say what is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const OTHER_BROKER: &str = "STREAMD_TEST_BROKERS";

/// A broker of our own, or the one that the environment names.
pub(crate) struct Scene {
    broker: Option<Broker>,
    address: String,
    /// Makes names unique on a broker that others use too.
    suffix: String,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Scene {
    pub(crate) fn new() -> Self {
        static SCENES: AtomicU32 = AtomicU32::new(0);
        match std::env::var(OTHER_BROKER) {
            Ok(address) => {
                let scene = SCENES.fetch_add(1, Ordering::Relaxed);
                Self { broker: None, address, suffix: format!("-{}-{scene}", std::process::id()) }
            }
            Err(_) => Self::of(Broker::start()),
        }
    }

    /// A broker of our own with these lines in its `broker.toml`, whatever the environment says.
    pub(crate) fn with(config: &str) -> Self {
        Self::of(Broker::with(config))
    }

    /// A broker that runs already.
    pub(crate) fn of(broker: Broker) -> Self {
        let address = broker.address().to_owned();
        Self { broker: Some(broker), address, suffix: String::new() }
    }

    /// Our own broker, to stop and start; `None` when the tests run against another.
    pub(crate) fn broker(&mut self) -> Option<&mut Broker> {
        self.broker.as_mut()
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A name for a topic or group that only this scene uses.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    /// Makes a topic.
    pub(crate) fn topic(&self, name: &str, partitions: u32) -> String {
        let name = self.name(name);
        self.ok(&["topic", "create", &name, "-p", &partitions.to_string()]);
        name
    }

    /// Gives a topic more partitions.
    pub(crate) fn grow(&self, topic: &str, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.address).create().expect("an admin client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let wanted = [NewPartitions::new(topic, partitions)];
        let grown =
            runtime.block_on(admin.create_partitions(&wanted, &AdminOptions::new())).expect("an answer");
        grown.into_iter().for_each(|row| drop(row.expect("it grows")));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamd"));
        command.args(args).env_clear().env("STREAMD_BROKERS", &self.address).env("TZ", "UTC");
        command
    }

    /// Runs a command to its end, with this on its standard input.
    pub(crate) fn run(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("streamd starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        // A command that ends early closes the pipe.
        let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("streamd ends");
        feeder.join().expect("the feeder ends");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Runs a command that has to succeed, and returns what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.feed(args, b"")
    }

    /// The same with input.
    pub(crate) fn feed(&self, args: &[&str], input: &[u8]) -> String {
        let outcome = self.run(args, input);
        assert_eq!(outcome.code, 0, "{args:?}\n{}", outcome.err);
        outcome.out
    }

    /// Runs a command that has to fail with this code, and returns its words.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let outcome = self.run(args, b"");
        assert_eq!(outcome.code, code, "{args:?}\n{outcome:?}");
        outcome.err
    }

    /// Starts a command that goes on, and takes what it says on standard error as lines that it prints.
    pub(crate) fn start_telling(&self, args: &[&str]) -> Running {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(writer.try_clone().expect("a second end")).stderr(writer);
        let child = command.spawn().expect("streamd starts");
        // Holds the writing ends: the reader comes to its end with the child.
        drop(command);
        Running::reading(child, reader)
    }

    /// Starts a command that goes on.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        Running::new(command.spawn().expect("streamd starts"))
    }
}

/// A command that goes on.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        let out = child.stdout.take().expect("a pipe");
        Self::reading(child, out)
    }

    fn reading(child: Child, out: impl std::io::Read + Send + 'static) -> Self {
        let out = BufReader::new(out);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Writes to its standard input.
    pub(crate) fn feed(&mut self, input: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("it reads");
        stdin.flush().expect("it reads");
    }

    /// The next line that it prints.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// The next lines that it prints.
    pub(crate) fn take(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    /// A line, if one comes within this time.
    pub(crate) fn line_within(&self, time: Duration) -> Option<String> {
        self.lines.recv_timeout(time).ok()
    }

    /// Presses Ctrl-C and waits for the end: its exit code and the lines that were left.
    pub(crate) fn interrupt(self) -> (i32, Vec<String>) {
        self.signal("INT");
        self.rest()
    }

    /// Waits for the end: its exit code and the lines that were left.
    pub(crate) fn rest(mut self) -> (i32, Vec<String>) {
        // `wait` closes the standard input, which would be another way to ask for the end.
        let _open = self.child.stdin.take();
        let status = self.child.wait().expect("it ends");
        (status.code().unwrap_or(-1), self.lines.iter().collect())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Its exit code, if it ends within this time.
    pub(crate) fn ends_within(&mut self, time: Duration) -> Option<i32> {
        let began = Instant::now();
        loop {
            match self.child.try_wait().expect("it can be waited for") {
                Some(status) => return Some(status.code().unwrap_or(-1)),
                None if began.elapsed() > time => return None,
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Ends it without a chance to say goodbye.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Closes its standard input.
    pub(crate) fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Closes its standard input and waits for the end.
    pub(crate) fn close(mut self) -> i32 {
        self.end_input();
        self.child.wait().expect("it ends").code().unwrap_or(-1)
    }
}

impl Drop for Running {
    /// What a test has not ended does not outlive it.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a text.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// A table's cells, headings first. Columns are two spaces apart; cells have single ones at most.
pub(crate) fn cells(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect()
}
