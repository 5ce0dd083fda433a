//! Environment variables: the spellings of the images that people have, and streamd's own.
//!
//! `KAFKA_LOG_RETENTION_MS` (Apache, Confluent), `KAFKA_CFG_LOG_RETENTION_MS` (Bitnami), `STREAMD_LOG_RETENTION_MS`.
//! In the first two `_` stands for `.`, `__` for `_` and `___` for `-`. Programs around a broker have `KAFKA_…`
//! variables of their own, so unknown ones only warn; an unknown `STREAMD_…` is an error. Empty variables count as
//! not set.

use std::collections::HashMap;

use super::keys;
use super::names::{self, Meaning, Place};
use super::raw::{Layer, Origin, Problem, Said, Written, WrittenTopic};

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct FromEnv {
    /// Its settings and topics.
    pub(super) said: Said,
    /// `KAFKA_…` variables that mean nothing here, with a guess.
    pub(super) unknown: Vec<String>,
    /// Whether a `KAFKA_…` variable was used: then somebody may wait for Kafka's log lines.
    pub(super) kafka: bool,
}

/// Variables of Kafka's scripts and images that are about the JVM or the image.
const HARMLESS: &[&str] = &[
    "KAFKA_BASE_DIR",
    "KAFKA_CERTIFICATE_PASSWORD",
    "KAFKA_CREATE_TOPICS_SEPARATOR",
    "KAFKA_DEBUG",
    "KAFKA_ENABLE_KRAFT",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_MODE",
    "KAFKA_OPTS",
    "KAFKA_PORT",
    "KAFKA_VERSION",
    "KAFKA_VOLUME_DIR",
];

/// The same, by prefix. Kubernetes sets the last two for a service named `kafka`.
const HARMLESS_PREFIXES: &[&str] = &["KAFKA_JMX_", "KAFKA_LOG4J_", "KAFKA_PORT_", "KAFKA_SERVICE_"];

/// Variables that are read elsewhere: by the client verbs, and together by [`advertised_address`].
const OTHERS: &[&str] = &["STREAMD_BROKERS", "KAFKA_ADVERTISED_HOST_NAME", "KAFKA_ADVERTISED_PORT"];

/// Variables that ask for what this version cannot do, and whose loss would leave a broker open.
const REFUSED: &[&str] = &["KAFKA_CLIENT_USERS", "KAFKA_CLIENT_PASSWORDS"];

/// Reads the variables that concern a broker.
pub(super) fn read(variables: &[(String, String)], problems: &mut Vec<Problem>) -> FromEnv {
    let mut from = FromEnv::default();
    let own = own_spellings();
    for (name, text) in variables.iter().filter(|(_, text)| !text.is_empty()) {
        if let Err(text) = from.take(name, text, &own) {
            problems.push(Problem::new(&Origin::Env(name.clone()), text));
        }
    }
    from.said.settings.extend(advertised_address(variables));
    from
}

impl FromEnv {
    fn take(&mut self, name: &str, text: &str, own: &HashMap<String, &'static str>) -> Result<(), String> {
        match name {
            "CLUSTER_ID" => self.set("cluster_id", name, text, Layer::EnvKafka),
            "KAFKA_CLUSTER_ID" | "KAFKA_KRAFT_CLUSTER_ID" => {
                self.kafka = true;
                self.set("cluster_id", name, text, Layer::EnvKafka);
            }
            "KAFKA_CREATE_TOPICS" => self.said.topics.extend(topics(text, &Origin::Env(name.to_owned()))?),
            _ if REFUSED.contains(&name) => {
                return Err("authentication is not available in this version of streamd.".to_owned());
            }
            _ if OTHERS.contains(&name) || is_harmless(name) => {}
            _ => {
                if let Some(rest) = name.strip_prefix("STREAMD_") {
                    let setting = own.get(rest).ok_or_else(|| unknown_own(rest, own))?;
                    self.set(setting, name, text, Layer::EnvOwn);
                } else if let Some(rest) = name.strip_prefix("KAFKA_CFG_") {
                    self.take_kafkas(rest, (name, text), Layer::EnvBitnami, own);
                } else if let Some(rest) = name.strip_prefix("KAFKA_") {
                    self.take_kafkas(rest, (name, text), Layer::EnvKafka, own);
                }
            }
        }
        Ok(())
    }

    fn take_kafkas(
        &mut self,
        rest: &str,
        (name, text): (&str, &str),
        layer: Layer,
        own: &HashMap<String, &'static str>,
    ) {
        let property = decode(rest);
        match names::resolve(&property, Place::KafkaVariable) {
            Ok(Meaning::Setting(_) | Meaning::Foreign) => {
                self.kafka = true;
                self.set(&property, name, text, layer);
            }
            Err(_) => self.unknown.push(guess(name, rest, &property, own)),
        }
    }

    fn set(&mut self, setting: &str, name: &str, text: &str, layer: Layer) {
        let origin = Origin::Env(name.to_owned());
        let written = Written { name: setting.to_owned(), text: text.to_owned(), origin, layer };
        self.said.settings.push(written);
    }
}

fn is_harmless(name: &str) -> bool {
    HARMLESS.contains(&name) || HARMLESS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Kafka's property behind the part of a variable after its prefix.
fn decode(rest: &str) -> String {
    rest.to_ascii_lowercase()
        .replace("___", "-")
        .replace("__", "\u{0}")
        .replace('_', ".")
        .replace('\u{0}', "_")
}

/// The variable of a Kafka property.
fn encode(property: &str) -> String {
    property.replace('_', "__").replace('.', "_").replace('-', "___").to_ascii_uppercase()
}

/// Every setting by the part of its `STREAMD_…` variable after the prefix. Own names win where both exist; they then
/// mean the same.
fn own_spellings() -> HashMap<String, &'static str> {
    let spell = |name: &str| name.replace(['.', '-'], "_").to_ascii_uppercase();
    keys::broker().chain(keys::own()).map(|key| (spell(key.name), key.name)).collect()
}

fn unknown_own(rest: &str, own: &HashMap<String, &'static str>) -> String {
    if rest == "PORT" {
        return "unknown variable. Write STREAMD_LISTEN_KAFKA=0.0.0.0:9092 with another port.".to_owned();
    }
    match names::nearest(rest, own.keys().map(String::as_str)) {
        Some(near) => format!("unknown variable. Did you mean STREAMD_{near}?"),
        None => "unknown variable. STREAMD_ is followed by a key's name, as in STREAMD_DATA_DIR.".to_owned(),
    }
}

fn guess(name: &str, rest: &str, property: &str, own: &HashMap<String, &'static str>) -> String {
    if own.contains_key(rest) {
        return format!("{name} (a setting of streamd's own: write STREAMD_{rest})");
    }
    match names::nearest(property, keys::broker().map(|key| key.name)) {
        Some(near) => format!("{name} (did you mean KAFKA_{}?)", encode(near)),
        None => name.to_owned(),
    }
}

/// wurstmeister's pair of variables, as one address.
fn advertised_address(variables: &[(String, String)]) -> Option<Written> {
    let find = |wanted: &str| {
        variables.iter().find(|(name, text)| name == wanted && !text.is_empty()).map(|(_, text)| text)
    };
    let host_variable = "KAFKA_ADVERTISED_HOST_NAME";
    let host = find(host_variable)?;
    let text = match find("KAFKA_ADVERTISED_PORT") {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    let origin = Origin::Env(host_variable.to_owned());
    Some(Written { name: "listen.advertise".to_owned(), text, origin, layer: Layer::EnvKafka })
}

/// `KAFKA_CREATE_TOPICS`, as wurstmeister had it: `name:partitions:replicas[:cleanup.policy]`, with commas between.
fn topics(text: &str, origin: &Origin) -> Result<Vec<WrittenTopic>, String> {
    text.split([',', '\n'])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let mut parts = entry.split(':');
            let mut settings = Vec::new();
            let mut set = |name: &str, text: &str| {
                let (name, text) = (name.to_owned(), text.trim().to_owned());
                settings.push(Written { name, text, origin: origin.clone(), layer: Layer::EnvKafka });
            };
            set("name", parts.next().unwrap_or_default());
            if let Some(partitions) = parts.next() {
                set("partitions", partitions);
            }
            let _replicas = parts.next();
            if let Some(policy) = parts.next() {
                set("config.cleanup.policy", policy);
            }
            match parts.next() {
                None => Ok(WrittenTopic { origin: origin.clone(), settings }),
                Some(_) => {
                    Err(format!("\"{entry}\" must be name:partitions:replicas, or with :compact behind it."))
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_spelling_is_undone() {
        assert_eq!(decode("LOG_RETENTION_MS"), "log.retention.ms");
        assert_eq!(decode("A__B_C___D"), "a_b.c-d");
        assert_eq!(encode("a_b.c-d"), "A__B_C___D");
    }

    #[test]
    fn every_setting_has_one_variable() {
        let spellings = own_spellings();
        for key in keys::own().chain(keys::broker()) {
            let spelling = key.name.replace(['.', '-'], "_").to_ascii_uppercase();
            let found = spellings[&spelling];
            assert_eq!(keys::canonical(found), keys::canonical(key.name), "STREAMD_{spelling} is ambiguous");
        }
    }
}
