//! Quantiles against exact ones.

use proptest::prelude::*;

use super::*;

fn of(times: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    times.iter().for_each(|ns| histogram.record(Duration::from_nanos(*ns), 1));
    histogram
}

/// The time at the rank of the quantile.
fn exact(times: &[u64], of_100_000: u32) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() as u128 * u128::from(of_100_000)).div_ceil(100_000).max(1);
    sorted[usize::try_from(rank).unwrap() - 1]
}

/// Times of all magnitudes.
fn time() -> impl Strategy<Value = u64> {
    (0_u32..64, any::<u64>()).prop_map(|(shift, bits)| bits >> shift)
}

#[test]
fn a_bucket_ends_where_the_next_one_begins() {
    for index in 0..BUCKETS - PER_OCTAVE {
        assert_eq!(bucket(upper(index)), index, "the end of bucket {index}");
        assert_eq!(bucket(upper(index) + 1), index + 1, "behind bucket {index}");
    }
    assert!(bucket(u64::MAX) < BUCKETS);
}

#[test]
fn nothing_has_no_quantiles() {
    let empty = Histogram::default();
    assert_eq!((empty.quantile(50_000), empty.max(), empty.mean()), (None, None, None));
    assert!(empty.rows().is_empty());
}

proptest! {
    #[test]
    fn quantiles_are_exact_to_one_part_in_128(
        times in prop::collection::vec(time(), 1..300),
        quantile in 1_u32..=100_000,
    ) {
        let found = u64::try_from(of(&times).quantile(quantile).unwrap().as_nanos()).unwrap();
        let exact = exact(&times, quantile);
        prop_assert!(found >= exact, "{found} is below {exact}");
        prop_assert!(found - exact <= exact / 128, "{found} is too far above {exact}");
    }

    #[test]
    fn merged_is_as_if_recorded_in_one(one in prop::collection::vec(time(), 0..50), other in prop::collection::vec(time(), 0..50)) {
        let mut merged = of(&one);
        merged.merge(&of(&other));
        prop_assert_eq!(merged, of(&[one, other].concat()));
    }

    #[test]
    fn rows_hold_every_time_once_and_follow_each_other(times in prop::collection::vec(time(), 1..100)) {
        let rows = of(&times).rows();
        for row in &rows {
            let inside = times.iter().map(|ns| Duration::from_nanos(*ns));
            let last = rows.last() == Some(row);
            let inside = inside.filter(|time| *time >= row.from && (*time < row.to || last));
            prop_assert_eq!(row.count, inside.count() as u64);
        }
        prop_assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), times.len() as u64);
        prop_assert!(rows.windows(2).all(|pair| pair[0].to == pair[1].from));
    }
}
