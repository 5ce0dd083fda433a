//! What scripts are written in: connections that send requests, and the transcript of what came back.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock;
use crate::codec::{self, Reader};
use crate::normal::Names;
use crate::schema::{self, Api};
use crate::tree::Tree;

/// How long an answer may take before there is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a step that is not recorded is tried again.
const SETTLE: Duration = Duration::from_secs(15);

/// One request and what came of it, in comparable form.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) label: String,
    pub(crate) api: String,
    pub(crate) version: i16,
    /// The client id of the connection.
    pub(crate) client: String,
    pub(crate) request: String,
    pub(crate) answer: Tree,
}

/// What a script runs in: one broker, names of its own, a transcript.
#[derive(Clone)]
pub(crate) struct Session {
    address: SocketAddr,
    prefix: String,
    transcript: Rc<RefCell<Transcript>>,
}

struct Transcript {
    names: Names,
    exchanges: Vec<Exchange>,
}

/// A topic made for a script.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: String,
}

impl Session {
    pub(crate) fn new(address: SocketAddr, script: &str) -> Self {
        let prefix = script.replace(['/', '_'], "-");
        let names = Names::new(address, clock::wall_ms(), &format!("{prefix}."));
        let transcript = Transcript { names, exchanges: Vec::new() };
        Self { address, prefix, transcript: Rc::new(RefCell::new(transcript)) }
    }

    pub(crate) fn into_exchanges(self) -> Vec<Exchange> {
        std::mem::take(&mut self.transcript.borrow_mut().exchanges)
    }

    /// A name for a topic or group that no other script uses.
    pub(crate) fn name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.prefix)
    }

    pub(crate) fn connect(&self) -> Connection {
        self.connect_as("truth")
    }

    /// A connection with a client id of its own.
    pub(crate) fn connect_as(&self, client: &str) -> Connection {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection {
            stream,
            client: client.to_owned(),
            next: Cell::new(1),
            patience: Cell::new(PATIENCE),
            transcript: Rc::clone(&self.transcript),
        }
    }

    /// Makes a topic, unrecorded, and waits until every API serves it.
    pub(crate) fn topic(&self, suffix: &str, partitions: i32) -> Topic {
        self.topic_with(suffix, partitions, &[])
    }

    pub(crate) fn topic_with(&self, suffix: &str, partitions: i32, configs: &[(&str, &str)]) -> Topic {
        let name = self.name(suffix);
        let connection = self.connect();
        let configs: Vec<Value> = configs.iter().map(|(k, v)| json!({"name": k, "value": v})).collect();
        let topics = json!([
            {"name": name, "num_partitions": partitions, "replication_factor": 1, "configs": configs}
        ]);
        let made = connection.quiet("CreateTopics", 7, json!({"topics": topics, "timeout_ms": 30_000}));
        assert_eq!(made.int("topics[0].error_code"), 0, "making {name}: {:?}", made.tree);
        let id = made.text("topics[0].topic_id");
        self.served(&name, partitions);
        Topic { name, id }
    }

    /// Waits until `name` has this many partitions with a leader that serves them.
    pub(crate) fn served(&self, name: &str, partitions: i32) {
        let connection = self.connect();
        self.until(&format!("{name} is served"), || {
            let all: Vec<Value> =
                (0..partitions).map(|p| json!({"partition_index": p, "timestamp": -1})).collect();
            let topics = json!({"replica_id": -1, "topics": [{"name": name, "partitions": all}]});
            let offsets = connection.quiet("ListOffsets", 5, topics);
            let named = json!({"topics": [{"name": name}], "allow_auto_topic_creation": false});
            let seen = connection.quiet("Metadata", 8, named);
            (0..partitions).all(|p| offsets.int(&format!("topics[0].partitions[{p}].error_code")) == 0)
                && seen.tree.at(&format!("topics[0].partitions[{}]", partitions - 1)).is_some()
        });
    }

    /// Waits until Metadata no longer knows the topic.
    pub(crate) fn gone(&self, name: &str) {
        let connection = self.connect();
        let request = json!({"topics": [{"name": name}], "allow_auto_topic_creation": false});
        self.until(&format!("{name} is gone"), || {
            connection.quiet("Metadata", 8, request.clone()).int("topics[0].error_code") == 3
        });
    }

    /// Tries until `done`, for a while.
    pub(crate) fn until(&self, what: &str, done: impl Fn() -> bool) {
        let start = clock::now();
        while !done() {
            assert!(start.elapsed() < SETTLE, "gave up waiting until {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Milliseconds since 1970, as the broker sees them.
    pub(crate) fn now(&self) -> i64 {
        clock::wall_ms()
    }
}

/// A connection to the broker.
pub(crate) struct Connection {
    stream: TcpStream,
    client: String,
    next: Cell<i32>,
    patience: Cell<Duration>,
    transcript: Rc<RefCell<Transcript>>,
}

/// A request whose answer has not been read.
#[must_use]
pub(crate) struct Pending<'a> {
    connection: &'a Connection,
    label: String,
    api: &'static Api,
    version: i16,
    correlation: i32,
    request: Tree,
    own: bool,
    hidden: &'static [&'static str],
}

/// How a raw frame's answer is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum As {
    /// As the answer of this API at this version.
    Answer(&'static str, i16),
    /// The same, recording the fields of these names as hidden.
    Hiding(&'static str, i16, &'static [&'static str]),
    /// As bytes: none is expected.
    Nothing,
}

enum Received {
    Frame(Vec<u8>),
    Closed,
    Silence,
}

impl Connection {
    /// Sends a request, records it and its answer.
    pub(crate) fn call(&self, label: &str, api: &str, version: i16, fields: Value) -> Answer {
        self.send(label, api, version, fields).answer()
    }

    /// One call for each of these versions.
    pub(crate) fn each(
        &self,
        label: &str,
        api: &str,
        versions: RangeInclusive<i16>,
        fields: impl Fn(i16) -> Value,
    ) -> Vec<Answer> {
        versions.map(|version| self.call(label, api, version, fields(version))).collect()
    }

    /// One call for each version that Kafka has.
    pub(crate) fn every(&self, label: &str, api: &str, fields: impl Fn(i16) -> Value) -> Vec<Answer> {
        self.each(label, api, schema::api(api).versions.clone(), fields)
    }

    /// As [`Self::call`]; also records whether the answer came at once or after the wait that the request allows.
    pub(crate) fn timed(
        &self,
        label: &str,
        api: &str,
        version: i16,
        wait: Duration,
        fields: Value,
    ) -> Answer {
        let start = clock::now();
        let pending = self.send(label, api, version, fields);
        let received = self.receive();
        let at_once = start.elapsed() < wait / 2;
        pending.settle(received, Some(if at_once { "at once" } else { "after its wait" }))
    }

    /// Sends a request; its answer is recorded where the script reads it.
    pub(crate) fn send(&self, label: &str, api: &str, version: i16, fields: Value) -> Pending<'_> {
        let (api, correlation) = (schema::api(api), self.next.get());
        let frame = self.encode(api, version, &fields);
        let body = &frame[frame.len() - body_bytes(api, version, &fields).len()..];
        let request = Reader::new(body, version, api.flexible(version)).terse().message(&api.request);
        let request = request.unwrap_or_else(|e| panic!("{} v{version} does not read back: {e}", api.name));
        self.write(&frame);
        Pending {
            connection: self,
            label: label.to_owned(),
            api,
            version,
            correlation,
            request,
            own: false,
            hidden: &[],
        }
    }

    /// Sends a request that must stay unanswered, and shows that by the answer of the next one.
    pub(crate) fn unanswered(&self, label: &str, api: &str, version: i16, fields: Value) {
        let pending = self.send(label, api, version, fields);
        let probe = self.send("probe", "ApiVersions", 0, json!({}));
        let answer = match self.receive() {
            Received::Frame(frame) => match probe.read(&frame) {
                Ok(_) => Tree::symbol("no answer"),
                Err(e) => Tree::symbol(format!("an answer: {e}")),
            },
            other => outcome(other),
        };
        pending.record(answer);
    }

    /// Sends a request that is not recorded.
    pub(crate) fn quiet(&self, api: &str, version: i16, fields: Value) -> Answer {
        self.send("", api, version, fields).quiet()
    }

    /// Waits for answers no longer than this: for requests that Kafka does not answer.
    pub(crate) fn wait_only(&self, patience: Duration) {
        self.patience.set(patience);
    }

    /// The frame of a request, length and all.
    pub(crate) fn frame(&self, api: &str, version: i16, fields: &Value) -> Vec<u8> {
        self.encode(schema::api(api), version, fields)
    }

    /// A frame with any key and version before any body; `flexible` headers end in tagged fields.
    pub(crate) fn frame_of(&self, key: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
        let correlation = self.next.replace(self.next.get() + 1);
        let mut inner = Vec::new();
        inner.extend(key.to_be_bytes());
        inner.extend(version.to_be_bytes());
        inner.extend(correlation.to_be_bytes());
        inner.extend((self.client.len() as i16).to_be_bytes());
        inner.extend(self.client.as_bytes());
        inner.extend(flexible.then_some(0));
        inner.extend(body);
        let mut frame = (inner.len() as i32).to_be_bytes().to_vec();
        frame.extend(inner);
        frame
    }

    /// Sends bytes as they are and records what comes back. `shown` stands for them in the recording.
    pub(crate) fn raw(&self, label: &str, shown: &str, bytes: &[u8], read: As) -> Answer {
        self.write(bytes);
        let correlation = bytes.get(8..12).map_or(0, |b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        self.raw_answer(label, shown, correlation, read)
    }

    /// Reads and records the answer to bytes already written.
    pub(crate) fn raw_answer(&self, label: &str, shown: &str, correlation: i32, read: As) -> Answer {
        let received = self.receive();
        let (api, version, hidden): (_, _, &[&str]) = match read {
            As::Answer(api, version) => (api, version, &[]),
            As::Hiding(api, version, hidden) => (api, version, hidden),
            As::Nothing => ("", 0, &[]),
        };
        let mut answer = match &received {
            Received::Frame(frame) if api.is_empty() => Tree::Bytes(frame.clone()),
            Received::Frame(frame) => read_answer(frame, schema::api(api), version, correlation)
                .unwrap_or_else(|e| Tree::symbol(format!("unreadable: {e}"))),
            _ => outcome(received),
        };
        answer.hide(hidden);
        self.record("raw", 0, label, shown.to_owned(), answer)
    }

    /// Ends the sending side, as a client that goes away.
    pub(crate) fn hang_up(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Writes without reading anything.
    pub(crate) fn write(&self, bytes: &[u8]) {
        // A broker that closed before it read all is seen when the answer is read.
        let _ = (&self.stream).write_all(bytes);
    }

    fn encode(&self, api: &Api, version: i16, fields: &Value) -> Vec<u8> {
        self.frame_of(api.key, version, api.flexible(version), &body_bytes(api, version, fields))
    }

    fn receive(&self) -> Received {
        self.stream.set_read_timeout(Some(self.patience.get())).unwrap();
        let mut length = [0; 4];
        let read = (&self.stream).read_exact(&mut length).and_then(|()| {
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            (&self.stream).read_exact(&mut frame).map(|()| frame)
        });
        match read {
            Ok(frame) => Received::Frame(frame),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Received::Silence,
            Err(_) => Received::Closed,
        }
    }

    fn record(&self, api: &str, version: i16, label: &str, request: String, answer: Tree) -> Answer {
        let mut transcript = self.transcript.borrow_mut();
        let normal = transcript.names.answer(&answer);
        transcript.exchanges.push(Exchange {
            label: label.to_owned(),
            api: api.to_owned(),
            version,
            client: self.client.clone(),
            request,
            answer: normal,
        });
        Answer { tree: answer }
    }
}

fn body_bytes(api: &Api, version: i16, fields: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    codec::encode(&api.request, fields, version, api.flexible(version), &mut body);
    body
}

fn outcome(received: Received) -> Tree {
    Tree::symbol(match received {
        Received::Closed => "closed",
        Received::Silence => "silence",
        Received::Frame(_) => "an answer",
    })
}

/// Reads a whole response. ApiVersions has the oldest response header at every version.
fn read_answer(frame: &[u8], api: &Api, version: i16, correlation: i32) -> Result<Tree, String> {
    let mut reader = Reader::new(frame, version, api.flexible(version));
    match reader.int(4)? {
        found if found == i64::from(correlation) => {}
        other => return Err(format!("it answers request {other}, not {correlation}")),
    }
    if api.flexible(version) && api.name != "ApiVersions" {
        reader.header_tags()?;
    }
    reader.message(&api.response)
}

impl Pending<'_> {
    /// Records only the script's own topics, groups and transactions of what the answer lists.
    pub(crate) fn own(self) -> Self {
        Self { own: true, ..self }
    }

    /// Records the fields of these names as hidden, wherever they stand and unless they are empty.
    pub(crate) fn hiding(self, hidden: &'static [&'static str]) -> Self {
        Self { hidden, ..self }
    }

    /// Waits for the answer and records it.
    pub(crate) fn answer(self) -> Answer {
        let received = self.connection.receive();
        self.settle(received, None)
    }

    /// Waits for the answer without recording it; there must be one.
    pub(crate) fn quiet(self) -> Answer {
        let tree = match self.connection.receive() {
            Received::Frame(frame) => self.read(&frame),
            Received::Closed => Err("closed".to_owned()),
            Received::Silence => Err("silence".to_owned()),
        };
        let tree = tree.unwrap_or_else(|e| panic!("{} v{} on the way: {e}", self.api.name, self.version));
        self.learn(&tree);
        Answer { tree }
    }

    fn settle(self, received: Received, when: Option<&str>) -> Answer {
        let mut answer = match &received {
            Received::Frame(frame) => {
                self.read(frame).unwrap_or_else(|e| Tree::symbol(format!("unreadable: {e}")))
            }
            _ => outcome(received),
        };
        if let (Tree::Struct(fields), Some(when)) = (&mut answer, when) {
            fields.insert(0, ("answered".to_owned(), Tree::symbol(when)));
        }
        self.record(answer)
    }

    fn read(&self, frame: &[u8]) -> Result<Tree, String> {
        read_answer(frame, self.api, self.version, self.correlation)
    }

    /// Gives names to what the answer brings, without recording it.
    fn learn(&self, answer: &Tree) {
        let mut transcript = self.connection.transcript.borrow_mut();
        if let (22 | 26, Some(Tree::Int(id))) = (self.api.key, answer.field("producer_id")) {
            transcript.names.producer_id(*id);
        }
        transcript.names.answer(answer);
    }

    fn record(self, mut answer: Tree) -> Answer {
        let mut transcript = self.connection.transcript.borrow_mut();
        if self.own {
            transcript.names.keep_own(&mut answer);
        }
        answer.hide(self.hidden);
        if let (22 | 26, Some(Tree::Int(id))) = (self.api.key, answer.field("producer_id")) {
            transcript.names.producer_id(*id);
        }
        let request = transcript.names.request(&self.request).pretty(0);
        drop(transcript);
        self.connection.record(&self.api.name, self.version, &self.label, request, answer)
    }
}

/// An answer as it came, for the script's next requests.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) tree: Tree,
}

impl Answer {
    /// The number at `path`; panics where there is none, which ends the script.
    pub(crate) fn int(&self, path: &str) -> i64 {
        match self.tree.at(path) {
            Some(Tree::Int(number)) => *number,
            other => panic!("no number at {path}: {other:?} in {}", self.tree.inline()),
        }
    }

    /// The text at `path`.
    pub(crate) fn text(&self, path: &str) -> String {
        match self.tree.at(path) {
            Some(Tree::Text(text)) => text.clone(),
            other => panic!("no text at {path}: {other:?} in {}", self.tree.inline()),
        }
    }
}
