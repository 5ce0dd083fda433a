//! How long things took: counts in buckets whose width grows with the time, so that every quantile is right to one part
//! in 128 at any scale, in a fixed 58 KiB. Pure.

use std::time::Duration;

/// Bits of a time that its bucket keeps: below 2^8 ns buckets are exact, above they are 1/128 of the time wide.
const BITS: u32 = 7;
const PER_OCTAVE: usize = 1 << BITS;
/// Octaves of times up to 2^64 ns whose buckets there are, the exact ones below counted as one.
const OCTAVES: usize = 64 - BITS as usize;
const BUCKETS: usize = PER_OCTAVE * (OCTAVES + 1);

/// Times by how often they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
}

/// A part of the distribution as it is drawn: times from `from` up to `to`, which doubles from row to row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, sum_ns: 0, min_ns: u64::MAX, max_ns: 0 }
    }
}

impl Histogram {
    /// Adds a time that came this often.
    pub(super) fn record(&mut self, time: Duration, times: u64) {
        if times == 0 {
            return;
        }
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(ns)) {
            *count += times;
        }
        self.count += times;
        self.sum_ns += u128::from(ns) * u128::from(times);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many times there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The shortest.
    pub(super) fn min(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.min_ns))
    }

    /// The longest.
    pub(super) fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max_ns))
    }

    /// The mean.
    pub(super) fn mean(&self) -> Option<Duration> {
        let mean = self.sum_ns.checked_div(u128::from(self.count))?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// The time that this many of 100,000 do not pass: 99,900 for p99.9. Never above the longest, and at most 1/128 above
    /// the true one.
    pub(super) fn quantile(&self, of_100_000: u32) -> Option<Duration> {
        let rank = (u128::from(self.count) * u128::from(of_100_000)).div_ceil(100_000).max(1);
        let mut seen = 0_u128;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank && *count > 0 {
                return Some(Duration::from_nanos(upper(index).clamp(self.min_ns, self.max_ns)));
            }
        }
        None
    }

    /// The distribution in rows that double from one to the next, from the first that has any to the last.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let (Some(first), Some(last)) = (self.min_ns.checked_ilog2(), self.max_ns.checked_ilog2()) else {
            return self.tiny_rows();
        };
        for power in first..=last {
            let (from, to) = (1_u64 << power, 1_u64.checked_shl(power + 1).unwrap_or(u64::MAX));
            // A bucket never lies across a power of two.
            let counts = self.counts.get(bucket(from)..=bucket(to - 1)).unwrap_or_default();
            let (from, to) = (Duration::from_nanos(from), Duration::from_nanos(to));
            rows.push(Row { from, to, count: counts.iter().sum() });
        }
        rows
    }

    /// The rows when a time of zero is among them, which has no power of two: it counts to the first row.
    fn tiny_rows(&self) -> Vec<Row> {
        if self.count == 0 {
            return Vec::new();
        }
        let mut positive = self.clone();
        let zeros = positive.counts.first_mut().map(std::mem::take).unwrap_or_default();
        positive.min_ns = 1;
        positive.max_ns = self.max_ns.max(1);
        let mut rows = positive.rows();
        if let Some(first) = rows.first_mut() {
            first.from = Duration::ZERO;
            first.count += zeros;
        }
        rows
    }
}

/// The bucket of a time: the time itself below 2^8 ns, else its upper 8 bits behind those of the octaves before.
fn bucket(ns: u64) -> usize {
    let shift = ns.checked_ilog2().unwrap_or(0).saturating_sub(BITS);
    let kept = usize::try_from(ns >> shift).unwrap_or(0);
    usize::try_from(shift).unwrap_or(0) * PER_OCTAVE + kept
}

/// The longest time of a bucket, in nanoseconds.
fn upper(index: usize) -> u64 {
    if index < 2 * PER_OCTAVE {
        return u64::try_from(index).unwrap_or(u64::MAX);
    }
    let shift = index / PER_OCTAVE - 1;
    let kept = u128::try_from(index % PER_OCTAVE + PER_OCTAVE).unwrap_or(0);
    u64::try_from(((kept + 1) << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "histogram_tests.rs"]
mod tests;
