//! Whole requests, from the frame to the answer: what a handler allocates stays a small multiple of the frame.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use streamd::api::{Api, KafkaService, Outcome};
use streamd::broker::Broker;
use streamd::config::Config;
use streamd::types::Clock;
use streamd::wire::service::{Peer, Service as _, Started};

use crate::memory::{Use, measure};

/// A broker inside of this thread, so that what it allocates for a request can be counted.
struct InProcess {
    runtime: tokio::runtime::Runtime,
    broker: Arc<Broker>,
    service: KafkaService,
    _dir: tempfile::TempDir,
}

impl InProcess {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        dir.path().clone_into(&mut config.data_dir);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let broker = runtime.block_on(Broker::start(config, Clock::system())).unwrap();
        let service = KafkaService(Api::new(Arc::clone(&broker)));
        Self { runtime, broker, service, _dir: dir }
    }

    /// Sends one frame; says how many bytes the answer has, `None` for a connection that is closed, and what all of it
    /// took.
    fn ask(&self, frame: &Bytes) -> (Option<usize>, Use) {
        let address = (std::net::Ipv4Addr::LOCALHOST, 1).into();
        let mut session = self.service.open(&Peer { address, listener: 0, local: address });
        let _entered = self.runtime.enter();
        let (outcome, used) = measure(|| {
            let started = self.service.start(&mut session, frame.clone());
            self.service.settle(&mut session);
            match started {
                Started::Done(outcome) => outcome,
                Started::Waits(pending) | Started::WaitsWhileOpen(pending) => self.runtime.block_on(pending),
            }
        });
        let answered = match outcome {
            Outcome::Reply(reply) | Outcome::ReplyThenMute(reply, _) => Some(reply.len),
            Outcome::Silent | Outcome::Close => None,
        };
        (answered, used)
    }
}

/// A request's frame in the classic form, without its length.
fn frame(key: i16, version: i16, body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_slice(b"\0\0\0\x07\0\x01x");
    body(&mut frame);
    frame.freeze()
}

fn put_text(frame: &mut BytesMut, text: &str) {
    frame.put_i16(text.len().try_into().unwrap());
    frame.put_slice(text.as_bytes());
}

/// A Fetch of this many partitions of one topic, at version 4 or 7.
fn fetch(version: i16, name: &str, partitions: i32) -> Bytes {
    frame(1, version, |frame| {
        frame.put_slice(b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0\x7f\0\0\0\0");
        if version >= 7 {
            frame.put_i64(0);
        }
        frame.put_i32(1);
        put_text(frame, name);
        frame.put_i32(partitions);
        for index in 0..partitions {
            frame.put_i32(index);
            frame.put_i64(0);
            if version >= 5 {
                frame.put_i64(0);
            }
            frame.put_i32(100);
        }
        if version >= 7 {
            frame.put_i32(0);
        }
    })
}

fn assert_bounded(what: &str, frame: &Bytes, used: Use, per_byte: usize) {
    let allowed = per_byte * frame.len() + (1 << 20);
    assert!(used.peak_bytes <= allowed, "{what}: {used:?} for {} bytes", frame.len());
}

#[test]
fn a_fetch_costs_a_multiple_of_its_frame_whatever_the_length_of_its_names() {
    let broker = InProcess::start();
    for (version, name, partitions) in [
        (4, "n", 20_000),
        (4, &*"n".repeat(32_767), 20_000),
        (7, &"n".repeat(32_767), 20_000),
        (7, "n", 20_000),
    ] {
        let request = fetch(version, name, partitions);
        let (answered, used) = broker.ask(&request);
        assert!(answered.is_some(), "v{version} is answered");
        assert_bounded(&format!("v{version}, {} bytes of name", name.len()), &request, used, 40);
    }
}

#[test]
fn a_request_that_names_more_than_any_client_has_is_refused() {
    let broker = InProcess::start();
    // A topic counts, too.
    assert!(broker.ask(&fetch(4, "n", 99_999)).0.is_some());
    assert_eq!(broker.ask(&fetch(4, "n", 100_000)).0, None);
    let produce = |partitions: i32| {
        frame(0, 7, |frame| {
            frame.put_slice(b"\xff\xff\0\x01\0\0\0\x64\0\0\0\x01");
            put_text(frame, &"n".repeat(32_767));
            frame.put_i32(partitions);
            for index in 0..partitions {
                frame.put_i32(index);
                frame.put_i32(-1);
            }
        })
    };
    let request = produce(99_999);
    let (answered, used) = broker.ask(&request);
    assert!(answered.is_some());
    assert_bounded("99,999 partitions", &request, used, 40);
    assert_eq!(broker.ask(&produce(100_000)).0, None);
}

#[test]
fn a_metadata_request_for_more_new_topics_than_may_be_made_makes_none() {
    let broker = InProcess::start();
    let metadata = |names: &[String]| {
        frame(3, 4, |frame| {
            frame.put_i32(names.len().try_into().unwrap());
            names.iter().for_each(|name| put_text(frame, name));
            frame.put_u8(1);
        })
    };
    let many: Vec<String> = (0..60_000).map(|n| format!("topic-{n}")).collect();
    let clock = Clock::system();
    let request = metadata(&many);
    let (answered, used) = broker.ask(&request);
    assert!(answered.is_some());
    assert_bounded("60,000 names", &request, used, 40);
    // What grows with the square of the names takes minutes.
    let took = clock.monotonic();
    assert!(took.as_secs() < 30, "{took:?}");
    assert_eq!(broker.broker.image().topics().count(), 0);
    broker.ask(&metadata(&many[..3]));
    assert_eq!(broker.broker.image().topics().count(), 3);
}

#[test]
fn what_is_named_again_and_again_is_described_once() {
    let broker = InProcess::start();
    let configs = |times: i32| {
        frame(32, 3, |frame| {
            frame.put_i32(times);
            for _ in 0..times {
                frame.put_i8(4);
                put_text(frame, "1");
                frame.put_i32(-1);
            }
            frame.put_slice(b"\x01\x01");
        })
    };
    let groups = |times: i32| {
        frame(15, 0, |frame| {
            frame.put_i32(times);
            (0..times).for_each(|_| put_text(frame, "group"));
        })
    };
    for (what, request) in [("settings", &configs as &dyn Fn(i32) -> Bytes), ("groups", &groups)] {
        let (once, _) = broker.ask(&request(1));
        let many = request(4_000);
        let (often, used) = broker.ask(&many);
        assert!(once.is_some_and(|bytes| bytes > 20), "{what}: {once:?}");
        assert_eq!(often, once, "{what}");
        assert_bounded(what, &many, used, 40);
    }
}

#[test]
fn an_answer_that_no_client_takes_is_not_built() {
    let broker = InProcess::start();
    let metadata = frame(3, 4, |frame| {
        frame.put_i32(1);
        put_text(frame, "t");
        frame.put_u8(1);
    });
    assert!(broker.ask(&metadata).0.is_some());
    let commit = frame(8, 2, |frame| {
        put_text(frame, "group");
        frame.put_slice(b"\xff\xff\xff\xff\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01");
        put_text(frame, "t");
        frame.put_slice(b"\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01");
        put_text(frame, &"m".repeat(4_000));
    });
    assert!(broker.ask(&commit).0.is_some());
    let offsets = |times: i32| {
        frame(9, 1, |frame| {
            put_text(frame, "group");
            frame.put_i32(1);
            put_text(frame, "t");
            frame.put_i32(times);
            frame.put_bytes(0, 4 * usize::try_from(times).unwrap());
        })
    };
    let (answered, _) = broker.ask(&offsets(100));
    assert!(answered.is_some_and(|bytes| bytes > 400_000), "{answered:?}");
    let request = offsets(90_000);
    let (answered, used) = broker.ask(&request);
    assert_eq!(answered, None, "360 MB");
    assert_bounded("offsets", &request, used, 100);
}
