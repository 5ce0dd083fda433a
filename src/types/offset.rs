//! Checked arithmetic between the widths that Kafka's formats mix.
//!
//! Offsets, positions and sizes are `i64`/`u64` here and 32 bits wide on disk and on the wire. A cast that may lose
//! bits goes through one of these helpers, which say what happens then.

/// The smallest value an offset can have; `-1` stands for "none" on the wire.
pub const NO_OFFSET: i64 = -1;
/// The wire's "leader epoch unknown".
pub const NO_EPOCH: i32 = -1;
/// The wire's "no producer id".
pub const NO_PRODUCER_ID: i64 = -1;
/// The wire's "no sequence number".
pub const NO_SEQUENCE: i32 = -1;

/// `n` as an `i32`, or the largest `i32` when it does not fit.
pub fn saturate_i32(n: impl TryInto<i32>) -> i32 {
    n.try_into().unwrap_or(i32::MAX)
}

/// `n` as a `u32`, or the largest `u32` when it does not fit.
pub fn saturate_u32(n: impl TryInto<u32>) -> u32 {
    n.try_into().unwrap_or(u32::MAX)
}

/// `n` as an `i64`, or the largest `i64` when it does not fit.
pub fn saturate_i64(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

/// `n` as a `usize`, or 0 when it is negative: for sizes whose negative values mean "nothing".
pub fn non_negative(n: i32) -> usize {
    usize::try_from(n).unwrap_or(0)
}

/// The sequence number `n` steps after `sequence`, wrapping from the largest `i32` to 0 as producers do (S48).
pub fn sequence_after(sequence: i32, n: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(n);
    let wrapped = if sum > i64::from(i32::MAX) { sum - i64::from(i32::MAX) - 1 } else { sum };
    saturate_i32(wrapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(4, 1), 5);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn casts_saturate() {
        assert_eq!(saturate_i32(5_000_000_000_u64), i32::MAX);
        assert_eq!(non_negative(-3), 0);
    }
}
