//! DescribeConfigs entries: sources, synonyms, secrets.

use super::*;
use crate::config::Config;
use crate::config::load::{Flag, Sources, load};

fn config(pairs: &[(&str, &str)]) -> Config {
    let flag = |(name, text): &(&str, &str)| Flag {
        shown: "--set".to_owned(),
        name: name.to_string(),
        text: text.to_string(),
    };
    let sources = Sources { flags: pairs.iter().map(flag).collect(), ..Sources::default() };
    load(&sources).unwrap().config
}

fn entry<'a>(entries: &'a [ConfigEntry], name: &str) -> &'a ConfigEntry {
    entries.iter().find(|entry| entry.name == name).unwrap()
}

fn shown(entry: &ConfigEntry) -> String {
    let synonyms: Vec<_> = entry
        .synonyms
        .iter()
        .map(|s| format!("{}={}/{}", s.name, s.value.as_deref().unwrap_or("null"), s.source as i8))
        .collect();
    format!("{}/{} [{}]", entry.value.as_deref().unwrap_or("null"), entry.source as i8, synonyms.join(" "))
}

fn topic(set: &[(&str, &str)], overrides: &[(&str, &str)], name: &str) -> String {
    let overrides = overrides.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    shown(entry(&config(set).topic_defaults.entries(&overrides), name))
}

#[test]
fn s95_a_topic_lists_every_setting_with_its_type_and_doc() {
    let entries = config(&[]).topic_defaults.entries(&BTreeMap::new());
    assert_eq!(entries.len(), 33);
    assert!(entries.is_sorted_by_key(|entry| entry.name));
    assert!(entries.iter().all(|entry| !entry.doc.is_empty() && !entry.read_only && !entry.sensitive));
    assert_eq!(entry(&entries, "retention.ms").kind as i8, 5);
    assert_eq!(entry(&entries, "cleanup.policy").kind as i8, 7);
    assert_eq!(entry(&entries, "min.cleanable.dirty.ratio").kind as i8, 6);
}

#[test]
fn s95_the_source_of_a_topics_value_is_who_set_it() {
    let bytes = "segment.bytes";
    assert_eq!(topic(&[], &[], bytes), "1073741824/5 [log.segment.bytes=1073741824/5]");
    assert_eq!(
        topic(&[("log.segment.bytes", "5000")], &[], bytes),
        "5000/4 [log.segment.bytes=5000/4 log.segment.bytes=1073741824/5]"
    );
    assert_eq!(
        topic(&[], &[(bytes, "6000")], bytes),
        "6000/1 [segment.bytes=6000/1 log.segment.bytes=1073741824/5]"
    );
    assert_eq!(topic(&[], &[], "remote.storage.enable"), "false/5 []", "no broker property");
}

#[test]
fn s95_a_default_in_other_units_is_no_synonym_but_a_setting_is() {
    assert_eq!(topic(&[], &[], "retention.ms"), "604800000/5 []", "as Kafka answers");
    assert_eq!(
        topic(&[("log.retention.hours", "2")], &[], "retention.ms"),
        "7200000/4 [log.retention.hours=2/4 log.retention.hours=168/5]"
    );
}

#[test]
fn removed_settings_are_listed_where_they_are_set() {
    let shown = topic(&[], &[("message.format.version", "2.8")], "message.format.version");
    assert_eq!(shown, "2.8/1 [message.format.version=2.8/1]");
}

#[test]
fn s95_the_broker_lists_every_property_and_no_secret() {
    let entries = config(&[("ssl.key.password", "hunter2"), ("num.partitions", "3")]).broker_entries();
    assert_eq!(entries.len(), 340);
    assert!(entries.is_sorted_by_key(|entry| entry.name));
    let secret = entry(&entries, "ssl.key.password");
    assert!(secret.sensitive);
    assert_eq!(shown(secret), "null/4 [ssl.key.password=null/4]");
    assert_eq!(shown(entry(&entries, "num.partitions")), "3/4 [num.partitions=3/4 num.partitions=1/5]");
    assert!(entry(&entries, "num.partitions").read_only);
    assert!(!entry(&entries, "log.retention.ms").read_only);
    assert_eq!(shown(entry(&entries, "log.retention.ms")), "null/5 []");
    assert_eq!(shown(entry(&entries, "log.retention.hours")), "168/5 [log.retention.hours=168/5]");
}

#[test]
fn the_broker_reports_what_streamds_own_keys_came_to() {
    let set = [
        ("data_dir", "/d"),
        ("node_id", "7"),
        ("listen.kafka", "plain://127.0.0.1:9092"),
        ("listen.advertise", "h:1"),
    ];
    let entries = config(&set).broker_entries();
    let value = |name| entry(&entries, name).value.clone().unwrap();
    assert_eq!(value("log.dirs"), "/d");
    assert_eq!(value("broker.id"), "7");
    assert_eq!(value("listeners"), "PLAINTEXT://127.0.0.1:9092");
    assert_eq!(value("advertised.listeners"), "PLAINTEXT://h:1");
    assert_eq!(entry(&entries, "node.id").source, Source::StaticBroker);
}

#[test]
fn the_dev_profiles_defaults_are_defaults() {
    let entries = config(&[("profile", "dev")]).broker_entries();
    assert_eq!(
        shown(entry(&entries, "offsets.retention.minutes")),
        "2147483647/5 [offsets.retention.minutes=2147483647/5]"
    );
}
