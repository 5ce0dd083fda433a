//! Time: the one place that reads the system's clocks. Tests own a manual clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, as records carry them; -1 is "no timestamp".
pub type Timestamp = i64;

/// The wire's "no timestamp".
pub const NO_TIMESTAMP: Timestamp = -1;

/// Where "now" comes from. Handed down from the root; cheap to clone.
///
/// A clock has a wall side (record timestamps, retention) that may jump and a monotonic side (timeouts) that may not.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System(Instant),
    Manual(Arc<Manual>),
}

/// The two sides of a clock that tests move.
struct Manual {
    wall: AtomicI64,
    steady: AtomicI64,
}

impl Clock {
    /// The system's clocks.
    #[allow(clippy::disallowed_methods, reason = "this module is where the system's clocks are read")]
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// A clock that stands at `now_ms` until it is moved.
    pub fn manual(now_ms: Timestamp) -> Self {
        let (wall, steady) = (AtomicI64::new(now_ms), AtomicI64::new(now_ms));
        Self(Source::Manual(Arc::new(Manual { wall, steady })))
    }

    /// Moves a manual clock on. A system clock does not listen.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            now.wall.fetch_add(by, Ordering::SeqCst);
            now.steady.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// Sets a manual clock's wall side forward, or back, as an operator or a time server does: the monotonic side stays.
    pub fn jump(&self, by_ms: i64) {
        if let Source::Manual(now) = &self.0 {
            now.wall.fetch_add(by_ms, Ordering::SeqCst);
        }
    }

    /// Wall-clock milliseconds since the Unix epoch.
    #[allow(clippy::disallowed_methods, reason = "this module is where the system's clocks are read")]
    pub fn now_ms(&self) -> Timestamp {
        match &self.0 {
            Source::System(_) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Source::Manual(now) => now.wall.load(Ordering::SeqCst),
        }
    }

    /// Time since this clock was made; never goes back.
    #[allow(clippy::disallowed_methods, reason = "this module is where the system's clocks are read")]
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System(start) => Instant::now().saturating_duration_since(*start),
            Source::Manual(now) => {
                Duration::from_millis(u64::try_from(now.steady.load(Ordering::SeqCst)).unwrap_or(0))
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::System(_) => f.write_str("Clock::system"),
            Source::Manual(now) => write!(f, "Clock::manual({})", now.wall.load(Ordering::SeqCst)),
        }
    }
}
