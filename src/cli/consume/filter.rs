//! Which records are shown: those whose value and key match.

use regex::bytes::{Regex, RegexBuilder};

use super::super::exit::Ended;
use crate::record::RecordView;

/// What a pattern may take once it is compiled.
const PATTERN_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Patterns that records have to match.
#[derive(Debug)]
pub(super) struct Filter {
    value: Option<Regex>,
    key: Option<Regex>,
}

impl Filter {
    /// Reads the patterns of `--grep` and `--key`.
    pub(super) fn new(value: Option<&str>, key: Option<&str>) -> Result<Self, Ended> {
        let compile = |flag: &str, pattern: Option<&str>| {
            let compiled =
                pattern.map(|pattern| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build());
            compiled.transpose().map_err(|error| Ended::Usage(format!("{flag}: {error}")))
        };
        Ok(Self { value: compile("--grep", value)?, key: compile("--key", key)? })
    }

    /// Whether a record is shown. What is not there matches nothing.
    pub(super) fn shows(&self, record: &RecordView<'_>) -> bool {
        let matches = |pattern: &Option<Regex>, bytes: Option<&[u8]>| {
            pattern.as_ref().is_none_or(|pattern| bytes.is_some_and(|bytes| pattern.is_match(bytes)))
        };
        matches(&self.value, record.value) && matches(&self.key, record.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;

    fn shows(grep: Option<&str>, key: Option<&str>, record: (Option<&[u8]>, Option<&[u8]>)) -> bool {
        let (key_bytes, value) = record;
        let headers = Headers::default();
        let record = RecordView { offset: 0, offset_delta: 0, timestamp: 0, key: key_bytes, value, headers };
        Filter::new(grep, key).unwrap().shows(&record)
    }

    #[test]
    fn both_patterns_have_to_match() {
        let record = (Some(&b"user-7"[..]), Some(&b"{\"event\":\"click\"}\xff"[..]));
        assert!(shows(None, None, record));
        assert!(shows(Some("cl.ck"), Some("^user-[0-9]$"), record));
        assert!(!shows(Some("cl.ck"), Some("^admin"), record));
        assert!(!shows(Some("CLICK"), None, record));
        assert!(shows(Some("(?i)CLICK"), None, record));
        assert!(!shows(None, Some(""), (None, record.1)), "no key matches nothing");
    }

    #[test]
    fn a_broken_pattern_is_a_usage_error() {
        let error = Filter::new(Some("a(b"), None).unwrap_err();
        assert!(matches!(&error, Ended::Usage(text) if text.starts_with("--grep: ")), "{error}");
    }
}
