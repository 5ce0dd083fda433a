//! Sends the cases to a running Kafka and writes down its answers. The few requests needed are written by hand: this
//! layer knows no protocol.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::cases::{self, Case};
use super::{Answer, column};
use crate::record::batch::{BatchHeader, stamp};
use crate::types::Clock;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/record/check/kafka/kafka-4.3.1.txt");

#[test]
#[ignore = "needs a running Kafka at $KAFKA; rewrites kafka-4.3.1.txt"]
fn record_kafka() {
    let address = std::env::var("KAFKA").unwrap();
    let mut kafka = Kafka { stream: TcpStream::connect(address).unwrap() };
    let run = Clock::system().now_ms();
    let mut lines = String::new();
    let mut made = Vec::new();
    for case in cases::all() {
        // A topic of its own for each run, so that sequences and offsets start anew; messages name it as replays do.
        let topic = format!("{}-{run}", case.topic_name);
        if !made.contains(&topic) {
            kafka.create(&topic, case.topic);
            made.push(topic.clone());
        }
        let mut answer = kafka.answer(&topic, &case);
        // Kafka answers CreateTopics before the topic is everywhere.
        while matches!(answer.code, 3 | 6) {
            std::thread::sleep(Duration::from_millis(100));
            answer = kafka.answer(&topic, &case);
        }
        let line = answer.to_line().replace(&topic, case.topic_name);
        assert_eq!(column(&line, 0), case.name);
        lines.push_str(&line);
        lines.push('\n');
    }
    std::fs::write(FILE, lines).unwrap();
}

struct Kafka {
    stream: TcpStream,
}

impl Kafka {
    fn create(&mut self, topic: &str, configs: &[(&str, &str)]) {
        let mut body = Vec::new();
        put_i32(&mut body, 1);
        put_string(&mut body, topic);
        put_i32(&mut body, 1);
        put_i16(&mut body, 1);
        put_i32(&mut body, 0);
        put_i32(&mut body, i32::try_from(configs.len()).unwrap());
        for (key, value) in configs {
            put_string(&mut body, key);
            put_string(&mut body, value);
        }
        put_i32(&mut body, 10_000);
        body.push(0);
        let mut reply = self.call(19, 2, &body);
        reply.i32();
        assert_eq!(reply.i32(), 1);
        reply.string();
        assert_eq!(reply.i16(), 0, "creating {topic}: {:?}", reply.string());
    }

    fn answer(&mut self, topic: &str, case: &Case) -> Answer {
        let mut now = Clock::system().now_ms();
        let mut body = Vec::new();
        put_i16(&mut body, -1);
        put_i16(&mut body, -1);
        put_i32(&mut body, 10_000);
        put_i32(&mut body, 1);
        put_string(&mut body, topic);
        put_i32(&mut body, 1);
        put_i32(&mut body, 0);
        put_i32(&mut body, case.bytes.as_ref().map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap()));
        body.extend_from_slice(case.bytes.as_deref().unwrap_or_default());
        let mut reply = self.call(0, case.version, &body);
        assert_eq!(
            (reply.i32(), reply.string(), reply.i32()),
            (1, Some(topic.to_owned()), 1),
            "{}",
            case.name
        );
        assert_eq!(reply.i32(), 0);
        let code = reply.i16();
        let base_offset = reply.i64();
        let log_append_time = reply.i64();
        if case.version >= 5 {
            reply.i64();
        }
        let (mut record_errors, mut message) = (Vec::new(), None);
        if case.version >= 8 {
            for _ in 0..reply.i32() {
                record_errors.push((reply.i32(), reply.string()));
            }
            message = reply.string();
        }
        // The broker's clock shows in the time of the append, and in the window that a bad time has missed.
        if log_append_time >= 0 {
            now = log_append_time;
        } else if let Some((_, Some(text))) = record_errors.first()
            && let Some((_, window)) = text.split_once("within [")
        {
            let to: i64 = window.trim_end_matches(']').split_once(", ").unwrap().1.parse().unwrap();
            now = to - 3_600_000;
        }
        let stored = if code == 0 { self.fetch(topic, base_offset) } else { Vec::new() };
        Answer { name: case.name.clone(), now, code, message, record_errors, log_append_time, stored }
    }

    /// The batch at `offset`, stamped as replays are.
    fn fetch(&mut self, topic: &str, offset: i64) -> Vec<u8> {
        let mut body = Vec::new();
        put_i32(&mut body, -1);
        put_i32(&mut body, 500);
        put_i32(&mut body, 1);
        put_i32(&mut body, 10 << 20);
        body.push(0);
        put_i32(&mut body, 1);
        put_string(&mut body, topic);
        put_i32(&mut body, 1);
        put_i32(&mut body, 0);
        body.extend(offset.to_be_bytes());
        put_i32(&mut body, 10 << 20);
        let mut reply = self.call(1, 4, &body);
        reply.i32();
        reply.i32();
        reply.string();
        reply.i32();
        reply.i32();
        assert_eq!(reply.i16(), 0);
        reply.i64();
        reply.i64();
        assert!(reply.i32() <= 0);
        let len = reply.i32();
        let mut bytes = reply.take(usize::try_from(len).unwrap()).to_vec();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.base_offset, offset);
        bytes.truncate(header.total_len());
        stamp(&mut bytes, 0, 0);
        bytes
    }

    fn call(&mut self, key: i16, version: i16, body: &[u8]) -> Reply {
        let mut request = Vec::new();
        put_i16(&mut request, key);
        put_i16(&mut request, version);
        put_i32(&mut request, 1);
        put_string(&mut request, "recorder");
        request.extend_from_slice(body);
        let mut frame = Vec::new();
        put_i32(&mut frame, i32::try_from(request.len()).unwrap());
        frame.extend(request);
        self.stream.write_all(&frame).unwrap();
        let mut len = [0; 4];
        self.stream.read_exact(&mut len).unwrap();
        let mut bytes = vec![0; usize::try_from(u32::from_be_bytes(len)).unwrap()];
        self.stream.read_exact(&mut bytes).unwrap();
        let mut reply = Reply { bytes, at: 0 };
        assert_eq!(reply.i32(), 1);
        reply
    }
}

struct Reply {
    bytes: Vec<u8>,
    at: usize,
}

impl Reply {
    fn take(&mut self, len: usize) -> &[u8] {
        self.at += len;
        &self.bytes[self.at - len..self.at]
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().unwrap())
    }

    fn string(&mut self) -> Option<String> {
        let len = usize::try_from(self.i16()).ok()?;
        Some(String::from_utf8(self.take(len).to_vec()).unwrap())
    }
}

fn put_i16(out: &mut Vec<u8>, n: i16) {
    out.extend(n.to_be_bytes());
}

fn put_i32(out: &mut Vec<u8>, n: i32) {
    out.extend(n.to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_i16(out, i16::try_from(text.len()).unwrap());
    out.extend_from_slice(text.as_bytes());
}
