//! What DescribeConfigs answers (S95): every setting with its value, who set it, and where else it may come from.

use std::collections::BTreeMap;

use super::keys::{self, Key, Kind, Scope, Update};
use super::settings::Settings;
use super::topic::TopicDefaults;
use super::value;

/// Who set a value, by DescribeConfigs' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// The topic's own override.
    Topic = 1,
    /// This broker's dynamic setting.
    DynamicBroker = 2,
    /// The cluster-wide dynamic setting.
    DynamicDefaultBroker = 3,
    /// File, environment or flag.
    StaticBroker = 4,
    /// Nobody.
    Default = 5,
}

impl Source {
    /// Its number on the wire.
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// One row of a DescribeConfigs answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The setting's name.
    pub name: &'static str,
    /// Its value; `None` when there is none or it is a secret.
    pub value: Option<String>,
    /// Who set it.
    pub source: Source,
    /// Whether a client can never change it.
    pub read_only: bool,
    /// Whether it is a secret.
    pub sensitive: bool,
    /// Its type.
    pub kind: Kind,
    /// What it means.
    pub doc: &'static str,
    /// Where the value may come from, highest precedence first, the one in force included.
    pub synonyms: Vec<ConfigSynonym>,
}

/// One place that a value may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The name there.
    pub name: &'static str,
    /// The value there; `None` when it is a secret.
    pub value: Option<String>,
    /// What kind of place it is.
    pub source: Source,
}

impl TopicDefaults {
    /// What DescribeConfigs answers for a topic with these overrides, sorted by name. Names that Kafka has removed are
    /// listed only where they are set.
    pub fn entries(&self, overrides: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
        let mut entries: Vec<_> = keys::topic()
            .filter(|key| key.listed || overrides.contains_key(key.name))
            .map(|key| self.entry(key, overrides))
            .collect();
        entries.sort_unstable_by_key(|entry| entry.name);
        entries
    }

    fn entry(&self, key: &'static Key, overrides: &BTreeMap<String, String>) -> ConfigEntry {
        let own = overrides.get(key.name).and_then(|text| value::parse(key, text).ok());
        let mut synonyms = Vec::new();
        if let Some(text) = &own {
            synonyms.push(ConfigSynonym { name: key.name, value: Some(text.clone()), source: Source::Topic });
        }
        let below = property_synonyms(self.broker(), key.synonyms);
        // Kafka leaves out defaults that stand under another name than the first: log.retention.hours = 168 does not
        // explain retention.ms to anybody.
        let skipped =
            below.iter().take_while(|s| s.source == Source::Default && Some(&s.name) != key.synonyms.first());
        let skipped = skipped.count();
        synonyms.extend(below.into_iter().skip(skipped));
        ConfigEntry {
            name: key.name,
            value: own.or_else(|| self.value(key.name).map(str::to_owned)),
            source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
            read_only: false,
            sensitive: key.sensitive(),
            kind: key.kind,
            doc: key.doc,
            synonyms,
        }
    }
}

/// What DescribeConfigs answers for this broker, sorted by name. `computed` are values that the settings alone do not
/// show, such as the addresses that listeners came to.
pub(super) fn broker_entries(
    settings: &Settings,
    computed: &BTreeMap<&'static str, String>,
) -> Vec<ConfigEntry> {
    let mut entries: Vec<_> = keys::broker()
        .filter(|key| key.listed)
        .map(|key| {
            let group = keys::SYNONYM_GROUPS.iter().find(|group| group.contains(&key.name));
            let one = [key.name];
            let names = group.map_or(&one[..], |group| group);
            let mut synonyms = property_synonyms(settings, names);
            let first = synonyms.iter().position(|synonym| synonym.name == key.name);
            synonyms.drain(..first.unwrap_or(synonyms.len()));
            let (text, _) = settings.value(key);
            let text = computed.get(key.name).map(String::as_str).or(text);
            ConfigEntry {
                name: key.name,
                value: text.filter(|_| !key.sensitive()).map(str::to_owned),
                source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
                read_only: key.update == Update::ReadOnly,
                sensitive: key.sensitive(),
                kind: key.kind,
                doc: key.doc,
                synonyms,
            }
        })
        .collect();
    entries.sort_unstable_by_key(|entry| entry.name);
    entries
}

/// The places of some broker properties: first where they are set, then their defaults.
fn property_synonyms(settings: &Settings, names: &[&'static str]) -> Vec<ConfigSynonym> {
    let rows = || names.iter().filter_map(|name| keys::find(Scope::Broker, name));
    let synonym = |key: &'static Key, text: &str, source| ConfigSynonym {
        name: key.name,
        value: (!key.sensitive()).then(|| text.to_owned()),
        source,
    };
    let set =
        rows().filter_map(|key| Some(synonym(key, &settings.chosen(key.name)?.text, Source::StaticBroker)));
    let defaults = rows().filter_map(|key| Some(synonym(key, settings.default_of(key)?, Source::Default)));
    set.chain(defaults).collect()
}

#[cfg(test)]
#[path = "describe_tests.rs"]
mod tests;
