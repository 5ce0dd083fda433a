//! Identifiers: topic ids and the keys built from them.
//!
//! Topics are known by id inside the broker; names live at the edge and in the catalog.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A topic's UUID (KIP-516). A topic that is deleted and made again gets another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// "No topic": what the wire carries where an id is unknown or not asked for.
    pub const ZERO: Self = Self([0; 16]);
    /// The id of the cluster metadata log, reserved by Kafka.
    pub const METADATA: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// The id with these bytes, in wire order.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A version 4 UUID from 16 random bytes, or `None` for one that Kafka reserves or tools trip over
    /// (a leading `-` in its text form): draw again.
    pub fn from_random(mut bytes: [u8; 16]) -> Option<Self> {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let id = Self(bytes);
        (!id.to_string().starts_with('-')).then_some(id)
    }

    /// The bytes in wire order.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether this is [`TopicId::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

/// Kafka's text form: URL-safe base64 of the 16 bytes, without padding (22 characters).
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not 22 characters of URL-safe base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a topic id: it must be 22 characters of URL-safe base64")]
pub struct ParseTopicIdError;

impl FromStr for TopicId {
    type Err = ParseTopicIdError;

    fn from_str(text: &str) -> Result<Self, ParseTopicIdError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseTopicIdError)?;
        bytes.try_into().map(Self).map_err(|_| ParseTopicIdError)
    }
}

/// One partition of one topic, by id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition's index, from 0.
    pub partition: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_survives_its_text_form() {
        let id = TopicId::from_bytes([7; 16]);
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("short".parse::<TopicId>(), Err(ParseTopicIdError));
    }

    #[test]
    fn a_random_id_is_version_4_and_never_begins_with_a_dash() {
        let id = TopicId::from_random([0x11; 16]).unwrap();
        assert_eq!(id.as_bytes()[6] >> 4, 4);
        assert_eq!(TopicId::from_random([0xf8; 16]), None, "0xf8.. begins with '-'");
    }
}
