//! Rules between settings, which the range of none of them can say: those that stop the start, as Kafka's do, and
//! those that somebody should hear of.

use super::assemble::{MAP_BYTES, map_bytes_max};
use super::keys::{self, Scope};
use super::raw::Problem;
use super::settings::Settings;
use super::{Config, TopicDefaults, units, value};
use crate::types::offset::saturate_i64;

/// The least memory for one cleaner's key map.
const MAP_BYTES_MIN: i64 = 1 << 20;

/// Every rule that these settings break.
pub(super) fn broken(s: &Settings, defaults: &TopicDefaults) -> Vec<Problem> {
    let mut found = Found { settings: s, problems: Vec::new() };
    of_topics(&mut found, defaults);
    of_cleaners(&mut found);
    of_clients(&mut found);
    of_cluster(&mut found);
    found.problems
}

/// What has been found to be wrong.
struct Found<'a> {
    settings: &'a Settings,
    problems: Vec<Problem>,
}

impl Found<'_> {
    /// Unless it holds, this is wrong with the setting, where it or a synonym of it was set.
    fn require(&mut self, holds: bool, name: &str, text: impl Into<String>) {
        if !holds {
            self.problems.push(self.settings.problem(name, text));
        }
    }
}

/// What a broker property makes of all topics must be what a topic itself may have.
fn of_topics(found: &mut Found<'_>, defaults: &TopicDefaults) {
    let topic = defaults.settings();
    let ms = topic.retention_ms;
    found.require(ms == -1 || ms >= 1, "log.retention.ms", "must be at least 1, or -1 for ever");
    let known = ["retention.ms"];
    for key in keys::topic().filter(|key| !known.contains(&key.name)) {
        let (Some(property), Some(text)) = (key.synonyms.first(), defaults.value(key.name)) else { continue };
        if let Err(fault) = value::parse(key, text) {
            found.require(false, property, format!("must be {}", fault.in_plain_words(key)));
        }
    }
    let (min, max) = (topic.min_compaction_lag_ms, topic.max_compaction_lag_ms);
    let text = format!("must not be above log.cleaner.max.compaction.lag.ms ({max})");
    found.require(min <= max, "log.cleaner.min.compaction.lag.ms", text);
}

fn of_cleaners(found: &mut Found<'_>) {
    let s = found.settings;
    let (threads, all) = (s.long("log.cleaner.threads").max(1), s.long(MAP_BYTES));
    let each = units::show_bytes(MAP_BYTES_MIN);
    let (name, text) = match s.chosen(MAP_BYTES) {
        Some(_) => {
            (MAP_BYTES, format!("must be at least {each} for each of the {threads} log.cleaner.threads"))
        }
        None => {
            let all = units::show_bytes(all);
            let text = format!("needs a {MAP_BYTES} of at least {each} for each thread; it is {all}");
            ("log.cleaner.threads", text)
        }
    };
    found.require(all / threads >= MAP_BYTES_MIN, name, text);
}

fn of_clients(found: &mut Found<'_>) {
    let s = found.settings;
    let (min, max) = (s.long("group.min.session.timeout.ms"), s.long("group.max.session.timeout.ms"));
    let text = format!("must not be above group.max.session.timeout.ms ({max})");
    found.require(min <= max, "group.min.session.timeout.ms", text);
    let overrides = "max.connections.per.ip.overrides";
    let somebody =
        s.long("max.connections.per.ip") > 0 || s.text(overrides).is_some_and(|text| !text.is_empty());
    let text = format!("can be 0 only if {overrides} says who may connect");
    found.require(somebody, "max.connections.per.ip", text);
    let (idle, delay) =
        (s.long("connections.max.idle.ms"), s.long("connection.failed.authentication.delay.ms"));
    let text = format!("must be above connection.failed.authentication.delay.ms ({delay}), or -1 for ever");
    found.require(idle < 0 || idle > delay, "connections.max.idle.ms", text);
    let factor = s.long("default.replication.factor");
    found.require(factor >= 1, "default.replication.factor", "must be at least 1");
}

fn of_cluster(found: &mut Found<'_>) {
    let s = found.settings;
    let roles = s.text("process.roles").unwrap_or_default();
    found.require(
        roles.split(',').any(|role| role == "broker"),
        "process.roles",
        "streamd is always broker and controller in one. Write broker,controller, or leave it out",
    );
    let node = s.int("node_id");
    let voters = s.text("controller.quorum.voters").unwrap_or_default();
    let others = voters
        .split(',')
        .filter(|voter| !voter.is_empty())
        .filter(|voter| voter.split_once('@').and_then(|(id, _)| id.trim().parse().ok()) != Some(node))
        .count();
    found.require(
        others == 0,
        "controller.quorum.voters",
        format!("names other nodes than {node}, and this version of streamd runs alone"),
    );
}

/// What is allowed, and may not be meant.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let s = &config.settings;
    let at = |name: &str| s.chosen(name).map_or_else(String::new, |chosen| format!("{}: ", chosen.origin));
    let mut warnings = Vec::new();
    if config.cleaner.threads == 0 {
        let name = if s.truth("log.cleaner.enable") { "log.cleaner.threads" } else { "log.cleaner.enable" };
        let text = s.text(name).unwrap_or_default();
        warnings.push(format!(
            "{}{name} = {text}: nothing is compacted. Topics with cleanup.policy=compact grow without bound, and so does \
             __consumer_offsets, with every commit.",
            at(name)
        ));
    }
    let most = map_bytes_max(s, config.memory_limit_bytes);
    if s.chosen(MAP_BYTES).is_some() && s.long(MAP_BYTES).unsigned_abs() > most {
        let shown = units::show_rounded(most);
        warnings.push(format!(
            "{}{MAP_BYTES}: half of memory.limit is the most that it may be, {shown} are used.",
            at(MAP_BYTES)
        ));
    }
    let segment = config.topic_defaults.settings().segment_bytes;
    if let Some(limit) = config.disk.limit_bytes
        && saturate_i64(limit) / 2 < i64::from(segment)
    {
        let property = keys::find(Scope::Topic, "segment.bytes").and_then(|key| key.synonyms.first());
        warnings.push(format!(
            "{}disk.limit = {}: only closed segments are deleted, and they are closed at {}. Set {} to a tenth of \
             disk.limit or less, or retention may find nothing to delete when the limit is reached.",
            at("disk.limit"),
            units::show_bytes(saturate_i64(limit)),
            units::show_bytes(segment.into()),
            property.unwrap_or(&"segment.bytes"),
        ));
    }
    warnings
}
