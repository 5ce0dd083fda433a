//! What Apache Kafka answers to a few dozen batches, good and bad, and what it stores of them: recorded once in
//! `kafka-4.3.1.txt` and replayed here.
//!
//! [`cases`] makes the batches. `recorder` sends them to a running Kafka; do that again with
//!
//! ```text
//! KAFKA=127.0.0.1:9092 cargo test --lib record_kafka -- --ignored
//! ```

mod cases;
mod recorder;

use bytes::Bytes;

use super::super::{CheckRules, CheckedBatch, check};
use crate::config::topic::{Compression, TopicSettings};
use crate::record::batch::{BatchHeader, BatchView, stamp};
use crate::types::Codec;
use cases::{Case, Expect};

const RECORDED: &str = include_str!("kafka-4.3.1.txt");

/// One answer of Kafka's, and the batch it stored if it took it.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    name: String,
    /// The broker's clock, as far as it shows.
    now: i64,
    code: i16,
    message: Option<String>,
    record_errors: Vec<(i32, Option<String>)>,
    log_append_time: i64,
    stored: Vec<u8>,
}

impl Answer {
    fn to_line(&self) -> String {
        let errors: Vec<String> =
            self.record_errors.iter().map(|(n, text)| format!("{n}={text:?}")).collect();
        let stored: String = self.stored.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{}\t{}\t{}\t{:?}\t{}\t{}\t{stored}",
            self.name,
            self.now,
            self.code,
            self.message,
            errors.join(";"),
            self.log_append_time
        )
    }
}

/// The columns of `kafka-4.3.1.txt`; what the check says is put into the same words.
fn column(line: &str, n: usize) -> &str {
    line.split('\t').nth(n).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn settings(case: &Case) -> TopicSettings {
    let mut settings = TopicSettings::default();
    for (key, value) in case.topic {
        match *key {
            "cleanup.policy" => settings.compact = *value == "compact",
            "compression.type" => {
                let codec = Codec::ALL.into_iter().find(|codec| codec.name() == *value).unwrap();
                settings.compression = Some(Compression { codec, level: 3 });
            }
            "message.timestamp.type" => settings.log_append_time = *value == "LogAppendTime",
            "message.timestamp.before.max.ms" => settings.timestamp_before_max_ms = value.parse().unwrap(),
            "message.timestamp.after.max.ms" => settings.timestamp_after_max_ms = value.parse().unwrap(),
            "max.message.bytes" => settings.max_message_bytes = value.parse().unwrap(),
            "segment.bytes" => settings.segment_bytes = value.parse().unwrap(),
            other => panic!("unknown config {other}"),
        }
    }
    settings
}

fn answer(case: &Case, now: i64) -> Answer {
    let settings = settings(case);
    let rules = CheckRules::new(&settings, case.topic_name, 0, case.version);
    let outcome = check(case.bytes.clone().map(Bytes::from), &rules, now);
    let (code, log_append_time) = match &outcome {
        Ok(checked) => (0, checked.log_append_time),
        Err(refusal) => (refusal.code.code(), -1),
    };
    // Before version 8 a response has no room for words.
    let worded = case.version >= 8;
    let refusal = outcome.as_ref().err().filter(|_| worded);
    Answer {
        name: case.name.clone(),
        now,
        code,
        message: refusal.and_then(|refusal| refusal.message.clone()),
        record_errors: refusal.map(|refusal| refusal.record_errors.clone()).unwrap_or_default(),
        log_append_time,
        stored: outcome.map(stored).unwrap_or_default(),
    }
}

fn stored(checked: CheckedBatch) -> Vec<u8> {
    assert_eq!(BatchHeader::parse(&checked.bytes).as_ref(), Ok(&checked.header));
    let mut bytes = checked.bytes.to_vec();
    stamp(&mut bytes, 0, 0);
    bytes
}

#[test]
fn batches_are_answered_and_stored_as_kafka_does() {
    let lines: Vec<&str> = RECORDED.lines().collect();
    let cases = cases::all();
    assert_eq!(lines.len(), cases.len(), "record Kafka's answers again");
    let mut wrong = Vec::new();
    for (line, case) in lines.iter().zip(&cases) {
        assert_eq!(column(line, 0), case.name, "record Kafka's answers again");
        let ours = answer(case, column(line, 1).parse().unwrap());
        let our_line = ours.to_line();
        match case.expect {
            Expect::Same if our_line != *line => wrong.push(format!("kafka {line}\nours  {our_line}")),
            // What is compressed anew has other bytes but must say the same.
            Expect::Rebuilt => {
                let head = |line: &str| line.rsplit_once('\t').map(|(head, _)| head.to_owned());
                if head(&our_line) != head(line) {
                    wrong.push(format!("kafka {line}\nours  {our_line}"));
                }
                assert_eq!(meaning(&ours.stored), meaning(&unhex(column(line, 6))), "{}", case.name);
            }
            // Told in the module's documentation and in docs/compatibility.md.
            Expect::Differs(code) => {
                assert_eq!(ours.code, code, "{}", case.name);
                assert_ne!(our_line, *line, "{} does not differ", case.name);
            }
            Expect::Same => {}
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A batch's header without what depends on the compressor, and its records.
fn meaning(bytes: &[u8]) -> (BatchHeader, Vec<String>) {
    let batch = BatchView::parse(bytes).unwrap();
    assert!(batch.crc_ok());
    let header = BatchHeader { crc: 0, batch_length: 0, ..*batch.header() };
    let records = batch.records(10 << 20).unwrap();
    let records = records.iter().map(|record| {
        let record = record.unwrap();
        format!("{record:?} {:?}", record.headers.collect::<Vec<_>>())
    });
    (header, records.collect())
}
