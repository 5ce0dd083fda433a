//! From a name as written to the setting that it means, or to the nearest one that it may have meant.

use super::keys::{self, Key, Scope};

/// Where a name was written: which spellings are legal there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `broker.toml`: own paths, Kafka's names under `[kafka]` and `[defaults.topic]`.
    Toml,
    /// `server.properties`: Kafka's names, and streamd's own where Kafka has none.
    Properties,
    /// A `KAFKA_…` variable: Kafka's names alone, since other programs have such variables as well.
    KafkaVariable,
    /// A flag or a variable: all of these.
    Anywhere,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    /// This setting.
    Setting(&'static Key),
    /// A property of another program or of Kafka's past: accepted, does nothing.
    Foreign,
}

/// The setting of this name. `Err` says what is wrong and what may have been meant.
pub(super) fn resolve(name: &str, place: Place) -> Result<Meaning, String> {
    if !matches!(place, Place::Properties | Place::KafkaVariable) {
        if let Some(property) = name.strip_prefix("kafka.") {
            return broker(property);
        }
        if let Some(setting) = name.strip_prefix("defaults.topic.") {
            return topic_default(setting);
        }
        if let Some(key) = keys::find(Scope::Own, name) {
            return Ok(Meaning::Setting(key));
        }
        let table = name.split('.').next().unwrap_or(name);
        if keys::LATER_TABLES.contains(&table) {
            return Err(format!("[{table}] is not available in this version of streamd. Remove it."));
        }
    }
    match place {
        Place::Properties if let Some(key) = keys::find(Scope::Own, name) => Ok(Meaning::Setting(key)),
        Place::Properties => {
            let own = || nearest(name, keys::own().map(|key| key.name).filter(|own| own.contains('.')));
            broker(name).map_err(|error| match own() {
                Some(own) if !error.contains("Did you mean") => unknown(name, Some(own)),
                _ => error,
            })
        }
        Place::KafkaVariable => broker(name),
        Place::Anywhere => broker(name).map_err(|error| {
            let near =
                nearest(name, keys::own().map(|key| key.name)).or_else(|| in_tables(name).first().copied());
            near.map_or(error, |near| unknown(name, Some(near)))
        }),
        Place::Toml if keys::find(Scope::Broker, name).is_some() => {
            Err(format!("unknown key \"{name}\". Kafka's properties belong into the table [kafka]."))
        }
        Place::Toml if keys::find(Scope::Topic, name).is_some() => {
            Err(format!("unknown key \"{name}\". Topic settings belong into the table [defaults.topic]."))
        }
        Place::Toml => Err(misplaced(name).unwrap_or_else(|| unknown(name, None))),
    }
}

/// What to write instead of a name that `broker.toml` does not know: a key of a table without its table, a table
/// without its keys, a typing error, or what other programs call a port.
fn misplaced(name: &str) -> Option<String> {
    let tables = || {
        let tables: Vec<_> = in_tables(name).iter().filter_map(|key| key.rsplit_once('.')).collect();
        let text = tables.iter().map(|(table, _)| format!("[{table}]")).collect::<Vec<_>>().join(" or ");
        (!tables.is_empty()).then(|| format!("unknown key \"{name}\". It belongs into the table {text}."))
    };
    let near = || nearest(name, keys::own().map(|key| key.name)).map(|near| unknown(name, Some(near)));
    let table = || {
        let below = keys::own().filter_map(|key| key.name.strip_prefix(name)?.strip_prefix('.'));
        let below = below.collect::<Vec<_>>().join(", ");
        (!below.is_empty()).then(|| format!("\"{name}\" is a table: write [{name}], and below it {below}."))
    };
    let port = || {
        let last = name.rsplit('.').next().unwrap_or(name);
        ["port", "host", "bind", "address", "addr"].contains(&last).then(|| {
            format!(
                "unknown key \"{name}\". Clients' address is kafka = \"0.0.0.0:9092\" in the table [listen]; --port sets \
                 only its port."
            )
        })
    };
    tables().or_else(near).or_else(table).or_else(port)
}

/// The keys of streamd's tables that end as this name does.
fn in_tables(name: &str) -> Vec<&'static str> {
    let last = name.rsplit('.').next().unwrap_or(name);
    keys::own()
        .map(|key| key.name)
        .filter(|key| key.rsplit_once('.').is_some_and(|(_, own)| own == last))
        .collect()
}

/// A Kafka broker property.
fn broker(name: &str) -> Result<Meaning, String> {
    if let Some(key) = keys::find(Scope::Broker, name) {
        return Ok(Meaning::Setting(key));
    }
    let is_foreign =
        |foreign: &&str| if foreign.ends_with('.') { name.starts_with(*foreign) } else { name == *foreign };
    if keys::FOREIGN.iter().any(is_foreign) {
        return Ok(Meaning::Foreign);
    }
    if let Some((_, instead)) = keys::REMOVED.iter().find(|(removed, _)| *removed == name) {
        return Err(format!("\"{name}\" is gone since Kafka 3.0 to 4.0. Use {instead}."));
    }
    if let Some(property) = keys::find(Scope::Topic, name).and_then(|key| key.synonyms.first()) {
        return Err(unknown(name, Some(property)));
    }
    Err(unknown(name, nearest(name, keys::broker().map(|key| key.name))))
}

/// A topic setting for all topics that have none of their own.
fn topic_default(name: &str) -> Result<Meaning, String> {
    if let Some(key) = keys::find(Scope::Own, &format!("defaults.topic.{name}")) {
        return Ok(Meaning::Setting(key));
    }
    let Some(key) = keys::find(Scope::Topic, name) else {
        let own = keys::own().filter_map(|key| key.name.strip_prefix("defaults.topic."));
        let topic = keys::topic().filter(|key| !key.synonyms.is_empty()).map(|key| key.name);
        return Err(unknown(name, nearest(name, own.chain(topic))));
    };
    match key.synonyms.first().and_then(|property| keys::find(Scope::Broker, property)) {
        Some(property) => Ok(Meaning::Setting(property)),
        None => Err(format!("\"{name}\" has no default for all topics. Set it on each topic.")),
    }
}

/// The text for an unknown name.
pub(super) fn unknown(name: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("unknown key \"{name}\". Did you mean \"{near}\"?"),
        None => format!("unknown key \"{name}\"."),
    }
}

/// The name that is fewest edits away, if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    let enough = (length / 3).clamp(1, 5);
    names
        .filter(|candidate| candidate.len().abs_diff(length) <= enough)
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= enough)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one text into the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (at(&last, j) + usize::from(a != b)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            if swapped && a != b {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(from.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, place: Place) -> String {
        resolve(name, place).unwrap_err()
    }

    #[test]
    fn a_near_miss_names_the_setting_that_was_meant() {
        let near = |name, place, meant| {
            assert!(
                error(name, place).ends_with(&format!("Did you mean \"{meant}\"?")),
                "{}",
                error(name, place)
            );
        };
        near("kafka.log.retention.hour", Place::Toml, "log.retention.hours");
        near("kafka.retention.ms", Place::Toml, "log.retention.ms");
        near("log.retnetion.ms", Place::Properties, "log.retention.ms");
        near("listen.kafak", Place::Toml, "listen.kafka");
        near("datadir", Place::Toml, "data_dir");
        near("defaults.topic.retention.m", Place::Toml, "retention.ms");
        near("defaults.topic.partition", Place::Toml, "partitions");
        near("durability.fsnc", Place::Anywhere, "durability.fsync");
        near("num.partition", Place::Anywhere, "num.partitions");
    }

    #[test]
    fn what_resembles_nothing_is_just_unknown() {
        assert_eq!(error("colour", Place::Toml), "unknown key \"colour\".");
    }

    #[test]
    fn a_known_name_in_the_wrong_table_says_where_it_belongs() {
        assert!(
            error("log.retention.ms", Place::Toml)
                .ends_with("Kafka's properties belong into the table [kafka].")
        );
        assert!(error("retention.ms", Place::Toml).ends_with("belong into the table [defaults.topic]."));
        assert!(
            error("defaults.topic.remote.storage.enable", Place::Toml).ends_with("Set it on each topic.")
        );
        assert!(error("tls.cert", Place::Toml).starts_with("[tls] is not available in this version"));
        assert!(error("port", Place::Properties).ends_with("Use listeners."));
    }

    #[test]
    fn a_key_without_its_table_and_a_table_without_its_keys_are_understood() {
        let says = |name: &str, expected: &str| assert_eq!(error(name, Place::Toml), expected);
        says("kafka", "unknown key \"kafka\". It belongs into the table [listen].");
        says("fsync", "unknown key \"fsync\". It belongs into the table [durability].");
        says("limit", "unknown key \"limit\". It belongs into the table [disk] or [memory].");
        says(
            "defaults.partitions",
            "unknown key \"defaults.partitions\". It belongs into the table [defaults.topic].",
        );
        says("durability", "\"durability\" is a table: write [durability], and below it fsync.");
        assert!(
            error("listen", Place::Toml)
                .starts_with("\"listen\" is a table: write [listen], and below it kafka, ")
        );
        for name in ["port", "listen.port", "server.host"] {
            assert!(
                error(name, Place::Toml).contains("kafka = \"0.0.0.0:9092\" in the table [listen]"),
                "{name}"
            );
        }
        assert_eq!(
            error("fsync", Place::Anywhere),
            "unknown key \"fsync\". Did you mean \"durability.fsync\"?"
        );
        assert_eq!(error("kafka", Place::Anywhere), "unknown key \"kafka\". Did you mean \"listen.kafka\"?");
    }

    #[test]
    fn other_programs_properties_are_let_pass() {
        assert_eq!(resolve("zookeeper.connect", Place::Properties), Ok(Meaning::Foreign));
        assert_eq!(resolve("log4j.rootLogger", Place::Properties), Ok(Meaning::Foreign));
    }

    #[test]
    fn edits_count_a_swap_once() {
        assert_eq!(edits("kafak", "kafka"), 1);
        assert_eq!(edits("", "ab"), 2);
        assert_eq!(edits("same", "same"), 0);
    }
}
