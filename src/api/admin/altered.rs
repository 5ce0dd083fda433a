//! What AlterConfigs and IncrementalAlterConfigs have in common: which resources there are, what is refused before the
//! catalog is asked, and in which order the answers stand (S96; Kafka's ConfigAdminManager).
//!
//! Topics have settings that change. This broker's own are read at its start, it has none of Java's loggers, and it
//! keeps no client metrics subscriptions and no settings of groups: all of these are refused as a whole.

use std::collections::{HashMap, HashSet};

use crate::api::Api;
use crate::catalog::{AlterTopic, Command, ConfigChange, Reply, TopicImage};
use crate::config::keys::{self, Kind, Scope};
use crate::types::ErrorCode;

/// Resource types (KIP-133 and later).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// What is to happen to one setting. Values are unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// It gets this value.
    Set(Option<String>),
    /// It goes back to its default.
    Delete,
    /// Its list gets these elements.
    Append(Option<String>),
    /// Its list loses these elements.
    Subtract(Option<String>),
    /// An operation of this number.
    Unknown(i8, Option<String>),
}

impl Change {
    /// Whether it has no value where it needs one.
    fn lacks_value(&self) -> bool {
        matches!(self, Self::Set(None) | Self::Append(None) | Self::Subtract(None) | Self::Unknown(_, None))
    }
}

/// A resource whose settings are to change.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) resource_type: i8,
    pub(super) name: String,
    pub(super) changes: Vec<(String, Change)>,
}

/// What became of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: ErrorCode,
    pub(super) message: Option<String>,
}

impl Outcome {
    const DONE: Self = Self { code: ErrorCode::None, message: None };

    fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::refused(ErrorCode::InvalidRequest, message)
    }
}

/// Changes settings for `who`, and says for each resource, in the order asked, what became of it. `has_loggers`: the API knows the
/// loggers of brokers. `translate` makes the catalog's command of changes that have their values.
pub(super) async fn alter(
    api: &Api,
    who: &str,
    wanted: Vec<Wanted>,
    validate_only: bool,
    has_loggers: bool,
    translate: impl Fn(Vec<(String, Change)>) -> ConfigChange,
) -> Vec<Outcome> {
    let mut times = HashMap::new();
    for resource in &wanted {
        *times.entry((resource.resource_type, resource.name.clone())).or_insert(0) += 1;
    }
    let mut outcomes = Vec::with_capacity(wanted.len());
    let mut topics = Vec::new();
    for resource in wanted {
        let is_twice = times.get(&(resource.resource_type, resource.name.clone())).is_some_and(|n| *n > 1);
        let refused = if is_twice {
            Some(Outcome::invalid("Each resource must appear at most once."))
        } else {
            check(&resource).or_else(|| of_others(&resource, api.broker.node_id(), has_loggers))
        };
        if refused.is_none() {
            topics.push(AlterTopic { name: resource.name, change: translate(resource.changes) });
        }
        outcomes.push(refused);
    }
    let mut answers = alter_topics(api, who, topics, validate_only).await.into_iter();
    let unknown = || Outcome::refused(ErrorCode::UnknownServerError, "The catalog gave no answer.");
    outcomes.into_iter().map(|refused| refused.or_else(|| answers.next()).unwrap_or_else(unknown)).collect()
}

/// What is wrong with a resource of any type.
fn check(resource: &Wanted) -> Option<Outcome> {
    let mut names = HashSet::new();
    if !resource.changes.iter().all(|(name, _)| names.insert(name)) {
        return Some(Outcome::invalid("Error due to duplicate config keys"));
    }
    let lacking = resource.changes.iter().filter(|(_, change)| change.lacks_value());
    let lacking: Vec<&str> = lacking.map(|(name, _)| name.as_str()).collect();
    if !lacking.is_empty() {
        return Some(Outcome::invalid(format!("Null value not supported for : {}", lacking.join(", "))));
    }
    if resource.resource_type == BROKER_LOGGER {
        // Its words come after its name was looked at.
        return None;
    }
    let unknown = resource.changes.iter().find_map(|(_, change)| match change {
        Change::Unknown(number, _) => Some(*number),
        _ => None,
    });
    unknown.map(|number| Outcome::invalid(format!("Unknown operations type {number}")))
}

/// The answer for what is no topic.
fn of_others(resource: &Wanted, node: i32, has_loggers: bool) -> Option<Outcome> {
    match resource.resource_type {
        TOPIC => None,
        BROKER => Some(of_broker(resource, node)),
        BROKER_LOGGER if has_loggers => Some(of_loggers(resource, node)),
        CLIENT_METRICS => Some(Outcome::invalid("This broker keeps no client metrics subscriptions.")),
        GROUP => Some(Outcome::invalid("This broker keeps no settings of single groups.")),
        other => Some(Outcome::invalid(format!("Unknown resource type {other}"))),
    }
}

/// A broker's settings are read at its start. Taking back what was never set is done at once.
fn of_broker(resource: &Wanted, node: i32) -> Outcome {
    if !resource.name.is_empty()
        && let Err(outcome) = check_node(&resource.name, node)
    {
        return outcome;
    }
    let mut fixed = Vec::new();
    for (name, change) in &resource.changes {
        match change {
            Change::Delete => {}
            Change::Append(_) | Change::Subtract(_) => match keys::find(Scope::Broker, name) {
                None => {
                    let message = format!("Unknown config name: {name}");
                    return Outcome::refused(ErrorCode::InvalidConfig, message);
                }
                Some(key) if key.kind != Kind::List => {
                    let message = format!("Config value cannot be changed as a list for config key: {name}");
                    return Outcome::refused(ErrorCode::InvalidConfig, message);
                }
                Some(_) => fixed.push(name.as_str()),
            },
            Change::Set(_) | Change::Unknown(..) => fixed.push(name.as_str()),
        }
    }
    if fixed.is_empty() {
        return Outcome::DONE;
    }
    Outcome::invalid(format!(
        "Cannot update these configs dynamically: {}. Set them where this broker's settings are and start it again.",
        fixed.join(", ")
    ))
}

/// No logger has the name that Kafka's have.
fn of_loggers(resource: &Wanted, node: i32) -> Outcome {
    if let Err(outcome) = check_node(&resource.name, node) {
        return outcome;
    }
    match resource.changes.first() {
        None => Outcome::DONE,
        Some((name, Change::Set(_) | Change::Delete)) => {
            Outcome::refused(ErrorCode::InvalidConfig, format!("Logger {name} does not exist!"))
        }
        Some(_) => Outcome::invalid("This operation is not allowed for the BROKER_LOGGER resource"),
    }
}

fn check_node(name: &str, node: i32) -> Result<(), Outcome> {
    match name.parse::<i32>() {
        Ok(id) if id == node => Ok(()),
        Ok(_) => Err(Outcome::invalid(format!("Unexpected broker id, expected {node}, but received {name}"))),
        Err(_) => Err(Outcome::invalid(format!("Node id must be an integer, but it is: {name}"))),
    }
}

/// One answer for each topic.
async fn alter_topics(api: &Api, who: &str, topics: Vec<AlterTopic>, validate_only: bool) -> Vec<Outcome> {
    if topics.is_empty() {
        return Vec::new();
    }
    let count = topics.len();
    let before = api.broker.image();
    let is_news = |topic: &TopicImage| {
        before
            .topic(&topic.name)
            .is_none_or(|known| known.id != topic.id || known.overrides != topic.overrides)
    };
    match api.broker.catalog().call(Command::AlterTopics { topics, validate_only }).await {
        Reply::Topics(outcomes) => outcomes
            .into_iter()
            .map(|outcome| match outcome.result {
                Ok(topic) if !validate_only && is_news(&topic) => {
                    tracing::info!(topic = %topic.name, settings = ?topic.overrides, "topic settings changed by client {who}");
                    Outcome::DONE
                }
                Ok(_) => Outcome::DONE,
                Err(error) => Outcome { code: error.code, message: error.message },
            })
            .collect(),
        Reply::Refused(code) => vec![Outcome { code, message: None }; count],
        _ => Vec::new(),
    }
}
