//! A setting that is said to work does: setting it changes the config, and what it changes there is read by those who
//! are to go by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use streamd::config::keys::{self, Key, Kind, Scope, Status, Valid};
use streamd::config::load::{Flag, Sources, load};
use streamd::config::{Config, Settings, TopicDefaults};

use crate::source::Source;

/// Values for settings whose form is their own.
const VALUES: [(&str, &[(&str, &str)]); 28] = [
    ("data_dir", &[("data_dir", "/elsewhere")]),
    ("log.dir", &[("log.dir", "/elsewhere")]),
    ("log.dirs", &[("log.dirs", "/elsewhere")]),
    ("listen.kafka", &[("listen.kafka", "127.0.0.1:9999")]),
    ("listeners", &[("listeners", "PLAINTEXT://127.0.0.1:9999")]),
    ("listen.advertise", &[("listen.advertise", "elsewhere:9999")]),
    ("advertised.listeners", &[("advertised.listeners", "PLAINTEXT://elsewhere:9999")]),
    ("listen.advertise.internal", &[("listen.advertise.internal", "elsewhere:9999")]),
    ("listen.advertise.external", &[("listen.advertise.external", "elsewhere:9999")]),
    (
        "listener.security.protocol.map",
        &[("listeners", "IN://127.0.0.1:9999"), ("listener.security.protocol.map", "IN:PLAINTEXT")],
    ),
    (
        "controller.listener.names",
        &[
            ("listeners", "PLAINTEXT://127.0.0.1:9999,OTHER://127.0.0.1:9998"),
            ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT"),
            ("controller.listener.names", "OTHER"),
        ],
    ),
    ("durability.fsync", &[("durability.fsync", "never")]),
    ("disk.reserve", &[("disk.reserve", "7%")]),
    ("disk.limit", &[("disk.limit", "7 GiB")]),
    ("disk.scrub_rate", &[("disk.scrub_rate", "7 MiB")]),
    ("disk.scrub_interval", &[("disk.scrub_interval", "3d")]),
    ("memory.limit", &[("memory.limit", "7 GiB")]),
    ("network.request_limit", &[("network.request_limit", "1 MiB")]),
    ("network.in_flight_connection", &[("network.in_flight_connection", "1 MiB")]),
    ("network.in_flight_total", &[("network.in_flight_total", "99 MiB")]),
    ("log.level", &[("log.level", "debug")]),
    ("max.connections.per.ip.overrides", &[("max.connections.per.ip.overrides", "127.0.0.1:7")]),
    ("connections.max.idle.ms", &[("connections.max.idle.ms", "-1")]),
    ("queued.max.request.bytes", &[("queued.max.request.bytes", "99999999")]),
    ("compression.type", &[("compression.type", "zstd")]),
    ("group.max.session.timeout.ms", &[("group.max.session.timeout.ms", "99999999")]),
    ("log.cleaner.threads", &[("log.cleaner.threads", "7")]),
    ("cluster_id", &[("cluster_id", "5L6g3nShT-eMCtK--X86sw")]),
];

/// Settings that are at work while the settings are read, and in nothing that comes of it.
const CHECKS: [&str; 3] = ["process.roles", "controller.quorum.voters", "profile"];

#[test]
fn what_is_said_to_work_does() {
    let readers: Vec<String> = Source::production()
        .into_iter()
        .filter(|file| !file.path.starts_with("src/config/"))
        .map(|file| file.production_lines().join("\n"))
        .collect();
    assert!(readers.len() > 20, "the sources were not found");
    let is_read = |field: &str| readers.iter().any(|text| mentions(text, field));
    let mut faults = Vec::new();
    for key in keys::own().chain(keys::broker()).chain(keys::topic()) {
        if key.status != Status::Effective || CHECKS.contains(&key.name) {
            continue;
        }
        let fields = changed_by(key);
        if fields.is_empty() {
            faults.push(format!("{} changes nothing", key.name));
        }
        let idle = fields.iter().filter(|field| !is_read(field));
        faults.extend(idle.map(|field| format!("{} changes {field}, which nobody reads", key.name)));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Whether `field` of something is read: behind a dot, or in a pattern.
fn mentions(text: &str, field: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let reads = |form: String| text.match_indices(&form).any(|(at, found)| ends(&text[at + found.len()..]));
    reads(format!(".{field}")) || reads(format!("{{ {field}")) || reads(format!(", {field} }}"))
}

/// The fields of the config that are others when this setting is not at its default.
fn changed_by(key: &Key) -> BTreeSet<String> {
    let fixed = VALUES.iter().find(|(name, _)| *name == key.name && key.scope != Scope::Topic);
    let other = fixed.is_none().then(|| other_value(key));
    let set = match (fixed, &other) {
        (Some((_, pairs)), _) => pairs.to_vec(),
        (None, Some(text)) => vec![(key.name, text.as_str())],
        (None, None) => Vec::new(),
    };
    if key.scope == Scope::Topic {
        let topic = |overrides: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let overrides = overrides.iter().map(own).collect();
            fields(&format!(
                "{:#?}",
                streamd::config::TopicSettings::resolve(&overrides, &TopicDefaults::default())
            ))
        };
        let codec = codec_of(key.name);
        let with = set.iter().copied().chain(codec).collect::<Vec<_>>();
        return differing(&topic(&codec.into_iter().collect::<Vec<_>>()), &topic(&with));
    }
    let codec: Vec<_> = codec_of(key.name).into_iter().collect();
    let set: Vec<_> = set.into_iter().chain(codec.iter().copied()).collect();
    // What makes room for the setting is no effect of it.
    let before: Vec<_> = set.iter().copied().filter(|(name, _)| *name != key.name).collect();
    let before = if key.name == "listener.security.protocol.map" { codec } else { before };
    differing(&config(&before), &config(&set))
}

/// Levels of compression mean something with their codec alone.
fn codec_of(name: &str) -> Option<(&'static str, &'static str)> {
    let codec = name.strip_prefix("compression.")?.strip_suffix(".level")?;
    ["gzip", "lz4", "zstd"].into_iter().find(|known| *known == codec).map(|codec| ("compression.type", codec))
}

/// Some value that is not the default.
fn other_value(key: &Key) -> String {
    let default = key.default.unwrap_or_default();
    match (key.kind, key.valid) {
        (Kind::Boolean, _) => (default != "true").to_string(),
        (_, Valid::OneOf(words) | Valid::OneOfAnyCase(words)) => {
            (*words.iter().find(|word| **word != default).expect("two words")).to_owned()
        }
        (_, Valid::GzipLevel) => "7".to_owned(),
        (_, Valid::Between(_, max)) if default != max.to_string() => max.to_string(),
        (_, Valid::Between(min, _)) => min.to_string(),
        (_, Valid::Hundredths(..)) => "0.7".to_owned(),
        (_, Valid::AtLeast(min)) => (min.max(0) + 3).to_string(),
        (Kind::Int | Kind::Long | Kind::Short, _) => "3".to_owned(),
        (Kind::Double, _) => "0.25".to_owned(),
        _ => "other".to_owned(),
    }
}

fn config(set: &[(&str, &str)]) -> BTreeMap<String, String> {
    let flag = |(name, text): &(&str, &str)| Flag {
        shown: format!("--set {name}={text}"),
        name: (*name).to_owned(),
        text: (*text).to_owned(),
    };
    let profile = ("profile", "prod");
    let flags = std::iter::once(&profile).chain(set).map(flag).collect();
    let sources = Sources { flags, machine_memory_bytes: 1 << 30, ..Sources::default() };
    let mut config: Config = load(&sources).unwrap_or_else(|error| panic!("{set:?}: {error}")).config;
    let topic = Arc::clone(config.topic_defaults.settings());
    // Both hold what was set as it was written; what came of it counts.
    config.settings = Arc::new(Settings::default());
    config.topic_defaults = TopicDefaults::default();
    fields(&format!("{topic:#?}\n{config:#?}"))
}

/// The values of a debug output by the paths of their fields.
fn fields(text: &str) -> BTreeMap<String, String> {
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let name = line.trim_start().split_once(": ").map_or("", |(name, _)| name);
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
        {
            path.retain(|(outer, _)| *outer < indent);
            path.push((indent, name.to_owned()));
        }
        let names: Vec<_> =
            path.iter().filter(|(outer, _)| *outer <= indent).map(|(_, name)| name.as_str()).collect();
        let value = fields.entry(names.join(".")).or_default();
        value.push_str(line);
    }
    // What clients are told of the settings is no effect.
    fields.retain(|path, _| path != "reported" && !path.starts_with("reported."));
    fields
}

/// The last names of the paths whose values are not the same.
fn differing(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeSet<String> {
    let paths = before.keys().chain(after.keys());
    paths
        .filter(|path| before.get(*path) != after.get(*path))
        .filter_map(|path| path.rsplit('.').next().map(str::to_owned))
        .filter(|name| !name.is_empty())
        .collect()
}
