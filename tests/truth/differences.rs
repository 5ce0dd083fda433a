//! The deliberate differences from Kafka: `differences.toml`, each explained in docs/compatibility.md.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::recording::Change;
use crate::session::Exchange;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    difference: Vec<Difference>,
}

/// One deliberate difference: where it shows and how.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// Its name in docs/compatibility.md.
    id: String,
    reason: String,
    /// Exchanges as `script: label (Api vN)`; `*` stands for any text.
    exchanges: Vec<String>,
    /// What differs there, as `path: Kafka's value -> ours`; `*` stands for any text.
    changes: Vec<String>,
}

/// The list, and which of its patterns have been met.
pub(crate) struct Differences {
    all: Vec<Difference>,
    met: BTreeSet<(usize, usize, bool)>,
}

/// How differences and documents name an exchange.
pub(crate) fn place_of(script: &str, exchange: &Exchange) -> String {
    format!("{script}: {} ({} v{})", exchange.label, exchange.api, exchange.version)
}

impl Differences {
    pub(crate) fn load() -> Self {
        Self::parse(include_str!("differences.toml"))
    }

    fn parse(text: &str) -> Self {
        let file: File = toml::from_str(text).unwrap_or_else(|e| panic!("differences.toml: {e}"));
        Self { all: file.difference, met: BTreeSet::new() }
    }

    /// Whether this change at this place is a listed one.
    pub(crate) fn allows(&mut self, place: &str, change: &Change) -> bool {
        let change = change.to_string();
        let mut allowed = false;
        for (i, difference) in self.all.iter().enumerate() {
            for (e, _) in difference.exchanges.iter().enumerate().filter(|(_, p)| matches(p, place)) {
                for (c, _) in difference.changes.iter().enumerate().filter(|(_, p)| matches(p, &change)) {
                    self.met.extend([(i, e, true), (i, c, false)]);
                    allowed = true;
                }
            }
        }
        allowed
    }

    /// Patterns that nothing matched: the difference is gone, or was never there.
    pub(crate) fn unmet(&self) -> Vec<String> {
        let mut unmet = Vec::new();
        for (i, difference) in self.all.iter().enumerate() {
            for (patterns, of_place) in [(&difference.exchanges, true), (&difference.changes, false)] {
                let left =
                    patterns.iter().enumerate().filter(|(p, _)| !self.met.contains(&(i, *p, of_place)));
                unmet.extend(left.map(|(_, pattern)| format!("{}: {pattern}", difference.id)));
            }
        }
        unmet
    }
}

/// Whether `text` is what `pattern` says, `*` standing for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    let starts = text.char_indices().map(|(i, _)| i).chain([text.len()]);
    starts.into_iter().any(|i| matches(rest, &text[i..]))
}

#[test]
fn every_difference_is_explained_to_users() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    let text = std::fs::read_to_string(docs).ok();
    for difference in Differences::load().all {
        assert!(!difference.reason.trim().is_empty(), "{} has no reason", difference.id);
        if let Some(text) = &text {
            let anchor = format!("`{}`", difference.id);
            assert!(text.contains(&anchor), "docs/compatibility.md lacks the difference {anchor}");
        }
    }
}

#[test]
fn only_what_is_listed_may_differ_and_what_is_listed_must() {
    let mut list = Differences::parse(
        "[[difference]]\nid = 'a'\nreason = 'r'\nexchanges = ['s/one: * (Metadata v*)', 's/two: *']\n\
         changes = ['topics[*].error_code: 3 -> 0', 'x: *']",
    );
    let change = |path: &str, recorded: &str, found: &str| Change {
        path: path.to_owned(),
        recorded: recorded.to_owned(),
        found: found.to_owned(),
    };
    assert!(list.allows("s/one: first (Metadata v4)", &change("topics[t].error_code", "3", "0")));
    assert!(!list.allows("s/one: first (Metadata v4)", &change("topics[t].error_code", "3", "5")));
    assert!(!list.allows("s/one: first (Fetch v4)", &change("topics[t].error_code", "3", "0")));
    assert_eq!(list.unmet(), ["a: s/two: *", "a: x: *"]);
}
