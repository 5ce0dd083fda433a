//! What becomes of a partition's records: how old the oldest is, and what is deleted next, when and why. From what any
//! broker tells: its offsets, its settings and, if it does, its size.

use serde_json::{Value, json};

use crate::client::topics::Setting;
use crate::config::units::{show_bytes, show_millis};
use crate::types::Timestamp;

/// A topic's rules of deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    policy: String,
    retention_ms: i64,
    retention_bytes: i64,
}

/// What is known of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// How many offsets it spans.
    pub(super) span: i64,
    /// Its bytes on the leader's disk, if the leader tells.
    pub(super) bytes: Option<i64>,
    /// The oldest record's time.
    pub(super) oldest: Option<Timestamp>,
}

/// What is deleted next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, and why.
    Nothing(String),
    /// The oldest segment, because of its age, at this time at the earliest: its newest record decides.
    Aged { at: Timestamp, retention_ms: i64 },
    /// The oldest segment, because of the partition's size.
    Sized { retention_bytes: i64, is_reached: Option<bool> },
    /// Whichever comes first.
    Either { at: Timestamp, retention_ms: i64, retention_bytes: i64 },
}

impl Rules {
    /// The rules among these settings.
    pub(super) fn of(settings: &[Setting]) -> Self {
        let value = |name: &str| {
            let found = settings.iter().find(|setting| setting.name == name);
            found.and_then(|setting| setting.value.clone())
        };
        let number = |name: &str| value(name).and_then(|value| value.parse().ok()).unwrap_or(-1);
        Self {
            policy: value("cleanup.policy").unwrap_or_else(|| "delete".to_owned()),
            retention_ms: number("retention.ms"),
            retention_bytes: number("retention.bytes"),
        }
    }

    /// What is deleted next from a partition.
    pub(super) fn next(&self, facts: Facts) -> Next {
        if facts.span == 0 {
            return Next::Nothing("it is empty".to_owned());
        }
        if !self.policy.split(',').any(|policy| policy == "delete") {
            let policy = if self.policy.is_empty() { "\"\"" } else { &self.policy };
            return Next::Nothing(format!("cleanup.policy={policy}"));
        }
        let (retention_ms, retention_bytes) = (self.retention_ms, self.retention_bytes);
        let aged =
            facts.oldest.filter(|_| retention_ms >= 0).map(|oldest| oldest.saturating_add(retention_ms));
        let is_reached = facts.bytes.map(|bytes| bytes > retention_bytes);
        match (aged, retention_bytes >= 0) {
            (Some(at), true) if is_reached != Some(true) => {
                Next::Either { at, retention_ms, retention_bytes }
            }
            (Some(at), false) => Next::Aged { at, retention_ms },
            (_, true) => Next::Sized { retention_bytes, is_reached },
            (None, false) if retention_ms >= 0 => Next::Nothing("its records have no time".to_owned()),
            (None, false) => Next::Nothing("retention.ms and retention.bytes are -1".to_owned()),
        }
    }
}

impl Next {
    /// In words, as of now.
    pub(super) fn text(&self, now: Timestamp) -> String {
        let age = |at: Timestamp, retention_ms: i64| {
            let limit = format!("retention.ms={}", show_millis(retention_ms));
            match at.saturating_sub(now) {
                left if left > 0 => format!("oldest segment in {} or later: {limit}", rounded(left)),
                _ => format!("oldest segment once its newest record is that old: {limit}"),
            }
        };
        let size = |bytes: i64| format!("retention.bytes={}", show_bytes(bytes));
        match self {
            Self::Nothing(why) => format!("nothing: {why}"),
            Self::Aged { at, retention_ms } => age(*at, *retention_ms),
            Self::Sized { retention_bytes, is_reached: Some(true) } => {
                format!("oldest segment once the others hold as much: {}", size(*retention_bytes))
            }
            Self::Sized { retention_bytes, .. } => {
                format!("oldest segment beyond {}", size(*retention_bytes))
            }
            Self::Either { at, retention_ms, retention_bytes } => {
                format!("{}, or beyond {}", age(*at, *retention_ms), size(*retention_bytes))
            }
        }
    }

    /// For programs: the earliest time by age, and the settings that decide.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Nothing(why) => json!({ "what": null, "why": why }),
            Self::Aged { at, .. } => json!({ "what": "segment", "not_before": at, "why": ["retention.ms"] }),
            Self::Sized { .. } => {
                json!({ "what": "segment", "not_before": null, "why": ["retention.bytes"] })
            }
            Self::Either { at, .. } => {
                json!({ "what": "segment", "not_before": at, "why": ["retention.ms", "retention.bytes"] })
            }
        }
    }
}

/// An age or a wait, in its two largest units.
pub(super) fn rounded(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let Some(largest) = units.iter().position(|(unit, _)| ms >= *unit) else { return format!("{ms}ms") };
    let mut rest = ms;
    let mut parts = Vec::new();
    for (unit, name) in units.iter().skip(largest).take(2) {
        if rest / unit > 0 {
            parts.push(format!("{}{name}", rest / unit));
        }
        rest %= unit;
    }
    parts.join(" ")
}

/// A size with one decimal.
pub(super) fn size(bytes: i64) -> String {
    let units = [(1_i64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::topics::Source;

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 1_000 * DAY;

    fn rules(settings: &[(&str, &str)]) -> Rules {
        let setting = |(name, value): &(&str, &str)| Setting {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            source: Source::Topic,
        };
        Rules::of(&settings.iter().map(setting).collect::<Vec<_>>())
    }

    fn facts(bytes: Option<i64>, age: i64) -> Facts {
        Facts { span: 5, bytes, oldest: Some(NOW - age) }
    }

    fn next(settings: &[(&str, &str)], facts: Facts) -> String {
        rules(settings).next(facts).text(NOW)
    }

    #[test]
    fn records_go_by_age_by_size_or_never_and_it_says_why() {
        let week = ("retention.ms", "604800000");
        assert_eq!(next(&[week], facts(None, DAY)), "oldest segment in 6d or later: retention.ms=7d");
        assert_eq!(
            next(&[week], facts(None, 8 * DAY)),
            "oldest segment once its newest record is that old: retention.ms=7d"
        );
        let size = ("retention.bytes", "1024");
        assert_eq!(next(&[size], facts(Some(10), DAY)), "oldest segment beyond retention.bytes=1 KiB");
        assert_eq!(
            next(&[size], facts(Some(2048), DAY)),
            "oldest segment once the others hold as much: retention.bytes=1 KiB"
        );
        assert_eq!(
            next(&[week, size], facts(None, DAY)),
            "oldest segment in 6d or later: retention.ms=7d, or beyond retention.bytes=1 KiB"
        );
        assert_eq!(next(&[], facts(None, DAY)), "nothing: retention.ms and retention.bytes are -1");
        let compact = ("cleanup.policy", "compact");
        assert_eq!(next(&[week, compact], facts(None, DAY)), "nothing: cleanup.policy=compact");
        let both = ("cleanup.policy", "compact,delete");
        assert!(next(&[week, both], facts(None, DAY)).starts_with("oldest segment"));
        assert_eq!(next(&[week], Facts { span: 0, ..facts(None, 0) }), "nothing: it is empty");
        let timeless = Facts { oldest: None, ..facts(None, 0) };
        assert_eq!(next(&[week], timeless), "nothing: its records have no time");
    }

    #[test]
    fn ages_are_told_in_their_largest_units() {
        for (ms, text) in [(7, "7ms"), (61_234, "1m 1s"), (3_723_456, "1h 2m"), (DAY + 3_700_000, "1d 1h")] {
            assert_eq!(rounded(ms), text);
        }
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
