//! What becomes of a partition's records: how old the oldest is, what is deleted next, when and why, and when compaction
//! takes superseded ones. From what any broker tells: its offsets, its settings and, if it does, its size.

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
    compaction: Compaction,
}

/// A topic's rules of compaction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Compaction {
    dirty_ratio: String,
    min_lag_ms: i64,
    max_lag_ms: i64,
    tombstones_ms: i64,
    segment_bytes: i64,
    segment_ms: i64,
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
    /// No segment; compaction takes records that a newer one of their key supersedes.
    Superseded,
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
            compaction: Compaction {
                dirty_ratio: value("min.cleanable.dirty.ratio").unwrap_or_else(|| "0.5".to_owned()),
                min_lag_ms: number("min.compaction.lag.ms"),
                max_lag_ms: number("max.compaction.lag.ms"),
                tombstones_ms: number("delete.retention.ms"),
                segment_bytes: number("segment.bytes"),
                segment_ms: number("segment.ms"),
            },
        }
    }

    fn has(&self, policy: &str) -> bool {
        self.policy.split(',').any(|one| one == policy)
    }

    /// When records are compacted away and why, in a few lines; `None` if the topic is not compacted.
    pub(super) fn compaction(&self) -> Option<String> {
        let rules = &self.compaction;
        if !self.has("compact") {
            return None;
        }
        let mut lines = vec![
            format!(
                "COMPACTION  takes records that a newer one of their key supersedes, when more than\n            \
                 min.cleanable.dirty.ratio={} of the closed segments' bytes are new since the last time.",
                rules.dirty_ratio
            ),
            format!(
                "            The newest segment is left alone until it closes: at segment.bytes={}, or after segment.ms={}.",
                show_bytes(rules.segment_bytes),
                show_millis(rules.segment_ms)
            ),
        ];
        if rules.min_lag_ms > 0 {
            lines.push(format!(
                "            Records stay for min.compaction.lag.ms={} at least.",
                show_millis(rules.min_lag_ms)
            ));
        }
        if (0..i64::MAX).contains(&rules.max_lag_ms) {
            lines.push(format!(
                "            Whatever the ratio, they are compacted after max.compaction.lag.ms={}.",
                show_millis(rules.max_lag_ms)
            ));
        }
        lines.push(format!(
            "            Tombstones stay for delete.retention.ms={}.\n            \
             Clients cannot ask how much is new now; streamd's log has a line \"compacted\" for each time.",
            show_millis(rules.tombstones_ms)
        ));
        Some(lines.join("\n") + "\n")
    }

    /// What is deleted next from a partition.
    pub(super) fn next(&self, facts: Facts) -> Next {
        if facts.span == 0 {
            return Next::Nothing("it is empty".to_owned());
        }
        if !self.has("delete") && self.has("compact") {
            return Next::Superseded;
        }
        if !self.has("delete") {
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
            Self::Superseded => "superseded records, by compaction: cleanup.policy=compact".to_owned(),
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
            Self::Superseded => {
                json!({ "what": "superseded records", "not_before": null, "why": ["min.cleanable.dirty.ratio"] })
            }
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
        assert_eq!(
            next(&[week, compact], facts(None, DAY)),
            "superseded records, by compaction: cleanup.policy=compact"
        );
        let neither = ("cleanup.policy", "");
        assert_eq!(next(&[week, neither], facts(None, DAY)), "nothing: cleanup.policy=\"\"");
        let both = ("cleanup.policy", "compact,delete");
        assert!(next(&[week, both], facts(None, DAY)).starts_with("oldest segment"));
        assert_eq!(next(&[week], Facts { span: 0, ..facts(None, 0) }), "nothing: it is empty");
        let timeless = Facts { oldest: None, ..facts(None, 0) };
        assert_eq!(next(&[week], timeless), "nothing: its records have no time");
    }

    #[test]
    fn compaction_is_told_by_what_decides_it() {
        let told = |more: &[(&str, &str)]| {
            let usual = [
                ("cleanup.policy", "compact"),
                ("segment.bytes", "1073741824"),
                ("segment.ms", "604800000"),
                ("delete.retention.ms", "86400000"),
                ("min.compaction.lag.ms", "0"),
                ("max.compaction.lag.ms", "9223372036854775807"),
            ];
            let find = |name: &str| more.iter().find(|(own, _)| *own == name).copied();
            let all: Vec<_> = usual.iter().map(|usual| find(usual.0).unwrap_or(*usual)).collect();
            rules(&all).compaction()
        };
        let text = told(&[]).unwrap();
        for part in [
            "min.cleanable.dirty.ratio=0.5",
            "segment.bytes=1 GiB",
            "segment.ms=7d",
            "delete.retention.ms=1d",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains(".lag."), "{text}");
        let text = told(&[("min.compaction.lag.ms", "60000"), ("max.compaction.lag.ms", "3600000")]).unwrap();
        assert!(
            text.contains("min.compaction.lag.ms=1m") && text.contains("max.compaction.lag.ms=1h"),
            "{text}"
        );
        assert_eq!(told(&[("cleanup.policy", "delete")]), None);
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
