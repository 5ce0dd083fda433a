//! All settings chosen from the layers, each with its origin: what `streamd config show` prints and DescribeConfigs
//! reports. Only what somebody set is stored; the rest is the table's default.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Profile;
use super::keys::{self, Key, Kind, Scope, Status};
use super::listen;
use super::names::{self, Meaning, Place};
use super::raw::{Layer, Origin, Problem, Written};
use super::value;

/// The one key whose default is the profile itself.
const PROFILE: &str = "profile";

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Settings {
    profile: Profile,
    chosen: BTreeMap<&'static str, Chosen>,
}

/// What was written and does nothing.
#[derive(Debug, Default)]
pub(super) struct WithoutEffect {
    /// Names that are known, and accepted.
    pub(super) idle: Vec<String>,
    /// Sentences about names that are not, each with its place.
    pub(super) unknown: Vec<String>,
}

/// One setting that somebody set.
#[derive(Clone)]
pub struct Chosen {
    /// The row by whose name it was set: an alias, perhaps.
    pub key: &'static Key,
    /// Its value in Kafka's text form.
    pub text: String,
    /// Who set it.
    pub origin: Origin,
    layer: Layer,
    /// Its name there: two spellings of one setting side by side are a mistake.
    written: String,
}

/// Secrets stay out of logs.
impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", shown(self.key, &self.text), self.origin)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(Profile::Prod)
    }
}

impl Settings {
    /// Nobody set anything.
    pub(super) fn new(profile: Profile) -> Self {
        Self { profile, chosen: BTreeMap::new() }
    }

    /// The profile in force.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    pub(super) fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// What somebody set under this name or an alias of it.
    pub fn chosen(&self, name: &str) -> Option<&Chosen> {
        self.chosen.get(keys::canonical(name))
    }

    /// The value in force and where it comes from.
    pub fn value(&self, key: &Key) -> (Option<&str>, Origin) {
        if let Some(chosen) = self.chosen(key.name) {
            return (Some(&chosen.text), chosen.origin.clone());
        }
        let default = self.default_of(key);
        let origin = match key.name {
            PROFILE => Origin::WithFile(self.profile == Profile::Prod),
            _ if default != key.default => Origin::DevProfile,
            _ => Origin::Default,
        };
        (default, origin)
    }

    /// The settings, by name, whose values in force are not the same here and there.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        keys::own()
            .chain(keys::broker())
            .filter(|key| keys::canonical(key.name) == key.name && self.value(key).0 != other.value(key).0)
            .map(|key| key.name)
            .collect()
    }

    /// The default in force: the profile's or the table's.
    pub fn default_of(&self, key: &Key) -> Option<&'static str> {
        if self.profile == Profile::Prod {
            return key.default;
        }
        match keys::DEV_DEFAULTS.iter().find(|(name, _)| *name == key.name) {
            Some((_, text)) => Some(text),
            None if key.name == PROFILE => Some("dev"),
            None => key.default,
        }
    }

    /// Takes in what was written: the highest layer counts. An empty value of a setting that has no default is no
    /// value.
    pub(super) fn choose(&mut self, written: Vec<Written>, problems: &mut Vec<Problem>) -> WithoutEffect {
        let mut without = WithoutEffect::default();
        for written in written {
            let place = match (&written.origin, written.layer) {
                (Origin::File { file, .. }, Layer::File) if is_properties(file) => Place::Properties,
                (_, Layer::File) => Place::Toml,
                _ => Place::Anywhere,
            };
            match names::resolve(&written.name, place) {
                Ok(Meaning::Foreign) => without.idle.push(written.name),
                Ok(Meaning::Setting(key)) => {
                    if let Err(mut text) = self.choose_one(key, &written, &mut without.idle) {
                        if place == Place::Properties && written.text.contains(" #") {
                            text += " In this format a # behind a value is part of it: put comments on their own lines.";
                        }
                        problems.push(Problem::new(&written.origin, text));
                    }
                }
                // Kafka hands unknown properties on to plugins: a file that it takes must not stop us.
                Err(text) if place == Place::Properties => {
                    without.unknown.push(format!("{}: {text} It is ignored, as Kafka does.", written.origin));
                }
                Err(text) => problems.push(Problem::new(&written.origin, text)),
            }
        }
        self.drop_overruled_synonyms();
        without
    }

    fn choose_one(
        &mut self,
        key: &'static Key,
        written: &Written,
        idle: &mut Vec<String>,
    ) -> Result<(), String> {
        let name = written.name.strip_prefix("kafka.").unwrap_or(&written.name);
        let name = name.strip_prefix("defaults.topic.").unwrap_or(name);
        let plain = |key: &Key, fault: value::Fault| {
            format!("{name} = {}: must be {}.", shown(key, &written.text), fault.in_plain_words(key))
        };
        if key.default.is_none() && written.text.trim().is_empty() {
            return Ok(());
        }
        let text = value::parse_human(key, &written.text).map_err(|fault| plain(key, fault))?;
        if key.name == "broker.id" && text == "-1" {
            return Ok(());
        }
        let target = target_of(key);
        value::parse_human(target, &text).map_err(|fault| plain(key, fault))?;
        let is_default = key.default.unwrap_or_default() == text;
        match key.status {
            Status::Refused if !is_default && !text.is_empty() => {
                return Err(format!("{name} = {} is not possible. {}", shown(key, &text), reason(key)));
            }
            Status::Reported if !is_default => idle.push(key.name.to_owned()),
            _ => {}
        }
        if let Some(earlier) = self.chosen.get(target.name) {
            if earlier.layer == written.layer && earlier.written != written.name && earlier.text != text {
                return Err(format!(
                    "{} and {} ({}) are the same setting. Keep one.",
                    written.name, earlier.written, earlier.origin
                ));
            }
            if earlier.layer > written.layer {
                return Ok(());
            }
        }
        let (origin, layer, written) = (written.origin.clone(), written.layer, written.name.clone());
        self.chosen.insert(target.name, Chosen { key, text, origin, layer, written });
        Ok(())
    }

    /// `--port`: the listeners in force, the first on another port.
    pub(super) fn set_port(&mut self, port: u16) {
        let controllers = self.text("controller.listener.names").unwrap_or_default();
        let listeners = self.text("listen.kafka").unwrap_or_default();
        let text = listen::with_port(listeners, controllers, port);
        let key = match self.chosen("listen.kafka") {
            Some(chosen) => chosen.key,
            None => match find("listen.kafka") {
                Some(key) => key,
                None => return,
            },
        };
        let origin = Origin::Flag(format!("--port {port}"));
        let chosen = Chosen { key, text, origin, layer: Layer::Flag, written: "--port".to_owned() };
        self.chosen.insert("listen.kafka", chosen);
    }

    /// A synonym set in a higher layer overrules its siblings below: who sets `KAFKA_LOG_RETENTION_HOURS` means it,
    /// whatever `log.retention.ms` the file has.
    fn drop_overruled_synonyms(&mut self) {
        for group in keys::SYNONYM_GROUPS {
            let top = group.iter().filter_map(|name| self.chosen.get(name)).map(|chosen| chosen.layer).max();
            for name in *group {
                if self.chosen.get(name).is_some_and(|chosen| Some(chosen.layer) < top) {
                    self.chosen.remove(name);
                }
            }
        }
    }
}

/// Values by name and type, for building [`super::Config`]. Every chosen value was checked when it was chosen, so the
/// fallbacks are never reached by a name of the table; a test reads each.
impl Settings {
    /// A value's text; `None` when there is none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let key = find(name)?;
        match self.chosen(name) {
            Some(chosen) => Some(&chosen.text),
            None => self.default_of(key),
        }
    }

    /// A number.
    pub(super) fn long(&self, name: &str) -> i64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// A number of 32 bits.
    pub(super) fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).unwrap_or(i32::MAX)
    }

    /// A number with a fraction.
    pub(super) fn double(&self, name: &str) -> f64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// A count or a size; negative ones count as 0.
    pub(super) fn size(&self, name: &str) -> usize {
        usize::try_from(self.long(name).max(0)).unwrap_or(usize::MAX)
    }

    /// A time in milliseconds.
    pub(super) fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.long(name).max(0).unsigned_abs())
    }

    /// A truth value.
    pub(super) fn truth(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// A problem with this setting, where it or a synonym of it was set.
    pub(super) fn problem(&self, name: &str, text: impl Into<String>) -> Problem {
        let group = keys::SYNONYM_GROUPS.iter().find(|group| group.contains(&name));
        let set = group.and_then(|group| group.iter().find_map(|name| self.chosen(name)));
        let (name, origin) = match set.or_else(|| self.chosen(name)) {
            Some(chosen) => (chosen.key.name, chosen.origin.clone()),
            None => (name, Origin::Default),
        };
        Problem { origin, text: format!("{name}: {}.", text.into()) }
    }
}

/// The row of a name that is streamd's own or a broker property.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    keys::find(Scope::Own, name).or_else(|| keys::find(Scope::Broker, name))
}

/// The row under which a setting's value is kept.
fn target_of(key: &'static Key) -> &'static Key {
    find(keys::canonical(key.name)).unwrap_or(key)
}

/// Whether a file is in Java's property format, by its name.
pub(super) fn is_properties(file: &str) -> bool {
    file.ends_with(".properties")
}

/// A value as errors show it: secrets are not.
pub(super) fn shown(key: &Key, text: &str) -> String {
    match key.kind {
        _ if key.sensitive() => "(hidden)".to_owned(),
        Kind::String | Kind::List | Kind::Class | Kind::Password => format!("\"{text}\""),
        _ if text.trim().parse::<f64>().is_ok() => text.trim().to_owned(),
        _ => format!("\"{text}\""),
    }
}

/// Why a refused setting is refused: what follows the first sentence of its doc.
fn reason(key: &Key) -> &'static str {
    key.doc.split_once(". ").map_or(key.doc, |(_, reason)| reason)
}
