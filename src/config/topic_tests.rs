//! Topic settings: overrides over defaults, and what a value may be.

use super::*;
use crate::config::load::{Flag, Sources, load};

fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn defaults(pairs: &[(&str, &str)]) -> TopicDefaults {
    let flag = |(name, text): &(&str, &str)| Flag {
        shown: "--set".to_owned(),
        name: name.to_string(),
        text: text.to_string(),
    };
    let sources = Sources { flags: pairs.iter().map(flag).collect(), ..Sources::default() };
    load(&sources).unwrap().config.topic_defaults
}

/// Where this differs from Kafka 4.3.1 on purpose (see [`validate`]).
const MORE_LENIENT: &[&str] = &[
    "segment.bytes=100",
    "message.timestamp.difference.max.ms=5",
    "message.format.version=2.8",
    "message.downconversion.enable=true",
];

#[test]
fn kafkas_answers_to_topic_settings_are_ours() {
    let answers = include_str!("../../tests/data/config/topic-answers.tsv");
    let mut compared = 0;
    for line in answers.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<_> = line.split('\t').collect();
        let given: BTreeMap<_, _> = cells[0].split(';').filter_map(|pair| pair.split_once('=')).collect();
        let given = overrides(&given.into_iter().collect::<Vec<_>>());
        let ours = TopicDefaults::default().validate(&given);
        if MORE_LENIENT.contains(&cells[0]) {
            assert_eq!((cells[1], ours), ("error", Ok(())), "{line}");
            continue;
        }
        match cells[1] {
            "ok" => {
                assert_eq!(ours, Ok(()), "{line}");
                let (name, text) = given.iter().next().unwrap();
                let key = keys::find(Scope::Topic, name).unwrap();
                assert_eq!(value::parse(key, text).as_deref(), Ok(cells[2]), "{line}");
            }
            _ => assert_eq!(ours, Err(cells[2].to_owned()), "{line}"),
        }
        compared += 1;
    }
    assert!(compared > 80);
}

#[test]
fn a_topic_without_overrides_follows_the_table() {
    let defaults = TopicDefaults::default();
    assert_eq!(TopicSettings::resolve(&BTreeMap::new(), &defaults), TopicSettings::default());
    assert_eq!(**defaults.settings(), TopicSettings::default());
}

#[test]
fn an_override_wins_over_the_brokers_property_and_that_over_the_default() {
    let defaults =
        defaults(&[("log.retention.ms", "1000"), ("log.segment.bytes", "2000"), ("compression.type", "lz4")]);
    assert_eq!(defaults.settings().retention_ms, 1000);
    let settings = TopicSettings::resolve(&overrides(&[("retention.ms", "5")]), &defaults);
    assert_eq!((settings.retention_ms, settings.segment_bytes), (5, 2000));
    assert_eq!(settings.compression, Some(Compression { codec: Codec::Lz4, level: 9 }));
}

#[test]
fn hours_and_minutes_become_milliseconds_and_the_finest_wins() {
    assert_eq!(defaults(&[("log.retention.hours", "2")]).settings().retention_ms, 7_200_000);
    assert_eq!(defaults(&[("log.retention.hours", "-1")]).settings().retention_ms, -1);
    let both = [("log.retention.hours", "2"), ("log.retention.minutes", "3")];
    assert_eq!(defaults(&both).settings().retention_ms, 180_000);
    assert_eq!(defaults(&[("log.roll.hours", "1")]).settings().segment_ms, 3_600_000);
    assert_eq!(defaults(&[("log.flush.scheduler.interval.ms", "9")]).settings().flush_ms, 9);
}

#[test]
fn both_policies_may_be_on_and_none_as_well() {
    let policy = |text| {
        let settings =
            TopicSettings::resolve(&overrides(&[("cleanup.policy", text)]), &TopicDefaults::default());
        (settings.delete, settings.compact)
    };
    assert_eq!(policy("compact,delete"), (true, true));
    assert_eq!(policy("compact"), (false, true));
    assert_eq!(policy(""), (false, false));
}

#[test]
fn the_removed_difference_bounds_both_sides_unless_they_are_set() {
    let settings = TopicSettings::resolve(
        &overrides(&[("message.timestamp.difference.max.ms", "7"), ("message.timestamp.after.max.ms", "9")]),
        &TopicDefaults::default(),
    );
    assert_eq!((settings.timestamp_before_max_ms, settings.timestamp_after_max_ms), (7, 9));
}

#[test]
fn an_override_that_cannot_be_read_counts_as_absent() {
    let stored = overrides(&[("retention.ms", "soon"), ("from.the.future", "1")]);
    assert_eq!(TopicSettings::resolve(&stored, &TopicDefaults::default()), TopicSettings::default());
}

#[test]
fn an_override_is_checked_against_the_brokers_other_values() {
    let defaults = defaults(&[("log.cleaner.max.compaction.lag.ms", "5")]);
    let given = overrides(&[("min.compaction.lag.ms", "6")]);
    assert_eq!(
        defaults.validate(&given).unwrap_err(),
        "conflict topic config setting min.compaction.lag.ms (6) > max.compaction.lag.ms (5)"
    );
    assert_eq!(null_values(&["a", "b"]), "Null value not supported for topic configs: a,b");
}
