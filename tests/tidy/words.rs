//! What is reserved to some modules: `unsafe`, clocks, tokio, randomness, the protocol crate.

use crate::source::Source;

/// A word, where it may stand (path prefixes), and why.
struct Rule {
    word: &'static str,
    allowed: &'static [&'static str],
    reason: &'static str,
}

const RULES: [Rule; 10] = [
    Rule { word: "unsafe", allowed: &["src/storage/mmap.rs"], reason: "unsafe lives in one module" },
    Rule { word: "SystemTime::now", allowed: &["src/types/time.rs"], reason: "time comes from types::Clock" },
    Rule {
        word: "std::time::Instant",
        allowed: &["src/types/time.rs"],
        reason: "time comes from types::Clock",
    },
    Rule {
        word: "tokio::",
        allowed: &[
            "src/partition/",
            "src/coord/task",
            "src/broker/",
            "src/api/",
            "src/client/",
            "src/net/",
            "src/cli/",
            "src/main.rs",
        ],
        reason: "this layer is pure or blocking",
    },
    Rule {
        word: "getrandom",
        allowed: &["src/broker/", "src/api/", "src/client/", "src/cli/"],
        reason: "randomness arrives inside commands",
    },
    Rule {
        word: "kafka_protocol",
        allowed: &["src/wire/", "src/api/", "src/client/"],
        reason: "inner layers have their own words",
    },
    Rule {
        word: "Decodable",
        allowed: &["src/client/"],
        reason: "the broker never decodes requests with the protocol crate",
    },
    Rule { word: "println!", allowed: &["src/cli/"], reason: "only the command line prints" },
    Rule { word: concat!("TO", "DO"), allowed: &[], reason: "unfinished work does not land" },
    Rule { word: concat!("FIX", "ME"), allowed: &[], reason: "unfinished work does not land" },
];

pub(crate) fn faults(file: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in file.production_lines().iter().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("//") && !trimmed.contains("TODO") && !trimmed.contains("FIXME") {
            continue;
        }
        for rule in &RULES {
            if has_word(line, rule.word) && !rule.allowed.iter().any(|prefix| file.path.starts_with(prefix)) {
                faults.push(format!("line {}: {}: {}", number + 1, rule.word, rule.reason));
            }
        }
    }
    faults
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        !joins(before) && (word.ends_with(':') || !joins(after))
    })
}

#[test]
fn a_reserved_word_is_found() {
    let file = |text: &str| Source { path: "src/groups/x.rs".to_owned(), text: text.to_owned() };
    assert_eq!(faults(&file("use tokio::sync::Notify;")).len(), 1);
    assert_eq!(faults(&file("let unsafely = 1; // unsafe_code")).len(), 0);
    assert_eq!(faults(&file("    // TODO: later")).len(), 1);
}
