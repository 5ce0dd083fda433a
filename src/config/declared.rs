//! Declared topics: `[[topics]]` of `broker.toml` and `KAFKA_CREATE_TOPICS`.

use std::collections::BTreeMap;

use super::keys::{self, Scope};
use super::names;
use super::raw::{Layer, Problem, Written, WrittenTopic};
use super::settings::shown;
use super::value;
use super::{DeclaredTopic, TopicDefaults, topic};
use crate::types::topic_name;

/// Partitions that one request may make, and so one topic at its making.
const PARTITIONS_MAX: i32 = 10_000;

/// Checks the topics and merges them by name; a topic of a higher layer replaces that of a lower one.
pub(super) fn topics(
    written: Vec<WrittenTopic>,
    defaults: &TopicDefaults,
    problems: &mut Vec<Problem>,
) -> Vec<DeclaredTopic> {
    let mut by_name: BTreeMap<String, (Layer, DeclaredTopic)> = BTreeMap::new();
    for topic in written {
        let layer = topic.settings.iter().map(|written| written.layer).max().unwrap_or(Layer::File);
        match declared(&topic, defaults) {
            Ok(declared) => match by_name.get(&declared.name) {
                Some((earlier, _)) if *earlier == layer => {
                    let text = format!("topic \"{}\" is declared twice.", declared.name);
                    problems.push(Problem::new(&topic.origin, text));
                }
                Some((earlier, _)) if *earlier > layer => {}
                _ => {
                    by_name.insert(declared.name.clone(), (layer, declared));
                }
            },
            Err(problem) => problems.push(problem),
        }
    }
    by_name.into_values().map(|(_, topic)| topic).collect()
}

fn declared(topic: &WrittenTopic, defaults: &TopicDefaults) -> Result<DeclaredTopic, Problem> {
    let (mut name, mut partitions, mut config) = (None, None, BTreeMap::new());
    for written in &topic.settings {
        let problem = |text: String| Problem::new(&written.origin, text);
        match written.name.as_str() {
            "name" => name = Some(name_of(&written.text).map_err(problem)?),
            "partitions" => partitions = Some(partition_count(&written.text).map_err(problem)?),
            other => match other.strip_prefix("config.") {
                Some(setting) => {
                    let (setting, text) = topic_setting(setting, written).map_err(problem)?;
                    config.insert(setting, text);
                }
                None if keys::find(Scope::Topic, other).is_some() => {
                    return Err(problem(format!(
                        "unknown key \"{other}\". A topic's settings stand in config = {{ \"{other}\" = … }}."
                    )));
                }
                None => {
                    let near = names::nearest(other, ["name", "partitions", "config"].into_iter());
                    return Err(problem(names::unknown(other, near)));
                }
            },
        }
    }
    let name = name.ok_or_else(|| Problem::new(&topic.origin, "a topic needs a name."))?;
    defaults
        .validate(&config)
        .map_err(|text| Problem::new(&topic.origin, format!("topic \"{name}\": {text}.")))?;
    Ok(DeclaredTopic { name, partitions, config })
}

/// A name that the catalog will take.
fn name_of(text: &str) -> Result<String, String> {
    match topic_name::check(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "topic name \"{text}\" must be 1 to 249 letters, digits, dots, underscores and dashes, and not . or .."
        )),
    }
}

fn partition_count(text: &str) -> Result<i32, String> {
    text.parse()
        .ok()
        .filter(|partitions| (1..=PARTITIONS_MAX).contains(partitions))
        .ok_or_else(|| format!("partitions = {text}: must be between 1 and {PARTITIONS_MAX}."))
}

fn topic_setting(name: &str, written: &Written) -> Result<(String, String), String> {
    let Some(key) = keys::find(Scope::Topic, name) else {
        return Err(names::unknown(name, topic::nearest_name(name)));
    };
    let text = value::parse_human(key, &written.text).map_err(|fault| {
        format!("{name} = {}: must be {}.", shown(key, &written.text), fault.in_plain_words(key))
    })?;
    Ok((name.to_owned(), text))
}
