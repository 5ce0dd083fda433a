//! Values: types, ranges and units.

use super::*;
use crate::config::keys::{self, Scope};

fn topic(name: &str) -> &'static Key {
    keys::find(Scope::Topic, name).unwrap()
}

fn broker(name: &str) -> &'static Key {
    keys::find(Scope::Broker, name).unwrap()
}

fn plain(key: &Key, text: &str) -> String {
    parse_human(key, text).unwrap_err().in_plain_words(key)
}

#[test]
fn every_default_is_a_value_of_its_own_setting() {
    for key in keys::own().chain(keys::broker()).chain(keys::topic()) {
        if let Some(default) = key.default {
            assert_eq!(parse(key, default).as_deref(), Ok(default), "{}", key.name);
        }
    }
}

#[test]
fn people_may_write_units_where_a_setting_counts_time_or_bytes() {
    assert_eq!(parse_human(topic("retention.ms"), "7d").as_deref(), Ok("604800000"));
    assert_eq!(parse_human(topic("retention.ms"), "-1").as_deref(), Ok("-1"));
    assert_eq!(parse_human(topic("segment.bytes"), "256 MiB").as_deref(), Ok("268435456"));
    assert_eq!(parse_human(broker("log.retention.hours"), "7d").as_deref(), Ok("168"));
    assert_eq!(parse_human(broker("offsets.retention.minutes"), "1w").as_deref(), Ok("10080"));
    assert!(parse_human(broker("log.retention.hours"), "90m").is_err(), "not a whole number of hours");
    assert!(parse_human(broker("num.partitions"), "1k").is_err(), "partitions have no unit");
}

#[test]
fn clients_may_not() {
    assert_eq!(parse(topic("retention.ms"), "7d"), Err(Fault::NotNumber));
}

#[test]
fn a_fault_says_what_to_write_instead() {
    assert_eq!(plain(broker("num.partitions"), "0"), "between 1 and 10000");
    assert_eq!(plain(broker("num.partitions"), "many"), "a whole number, between 1 and 10000");
    assert_eq!(
        plain(broker("log.index.size.max.bytes"), "big"),
        "a number of bytes, or a size such as \"256 MiB\", at least 4"
    );
    assert_eq!(plain(broker("group.consumer.regex.refresh.interval.ms"), "1"), "at least 10000 (10s)");
    assert_eq!(
        plain(broker("offset.metadata.max.bytes"), "9999999999"),
        "a number of bytes, or a size such as \"256 MiB\", at least 0"
    );
    assert_eq!(plain(topic("compression.zstd.level"), "30"), "between -131072 and 22");
    assert_eq!(plain(topic("compression.gzip.level"), "30"), "between 1 and 9, or -1");
    assert_eq!(
        plain(topic("compression.type"), "brotli"),
        "one of: uncompressed, zstd, lz4, snappy, gzip, producer"
    );
    assert_eq!(plain(topic("cleanup.policy"), "shred"), "a list of: compact, delete");
    assert_eq!(plain(topic("preallocate"), "yes"), "true or false");
    let own = |name| keys::find(Scope::Own, name).unwrap();
    assert!(plain(own("durability.fsync"), "sometimes").starts_with("always, batch, never, or interval(1s)"));
    assert!(plain(own("memory.limit"), "lots").starts_with("auto, a number of bytes"));
    assert!(plain(own("disk.reserve"), "105%").starts_with("a size such as \"2 GiB\", or a share"));
    assert!(plain(own("log.level"), "loud").starts_with("error, warn, info"));
    assert!(parse(own("log.level"), "info,streamd::net=debug").is_ok());
}

#[test]
fn doubles_look_as_java_prints_them() {
    let shown = [
        (0.5, "0.5"),
        (1.0, "1.0"),
        (1e-4, "1.0E-4"),
        (12_345_678.0, "1.2345678E7"),
        (0.0, "0.0"),
        (f64::MAX, "1.7976931348623157E308"),
    ];
    for (number, text) in shown {
        assert_eq!(java_double(number), text);
    }
}
