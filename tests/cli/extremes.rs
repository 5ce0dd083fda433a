//! Settings at the ends of their ranges: whatever number is taken, the broker starts with it, takes records, gives them
//! back and stops in order.

use std::fmt::Write as _;

use streamd::config::keys::{self, Key, Kind, Scope, Status, Valid};

use crate::scene::Scene;

/// Settings whose least value says that nothing is served or taken, and means it.
const CLOSED: [&str; 11] = [
    "internal.segment.bytes",
    "log.segment.bytes",
    "segment.bytes",
    "log.message.timestamp.before.max.ms",
    "max.connections",
    "max.connections.per.ip",
    "max.message.bytes",
    "message.max.bytes",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "socket.request.max.bytes",
];

/// streamd's own settings that are numbers with units, at their ends.
const LEAST: &str = "[disk]\nreserve = 0\nlimit = \"16 MiB\"\nscrub_rate = \"64 KiB\"\nscrub_interval = \"100ms\"\n\
                     [memory]\nlimit = \"16 MiB\"\n[network]\nrequest_limit = \"64 KiB\"\n\
                     in_flight_connection = \"64 KiB\"\nin_flight_total = \"64 KiB\"\nin_flight_requests = 1\n";
const MOST: &str = "[disk]\nlimit = \"8388607 TiB\"\nscrub_rate = \"8388607 TiB\"\n\
                    scrub_interval = \"15250284452w\"\n[memory]\nlimit = \"8388607 TiB\"\n[network]\n\
                    request_limit = \"8388607 TiB\"\nin_flight_connection = \"8388607 TiB\"\n\
                    in_flight_total = \"8388607 TiB\"\nin_flight_requests = 1000000\n";

/// The numbers of this scope that do something, with the least or the most that each takes.
fn ends(scope: Scope, most: bool) -> Vec<(&'static str, String)> {
    let rows: Vec<&Key> =
        if scope == Scope::Topic { keys::topic().collect() } else { keys::broker().collect() };
    let is_number = |key: &&Key| matches!(key.kind, Kind::Int | Kind::Long | Kind::Short | Kind::Double);
    let works = |key: &&Key| key.status == Status::Effective && keys::canonical(key.name) == key.name;
    rows.into_iter()
        .filter(is_number)
        .filter(works)
        .filter(|key| most || !CLOSED.contains(&key.name))
        .filter_map(|key| Some((key.name, if most { the_most(key) } else { the_least(key)? })))
        .collect()
}

fn the_least(key: &Key) -> Option<String> {
    match key.valid {
        Valid::AtLeast(min) | Valid::Between(min, _) => Some(min.to_string()),
        Valid::Hundredths(min, _) => Some(format!("0.{min:02}")),
        Valid::GzipLevel => Some("1".to_owned()),
        _ => None,
    }
}

fn the_most(key: &Key) -> String {
    match (key.valid, key.kind) {
        (Valid::Between(_, max), _) => max.to_string(),
        (Valid::Hundredths(..), _) => "1".to_owned(),
        (Valid::GzipLevel, _) => "9".to_owned(),
        (_, Kind::Double) => "1e308".to_owned(),
        (_, Kind::Int) => i32::MAX.to_string(),
        (_, Kind::Short) => i16::MAX.to_string(),
        _ => i64::MAX.to_string(),
    }
}

fn broker_lines(own: &str, most: bool) -> String {
    let mut lines = format!("{own}[kafka]\n");
    for (name, text) in ends(Scope::Broker, most) {
        writeln!(lines, "\"{name}\" = {text}").unwrap();
    }
    lines
}

/// Records go in and come out again, and the broker stops in order.
fn works(mut scene: Scene, topics: &[(&str, &str, &str)]) {
    for (topic, name, text) in topics {
        let setting = format!("{name}={text}");
        let policy = "cleanup.policy=compact,delete";
        scene.ok(&["topic", "create", topic, "-p", "1", "-c", &setting, "-c", policy]);
    }
    for (topic, name, text) in topics {
        for nth in 0..2 {
            let sent = scene.run(&["produce", topic, "-K", ":"], format!("k{nth}:v\nl:w\n").as_bytes());
            assert_eq!(sent.code, 0, "{name}={text}: {}", sent.err);
        }
        scene.ok(&["topic", "describe", topic]);
        let told = scene.run(&["consume", topic, "-o", "start", "-e"], b"");
        assert_eq!(told.code, 0, "{name}={text}: {}", told.err);
    }
    let broker = scene.broker().expect("it is our own");
    broker.restart();
    broker.stop();
    let log = broker.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_broker_works_with_every_setting_at_its_least() {
    works(Scene::with(&broker_lines(LEAST, false)), &[("t", "segment.bytes", "1048576")]);
}

#[test]
fn a_broker_works_with_every_setting_at_its_most() {
    works(Scene::with(&broker_lines(MOST, true)), &[("t", "segment.bytes", "1048576")]);
}

#[test]
fn a_topic_works_with_any_setting_at_either_end() {
    let mut rows = Vec::new();
    for most in [false, true] {
        for (name, text) in ends(Scope::Topic, most) {
            rows.push((format!("{name}-{most}"), name, text));
        }
    }
    let topics: Vec<_> =
        rows.iter().map(|(topic, name, text)| (topic.as_str(), *name, text.as_str())).collect();
    works(Scene::with("[kafka]\n\"log.cleaner.backoff.ms\" = 20\n"), &topics);
}
