//! When what is due at a fixed rate. Pure: times count from the start of the schedule.

use std::time::Duration;

const SECOND_NS: u128 = 1_000_000_000;

/// A rate as people give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rate {
    /// Records a second.
    Records(u64),
    /// Bytes of values a second.
    Bytes(u64),
}

/// Slots at even distances, the first one at the start. No rounding adds up: each is computed from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    /// What a slot takes of the rate.
    units: u64,
    /// The rate, in units a second.
    per_second: u64,
}

impl Rate {
    /// Reads `5000`, `5000/s`, `20MB` or `20MB/s`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let amount = text.trim();
        let amount = amount.strip_suffix("/s").unwrap_or(amount).trim();
        let rate = match amount.parse() {
            Ok(records) => Self::Records(records),
            Err(_) => {
                let bytes = crate::config::units::bytes(amount).and_then(|bytes| u64::try_from(bytes).ok());
                Self::Bytes(bytes.unwrap_or(0))
            }
        };
        match rate {
            Self::Records(0) | Self::Bytes(0) => {
                Err("must be records a second, as in 5000/s, or bytes, as in 20MB/s".to_owned())
            }
            rate => Ok(rate),
        }
    }

    /// The schedule at this rate for slots of so many records, whose values have so many bytes each.
    pub(super) fn schedule(self, records: u64, record_bytes: u64) -> Schedule {
        match self {
            Self::Records(per_second) => Schedule { units: records, per_second },
            Self::Bytes(per_second) => Schedule { units: records.saturating_mul(record_bytes), per_second },
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Records(records) => write!(f, "{records} records/s"),
            Self::Bytes(bytes) => write!(f, "{}/s", crate::config::units::show_rounded(*bytes)),
        }
    }
}

impl Schedule {
    /// When a slot is due.
    pub(super) fn due(self, slot: u64) -> Duration {
        let ns = u128::from(slot) * u128::from(self.units) * SECOND_NS / u128::from(self.per_second.max(1));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// How many slots are due at this time or before.
    pub(super) fn due_by(self, time: Duration) -> u64 {
        let step = u128::from(self.units.max(1)) * SECOND_NS;
        // A slot is due at its time rounded down, so one that is a part of a nanosecond away is due as well.
        let reached = ((time.as_nanos() + 1) * u128::from(self.per_second)).div_ceil(step);
        u64::try_from(reached).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_records_or_bytes() {
        assert_eq!(Rate::parse("5000"), Ok(Rate::Records(5_000)));
        assert_eq!(Rate::parse("5000/s"), Ok(Rate::Records(5_000)));
        assert_eq!(Rate::parse("20MB/s"), Ok(Rate::Bytes(20_000_000)));
        assert_eq!(Rate::parse("1 MiB"), Ok(Rate::Bytes(1 << 20)));
        for wrong in ["", "0", "0MB/s", "fast", "-5", "5/m"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn slots_are_as_far_apart_as_the_rate_says() {
        let records = Rate::Records(1_000).schedule(10, 1_024);
        assert_eq!(records.due(0), Duration::ZERO);
        assert_eq!(records.due(300), Duration::from_secs(3), "100 batches of 10 records a second");
        let bytes = Rate::Bytes(2_048_000).schedule(1, 1_024);
        assert_eq!(bytes.due(2_000), Duration::from_secs(1));
        let thirds = Rate::Records(3).schedule(1, 1);
        assert_eq!(thirds.due(3_000_000_000), Duration::from_secs(1_000_000_000), "nothing adds up");
    }

    proptest! {
        #[test]
        fn slots_that_are_due_are_those_whose_time_has_come(
            per_second in 1_u64..100_000_000,
            units in 1_u64..10_000_000,
            ns in 0_u64..100_000_000_000,
        ) {
            let schedule = Schedule { units, per_second };
            let time = Duration::from_nanos(ns);
            let due = schedule.due_by(time);
            prop_assert!(due >= 1 && schedule.due(due - 1) <= time);
            prop_assert!(schedule.due(due) > time);
        }
    }
}
