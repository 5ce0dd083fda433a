//! Lines of the log that tell a person what happened and what to do: their words are part of what users rely on.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use streamd::record::build::{BatchBuilder, NewRecord};

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TIMESTAMP: i16 = 32;
const HOUR_MS: i64 = 3_600_000;

/// A batch of one record whose time is `ahead_ms` from now.
fn batch_at(ahead_ms: i64) -> Bytes {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let timestamp = i64::try_from(now).unwrap() + ahead_ms;
    let mut builder = BatchBuilder::new();
    builder.push(&NewRecord { timestamp, value: Some(b"a"), ..NewRecord::default() });
    builder.build().unwrap()
}

/// Produces to `topic`, which must be refused with `error` and one line of the log that says `words`. A client is worth
/// one line a minute, so each has a name of its own.
fn refused(broker: &Broker, topic: &str, batch: Bytes, error: i16, words: &str) {
    let client = format!("maker-of-{topic}");
    let mut connection = Connection::to(broker.address()).named(&client);
    let response = connection.call(9, &raw::produce(topic, 0, -1, batch));
    assert_eq!(raw::produced(&response).0, error);
    let event = broker.wait_for_event(&format!("refused: {topic}-0: "));
    let message = event["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("produce of client \"{client}\" from 127.0.0.1:")), "{event}");
    assert!(message.ends_with(words), "{event}");
}

#[test]
fn what_is_too_large_is_told_with_the_setting_that_says_so() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "plain", 1, &[]);
    raw::create(&mut connection, "small", 1, &[("max.message.bytes", "1000")]);
    let large = raw::batch(&[&vec![0; 2_000_000]]);
    let size = "2,000,074 B";
    assert_eq!(large.len(), 2_000_074);
    refused(
        &broker,
        "plain",
        large,
        MESSAGE_TOO_LARGE,
        &format!(
            ": MESSAGE_TOO_LARGE: batch {size} > max.message.bytes 1,048,588 on topic plain \
             (topic override: none; broker: message.max.bytes)"
        ),
    );
    refused(
        &broker,
        "small",
        raw::batch(&[&[0; 1000]]),
        MESSAGE_TOO_LARGE,
        "> max.message.bytes 1,000 on topic small (topic override)",
    );
}

#[test]
fn clocks_that_are_wrong_are_told_by_how_much() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "plain", 1, &[]);
    raw::create(&mut connection, "recent", 1, &[("message.timestamp.before.max.ms", "60000")]);
    raw::create(&mut connection, "old", 1, &[("message.timestamp.difference.max.ms", "60000")]);
    refused(
        &broker,
        "plain",
        batch_at(3 * HOUR_MS + HOUR_MS / 2),
        INVALID_TIMESTAMP,
        ": INVALID_TIMESTAMP: record timestamp is 3h ahead (producer clock?); \
         message.timestamp.after.max.ms = 1h (topic override: none; broker: log.message.timestamp.after.max.ms)",
    );
    refused(
        &broker,
        "recent",
        batch_at(-50 * HOUR_MS),
        INVALID_TIMESTAMP,
        "record timestamp is 2d old; message.timestamp.before.max.ms = 1m (topic override)",
    );
    refused(
        &broker,
        "old",
        batch_at(-HOUR_MS - 1),
        INVALID_TIMESTAMP,
        "record timestamp is 1h old; message.timestamp.before.max.ms = 1m \
         (topic override: message.timestamp.difference.max.ms)",
    );
}

#[test]
fn a_topic_that_is_made_is_told_with_who_made_it() {
    let broker = Broker::with("[[topics]]\nname = \"declared\"\npartitions = 2\n");
    let event = broker.wait_for_event("topic created as the settings ask");
    assert_eq!((event["topic"].as_str(), event["partitions"].as_i64()), (Some("declared"), Some(2)));
    let mut connection = Connection::to(broker.address()).named("billing");
    raw::create(&mut connection, "made", 3, &[]);
    let event = broker.wait_for_event("topic created by client \"billing\" from 127.0.0.1:");
    assert_eq!((event["topic"].as_str(), event["partitions"].as_i64()), (Some("made"), Some(3)));
    let asked = |name: &str| MetadataRequestTopic::default().with_name(Some(raw::name(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked("made"), asked("wanted")]))
        .with_allow_auto_topic_creation(true);
    for _ in 0..2 {
        connection.call(9, &request);
    }
    let event = broker.wait_for_event("topic created for client \"billing\" from 127.0.0.1:");
    let message = event["message"].as_str().unwrap();
    assert!(message.ends_with(", which asked for it (auto.create.topics.enable)"), "{message}");
    assert_eq!((event["topic"].as_str(), event["partitions"].as_i64()), (Some("wanted"), Some(1)));
    assert_eq!(broker.log().matches("topic created").count(), 3, "{}", broker.log());
}
