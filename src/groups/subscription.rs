//! The topics that a consumer subscribes to, read from its metadata. Only expiry (S75) and OffsetDelete (S76) ask; the
//! bytes themselves are passed on as they came (S71).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, Reader};

/// The protocol type whose metadata we understand.
pub(super) const CONSUMER: &str = "consumer";

/// Adds the topics of one member's subscription to `topics`; `None` when it cannot be read.
///
/// Every version of the consumer protocol begins as version 0 does: the version, then the topics. Nothing behind them
/// is looked at.
pub(super) fn add_topics(metadata: &Bytes, topics: &mut BTreeSet<Arc<str>>) -> Option<()> {
    read_topics(metadata, topics).ok()
}

fn read_topics(metadata: &Bytes, topics: &mut BTreeSet<Arc<str>>) -> Result<(), DecodeError> {
    let mut reader = Reader::new(metadata, false);
    if reader.i16()? < 0 {
        return Err(reader.error("a subscription of a negative version"));
    }
    for topic in reader.array(Reader::str)? {
        if !topics.contains(topic) {
            topics.insert(Arc::from(topic));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics_of(metadata: &[u8]) -> Option<Vec<String>> {
        let mut topics = BTreeSet::new();
        add_topics(&Bytes::copy_from_slice(metadata), &mut topics)?;
        Some(topics.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn topics_are_read_from_any_version_and_whatever_follows() {
        let v0 = b"\0\0\0\0\0\x02\0\x01b\0\x01a\xff\xff\xff\xff";
        assert_eq!(topics_of(v0), Some(vec!["a".to_owned(), "b".to_owned()]));
        let v9_cut = b"\0\x09\0\0\0\x01\0\x01a";
        assert_eq!(topics_of(v9_cut), Some(vec!["a".to_owned()]));
    }

    #[test]
    fn what_is_no_subscription_is_unknown_rather_than_empty() {
        assert_eq!(topics_of(b""), None);
        assert_eq!(topics_of(b"\xff\xff\0\0\0\0"), None, "a negative version");
        assert_eq!(topics_of(b"\0\0\x7f\xff\xff\xff\0\x01a"), None, "a count beyond the bytes");
        assert_eq!(topics_of(b"\0\0\0\0\0\0"), Some(Vec::new()));
    }
}
