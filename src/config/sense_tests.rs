//! Values out of sense, and rules between settings.

use super::*;

/// What is said of one setting with this value, on a machine with a gigabyte.
fn said(name: &str, text: &str) -> String {
    let sources =
        Sources { flags: vec![flag(name, text)], machine_memory_bytes: 1 << 30, ..Sources::default() };
    match load(&sources) {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn values_out_of_sense_are_refused_with_what_to_write_instead() {
    for (name, texts, instead) in [
        ("disk.limit", &["0", "1M", "-1", "NaN", "16777215"][..], "at least 16 MiB."),
        ("disk.reserve", &["100%", "50.1%", "-1%", "-1", "NaN%"], "or a share such as \"5%\", at most 50%."),
        ("disk.scrub_rate", &["1", "65535", "-1"], "at least 64 KiB, or 0."),
        ("disk.scrub_interval", &["0s", "1ms", "7"], "such as \"7d\" or \"1h 30m\", at least 100ms."),
        ("memory.limit", &["0", "15 MiB"], "at least 16 MiB."),
        ("network.request_limit", &["0", "1 KiB"], "at least 64 KiB."),
        ("network.in_flight_connection", &["0"], "at least 64 KiB."),
        ("network.in_flight_total", &["0"], "at least 64 KiB."),
        (
            "log.cleaner.io.buffer.load.factor",
            &["7", "-3", "0", "1e-300", "1.01", "NaN"],
            "between 0.01 and 1.",
        ),
        ("log.cleaner.dedupe.buffer.size", &["-1", "10", "0", "1048575"], "at least 1048576 (1 MiB)."),
        ("log.cleaner.io.max.bytes.per.second", &["1e-300", "-1", "0", "NaN", "inf"], "at least 1024."),
        ("log.cleaner.threads", &["-1", "257"], "between 0 and 256."),
        ("log.flush.interval.ms", &["-1"], "at least 0."),
        ("log.roll.ms", &["0", "-1"], "at least 1."),
        ("log.roll.jitter.ms", &["-1"], "at least 0."),
        ("group.max.session.timeout.ms", &["0"], "at least 1."),
        ("offsets.topic.num.partitions", &["0", "-1", "10001", "2147483647"], "between 1 and 10000."),
        ("transaction.state.log.num.partitions", &["0", "-1", "10001", "2147483647"], "between 1 and 10000."),
        ("offset.metadata.max.bytes", &["-1"], "at least 0."),
        ("connections.max.idle.ms", &["0", "100"], "(100), or -1 for ever."),
        (
            "max.connections.per.ip",
            &["0"],
            "can be 0 only if max.connections.per.ip.overrides says who may connect.",
        ),
    ] {
        for text in texts {
            let said = said(name, text);
            assert!(said.starts_with(&format!("--set {name}={text}: {name}")), "{said}");
            assert!(said.ends_with(instead), "{said}");
        }
    }
    assert_eq!(
        error(&toml_file("[disk]\nlimit = 0\n")),
        "broker.toml:2:1: disk.limit = \"0\": must be a number of bytes, or a size such as \"256 MiB\", at least 16 MiB."
    );
}

#[test]
fn what_has_a_meaning_at_the_edge_is_taken() {
    for (name, text) in [
        ("disk.limit", "16 MiB"),
        ("disk.reserve", "0"),
        ("disk.reserve", "50%"),
        ("disk.scrub_rate", "0"),
        ("log.cleaner.io.buffer.load.factor", "1"),
        ("log.cleaner.dedupe.buffer.size", "1048576"),
        ("log.cleaner.backoff.ms", "0"),
        ("log.retention.bytes", "-1"),
        ("connections.max.idle.ms", "-1"),
        ("socket.send.buffer.bytes", "-1"),
        ("offsets.topic.num.partitions", "10000"),
        ("transaction.state.log.num.partitions", "10000"),
    ] {
        assert_eq!(said(name, text), "taken", "{name}");
    }
    assert_eq!(
        load(&properties("max.connections.per.ip=0\nmax.connections.per.ip.overrides=127.0.0.1:9\n"))
            .map(|loaded| loaded.config.network.connections_per_ip_max),
        Ok(0)
    );
}

#[test]
fn cleaners_have_memory_each_and_leave_some_to_others() {
    let refused = error(&properties("log.cleaner.dedupe.buffer.size=2097152\nlog.cleaner.threads=3\n"));
    assert_eq!(
        refused,
        "server.properties:1:1: log.cleaner.dedupe.buffer.size: must be at least 1 MiB for each of the 3 \
         log.cleaner.threads."
    );
    assert_eq!(
        error(&properties("log.cleaner.threads=256\n")),
        "server.properties:1:1: log.cleaner.threads: needs a log.cleaner.dedupe.buffer.size of at least 1 MiB for each \
         thread; it is 128 MiB."
    );
    let with = |text: &str| load(&Sources { machine_memory_bytes: 1 << 30, ..properties(text) }).unwrap();
    let loaded =
        with("log.cleaner.dedupe.buffer.size=9223372036854775807\nlog.cleaner.io.buffer.size=2147483647\n");
    assert_eq!(loaded.config.cleaner.map_bytes, 1 << 29);
    assert_eq!(loaded.config.cleaner.read_bytes, 1 << 26);
    assert_eq!(
        loaded.warnings,
        [
            "server.properties:1:1: log.cleaner.dedupe.buffer.size: half of memory.limit is the most that it may be, \
          536 MB are used."
        ]
    );
    assert_eq!(with("").config.cleaner.map_bytes, 1 << 27);
    let backoff = with("log.cleaner.backoff.ms=0\n").config.cleaner.backoff;
    assert_eq!(backoff, std::time::Duration::from_millis(10), "nobody looks without a pause");
}

#[test]
fn compaction_that_is_off_is_warned_of() {
    for text in ["log.cleaner.enable=false\n", "log.cleaner.threads=0\n"] {
        let loaded = load(&properties(text)).unwrap();
        assert_eq!(loaded.config.cleaner.threads, 0);
        let written = text.trim().replace('=', " = ");
        assert_eq!(
            loaded.warnings,
            [format!(
                "server.properties:1:1: {written}: nothing is compacted. Topics with cleanup.policy=compact grow without \
                 bound, and so does __consumer_offsets, with every commit."
            )]
        );
    }
}

#[test]
fn a_limit_that_a_few_segments_fill_is_warned_of() {
    let told = |text: &str| load(&toml_file(text)).unwrap().warnings;
    assert_eq!(
        told("[disk]\nlimit = \"1 GiB\"\n"),
        [
            "broker.toml:2:1: disk.limit = 1 GiB: only closed segments are deleted, and they are closed at 1 GiB. Set \
          log.segment.bytes to a tenth of disk.limit or less, or retention may find nothing to delete when the limit \
          is reached."
        ]
    );
    assert_eq!(told("[disk]\nlimit = \"50 GiB\"\n"), [""; 0]);
    assert_eq!(told("[disk]\nlimit = \"1 GiB\"\n[kafka]\nlog.segment.bytes = \"100 MiB\"\n"), [""; 0]);
}

#[test]
fn no_extreme_of_any_setting_is_more_than_the_settings_can_bear() {
    use crate::config::keys::{self, Kind};
    let whole = ["0", "-1", "2147483647", "-9223372036854775808", "9223372036854775807"];
    let fractions = ["NaN", "-inf", "1e-300", "-1e-300", "1e308"];
    for key in keys::own().chain(keys::broker()) {
        let texts = match key.kind {
            Kind::Int | Kind::Long | Kind::Short => &whole[..],
            Kind::Double | Kind::String if key.status == keys::Status::Effective => &fractions[..],
            _ => continue,
        };
        for text in texts {
            let said = said(key.name, text);
            assert!(said == "taken" || said.contains(key.name), "{} = {text}: {said}", key.name);
        }
    }
}
