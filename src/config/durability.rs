//! When bytes are synced, and how much of the disk may be used.

use std::time::Duration;

use super::units;

/// When appended bytes are synced, and what acks wait for (docs/durability.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Group sync; acks=1 and offset commits wait as well as acks=all.
    Always,
    /// Group sync; acks=all waits, and the high watermark is the durable offset.
    Batch,
    /// Nobody waits; synced in the background this often.
    Interval(Duration),
    /// Synced at roll and stop only.
    Never,
}

/// Bounds on the file system's use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiskLimits {
    /// Below this much free space the broker is read-only.
    pub reserve: Amount,
    /// The most that the data directory may hold, in bytes.
    pub limit_bytes: Option<u64>,
}

/// So many bytes, or a share of a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Bytes.
    Bytes(u64),
    /// Percent of the whole, 0 to 100.
    Percent(f64),
}

impl Fsync {
    /// Reads `always`, `batch`, `never` or `interval(TIME)` with a time between a millisecond and an hour.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "always" => Some(Self::Always),
            "batch" => Some(Self::Batch),
            "never" => Some(Self::Never),
            other => {
                let time = other.strip_prefix("interval(")?.strip_suffix(')')?.trim_matches(['"', '\'', ' ']);
                let ms = units::millis(time).filter(|ms| (1..=3_600_000).contains(ms))?;
                Some(Self::Interval(Duration::from_millis(ms.unsigned_abs())))
            }
        }
    }
}

impl std::fmt::Display for Fsync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Batch => f.write_str("batch"),
            Self::Never => f.write_str("never"),
            Self::Interval(every) => {
                let ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
                write!(f, "interval({})", units::show_millis(ms))
            }
        }
    }
}

impl Amount {
    /// Reads a size (`2 GiB`) or a share (`5%`).
    pub(super) fn parse(text: &str) -> Option<Self> {
        units::percent(text)
            .map(Self::Percent)
            .or_else(|| units::bytes(text).and_then(|bytes| u64::try_from(bytes).ok()).map(Self::Bytes))
    }

    /// How many bytes this is of `whole` bytes.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a disk need not be exact to the byte, and 0 to 100 percent of a u64 fits one"
    )]
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (whole as f64 * percent / 100.0) as u64,
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&units::show_bytes(i64::try_from(*bytes).unwrap_or(i64::MAX))),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fsync_modes_survive_their_text_form() {
        for text in ["always", "batch", "never", "interval(1s)", "interval(250ms)"] {
            assert_eq!(Fsync::parse(text).map(|mode| mode.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Fsync::parse("interval(\"1s\")"), Some(Fsync::Interval(Duration::from_secs(1))));
        for text in ["", "interval", "interval()", "interval(0s)", "interval(2h)", "sometimes", "Batch"] {
            assert_eq!(Fsync::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_amount_is_bytes_or_a_share() {
        assert_eq!(Amount::parse("5%").map(|amount| amount.of(1000)), Some(50));
        assert_eq!(Amount::parse("2 KiB").map(|amount| amount.of(1000)), Some(2048));
        assert_eq!(Amount::parse("-1"), None);
        for text in ["5%", "2.5%", "2 KiB", "0 B"] {
            assert_eq!(Amount::parse(text).map(|amount| amount.to_string()).as_deref(), Some(text));
        }
    }
}
