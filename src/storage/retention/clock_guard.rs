//! A wall clock that jumps must not delete data: retention by time stands still until the clock has had time to be put
//! right.

use std::time::Duration;

use crate::types::{Clock, Timestamp};

/// How far the wall clock may move against the monotonic one between two looks.
const JUMP_MS: u64 = 60_000;
/// How long retention by time stands still after that.
const STANDSTILL: Duration = Duration::from_secs(600);

/// Compares the wall clock with the monotonic one, look by look.
#[derive(Debug)]
pub struct ClockGuard {
    wall: Timestamp,
    steady: Duration,
    still_until: Duration,
}

impl ClockGuard {
    /// A guard that believes the clock as it is now.
    pub fn new(clock: &Clock) -> Self {
        Self { wall: clock.now_ms(), steady: clock.monotonic(), still_until: Duration::ZERO }
    }

    /// Looks at the clock. If it has jumped since the last look, by how many milliseconds: from here on retention by
    /// time stands still for ten minutes. A clock that is where it was put after that is believed.
    pub fn look(&mut self, clock: &Clock) -> Option<i64> {
        let (wall, steady) = (clock.now_ms(), clock.monotonic());
        let passed = steady.saturating_sub(self.steady).as_millis();
        let expected = self.wall.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
        (self.wall, self.steady) = (wall, steady);
        let by = wall.saturating_sub(expected);
        if by.unsigned_abs() <= JUMP_MS {
            return None;
        }
        self.still_until = steady + STANDSTILL;
        Some(by)
    }

    /// Whether nothing may be deleted by time now.
    pub fn stands_still(&self, clock: &Clock) -> bool {
        clock.monotonic() < self.still_until
    }
}
