//! A topic's settings as people and programs see them.

use serde_json::{Value, json};

use super::outlook::rounded;
use crate::client::topics::{Setting, Source};
use crate::config::keys::{self, Scope, Unit};
use crate::config::units::{show_bytes, show_millis, show_rounded};

/// The settings that somebody has set, or all of them: name, value and who has set it.
pub(super) fn rows(settings: &[Setting], all: bool) -> impl Iterator<Item = [String; 3]> {
    let is_shown = move |setting: &&Setting| all || setting.source != Source::Default;
    settings.iter().filter(is_shown).map(|setting| {
        let value =
            setting.value.as_deref().map_or_else(|| "(hidden)".to_owned(), |text| value(&setting.name, text));
        [setting.name.clone(), value, said_by(setting.source).to_owned()]
    })
}

/// All of them, for programs.
pub(super) fn json(settings: &[Setting]) -> Vec<Value> {
    let one = |setting: &Setting| json!({ "name": setting.name, "value": setting.value, "set_by": said_by(setting.source) });
    settings.iter().map(one).collect()
}

/// A value as it is set, and what it comes to beside it where that is easier to read.
pub(super) fn value(name: &str, text: &str) -> String {
    let unit = keys::find(Scope::Topic, name).map_or(Unit::None, keys::Key::unit);
    match text.parse().ok().and_then(|number| in_units(unit, number)) {
        Some(human) => format!("{text} ({human})"),
        None => text.to_owned(),
    }
}

fn in_units(unit: Unit, number: i64) -> Option<String> {
    match (unit, number) {
        (Unit::None, _) => None,
        (_, -1 | i64::MAX) => Some("no limit".to_owned()),
        (Unit::Time(one), 1_000..) => {
            let ms = number.saturating_mul(one);
            let exact = show_millis(ms);
            let is_short = exact.len() <= 6 && !exact.ends_with("ms");
            Some(if is_short { exact } else { format!("about {}", rounded(ms)) })
        }
        (Unit::Bytes, 1024..) if number % 1024 == 0 => Some(show_bytes(number)),
        (Unit::Bytes, 10_000..) => Some(format!("about {}", show_rounded(number.unsigned_abs()))),
        _ => None,
    }
}

const fn said_by(source: Source) -> &'static str {
    match source {
        Source::Topic => "topic",
        Source::Broker => "broker",
        Source::Default => "default",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_what_they_come_to_beside_them() {
        for (name, text, shown) in [
            ("retention.ms", "604800000", "604800000 (7d)"),
            ("retention.ms", "90000", "90000 (90s)"),
            ("retention.ms", "100000001", "100000001 (about 1d 3h)"),
            ("retention.ms", "-1", "-1 (no limit)"),
            ("retention.ms", "500", "500"),
            ("retention.bytes", "-1", "-1 (no limit)"),
            ("segment.bytes", "1073741824", "1073741824 (1 GiB)"),
            ("max.message.bytes", "1048588", "1048588 (about 1 MB)"),
            ("max.compaction.lag.ms", "9223372036854775807", "9223372036854775807 (no limit)"),
            ("cleanup.policy", "compact", "compact"),
            ("min.insync.replicas", "1", "1"),
            ("a.setting.of.another.broker.ms", "5000", "5000"),
        ] {
            let setting =
                Setting { name: name.to_owned(), value: Some(text.to_owned()), source: Source::Topic };
            let [.., value, _] = rows(&[setting], false).next().unwrap();
            assert_eq!(value, shown, "{name}");
        }
    }
}
