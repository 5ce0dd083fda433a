//! The key table against Kafka 4.3.1's own definitions.

use std::collections::{BTreeMap, HashSet};

use super::*;

/// Kafka's own list: (scope, name) to (type, default, mode, internal).
fn kafkas_list() -> BTreeMap<(&'static str, &'static str), [&'static str; 4]> {
    include_str!("../../../tests/data/config/kafka-4.3.1.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let cells: Vec<_> = line.split('\t').collect();
            let [scope, name, kind, default, mode, internal] = cells[..] else { panic!("{line}") };
            ((scope, name), [kind, default, mode, internal])
        })
        .collect()
}

#[test]
fn every_setting_of_kafka_is_known_with_its_type_default_and_mode() {
    let list = kafkas_list();
    assert_eq!(list.len(), 394);
    for ((scope, name), [kind, default, mode, internal]) in list {
        let scope = if scope == "TOPIC" { Scope::Topic } else { Scope::Broker };
        let key = find(scope, name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(format!("{:?}", key.kind).to_uppercase(), kind, "{name}");
        // What Kafka demands has the value here that streamd always has.
        if default != "<none>" {
            assert_eq!(key.default.unwrap_or("null"), default, "{name}");
        }
        let expected = match mode {
            "cluster-wide" | "-" => Update::Cluster,
            "per-broker" => Update::PerBroker,
            _ => Update::ReadOnly,
        };
        assert_eq!(key.update, expected, "{name}");
        assert_eq!(key.listed, internal != "internal", "{name}");
    }
}

#[test]
fn nothing_is_claimed_that_kafka_does_not_have_but_the_three_removed_topic_settings() {
    let list = kafkas_list();
    let extra: Vec<_> = broker()
        .filter(|key| !list.contains_key(&("BROKER", key.name)))
        .chain(topic().filter(|key| !list.contains_key(&("TOPIC", key.name))))
        .map(|key| key.name)
        .collect();
    let removed =
        ["message.downconversion.enable", "message.format.version", "message.timestamp.difference.max.ms"];
    assert_eq!(extra, removed);
}

#[test]
fn names_are_unique_and_documented() {
    for rows in [own().collect::<Vec<_>>(), broker().collect(), topic().collect()] {
        let names: HashSet<_> = rows.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), rows.len());
        for key in rows {
            assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{}: {}", key.name, key.doc);
        }
    }
}

#[test]
fn aliases_and_synonyms_lead_to_rows() {
    for (alias, target) in ALIASES {
        let found = |name| find(Scope::Own, name).or_else(|| find(Scope::Broker, name));
        assert!(found(alias).is_some(), "{alias}");
        assert!(found(target).is_some(), "{target}");
    }
    for name in topic().flat_map(|key| key.synonyms).chain(SYNONYM_GROUPS.iter().copied().flatten()) {
        assert!(find(Scope::Broker, name).is_some(), "{name}");
    }
    for (name, _) in DEV_DEFAULTS {
        assert!(find(Scope::Own, name).or_else(|| find(Scope::Broker, name)).is_some(), "{name}");
    }
    for (name, _) in REMOVED {
        assert!(find(Scope::Broker, name).is_none(), "{name}");
    }
}

#[test]
fn a_topic_default_is_the_default_of_its_first_property() {
    for key in topic() {
        let Some(first) = key.synonyms.first().and_then(|name| find(Scope::Broker, name)) else { continue };
        if let Some(default) = first.default {
            assert_eq!(key.default, Some(default), "{}", key.name);
        }
        assert_eq!(key.status, first.status, "{}", key.name);
    }
}

#[test]
fn units_follow_from_names() {
    let unit = |scope, name| find(scope, name).unwrap().unit();
    assert_eq!(unit(Scope::Topic, "retention.ms"), Unit::Time(1));
    assert_eq!(unit(Scope::Broker, "log.retention.hours"), Unit::Time(3_600_000));
    assert_eq!(unit(Scope::Broker, "quota.window.size.seconds"), Unit::Time(1_000));
    assert_eq!(unit(Scope::Topic, "segment.bytes"), Unit::Bytes);
    assert_eq!(unit(Scope::Broker, "log.cleaner.dedupe.buffer.size"), Unit::Bytes);
    assert_eq!(unit(Scope::Broker, "group.max.size"), Unit::None);
    assert_eq!(unit(Scope::Broker, "log.cleaner.io.max.bytes.per.second"), Unit::None);
}

#[test]
fn a_number_that_does_something_has_bounds() {
    // These are bounded by a rule, or every number has a meaning: negative ones stand for "no limit".
    let by_rule = [
        "broker.id",
        "connections.max.idle.ms",
        "log.flush.interval.ms",
        "log.flush.scheduler.interval.ms",
        "log.retention.bytes",
        "log.retention.hours",
        "log.retention.minutes",
        "log.retention.ms",
        "log.roll.jitter.ms",
        "log.roll.ms",
        "queued.max.request.bytes",
        "retention.bytes",
    ];
    let is_number = |key: &&Key| matches!(key.kind, Kind::Int | Kind::Long | Kind::Short | Kind::Double);
    let mut unbounded: Vec<_> = own()
        .chain(broker())
        .chain(topic())
        .filter(is_number)
        .filter(|key| key.status == Status::Effective && key.valid == Valid::Any)
        .map(|key| key.name)
        .collect();
    unbounded.sort_unstable();
    assert_eq!(unbounded, by_rule);
}

#[test]
fn no_setting_makes_a_topic_with_more_partitions_than_a_topic_may_have() {
    let makes_a_topic = |key: &&Key| key.name.ends_with("num.partitions") && key.status == Status::Effective;
    let bounds: Vec<_> = broker().filter(makes_a_topic).map(|key| (key.name, key.valid)).collect();
    let all = ["num.partitions", "offsets.topic.num.partitions", "transaction.state.log.num.partitions"];
    let mut names: Vec<_> = bounds.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(names, all);
    assert!(bounds.iter().all(|(_, valid)| *valid == Valid::Between(1, 10_000)), "{bounds:?}");
}
