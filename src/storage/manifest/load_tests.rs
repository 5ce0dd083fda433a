//! What is made of a manifest after a crash at any byte, and after damage.

use proptest::prelude::*;

use super::super::testing::{any_row, id, plain_row};
use super::*;

/// One write to the file: records, and whether a sync followed.
type Write = (Vec<Record>, bool);

fn apply(rows: &mut Rows, record: &Record) {
    match record {
        Record::Row(row) => drop(rows.insert(row.id, row.clone())),
        Record::Remove(id) => drop(rows.remove(id)),
        Record::Started(_) | Record::Stopped(_) => {}
    }
}

/// A manifest of `base` with `writes` appended, and after each frame the rows that it makes.
fn build(base: &[Arc<PartitionRow>], writes: &[Write]) -> (Vec<u8>, Vec<(usize, Rows)>) {
    let mut rows = Rows::new();
    base.iter().for_each(|row| apply(&mut rows, &Record::Row(row.clone())));
    let mut bytes = snapshot(rows.values());
    let mut states = vec![(bytes.len(), rows.clone())];
    let mut synced = bytes.len() as u64;
    for (records, sync) in writes {
        for record in records {
            let mut encoder = Encoder::new(synced);
            encoder.push(record);
            bytes.extend(encoder.finish());
            apply(&mut rows, record);
            states.push((bytes.len(), rows.clone()));
        }
        if *sync {
            synced = bytes.len() as u64;
        }
    }
    (bytes, states)
}

fn any_write() -> impl Strategy<Value = Write> {
    let record = prop_oneof![
        5 => any_row().prop_map(Record::Row),
        2 => (0..4_u8, 0..6_i32).prop_map(|(topic, partition)| Record::Remove(id(topic, partition))),
        1 => Just(Record::Started(1)),
    ];
    (prop::collection::vec(record, 1..5), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_crash_at_any_byte_of_the_log_leaves_older_news(
        base in prop::collection::vec(any_row(), 0..6), writes in prop::collection::vec(any_write(), 0..8),
    ) {
        let (bytes, states) = build(&base, &writes);
        let snapshot_end = states[0].0;
        for cut in snapshot_end..=bytes.len() {
            let loaded = load(&bytes[..cut]);
            let (end, rows) = states.iter().rfind(|(end, _)| *end <= cut).unwrap();
            prop_assert_eq!(&loaded.verdict, &Verdict::Unclean, "cut at {}", cut);
            prop_assert_eq!(&loaded.rows, rows);
            prop_assert_eq!((loaded.end, loaded.torn_bytes), (*end as u64, (cut - end) as u64));
        }
        // Cut inside the snapshot, which was on disk before the file got its name: damage.
        for cut in 0..snapshot_end {
            let loaded = load(&bytes[..cut]);
            prop_assert!(matches!(loaded.verdict, Verdict::Damaged(_)), "cut at {}", cut);
            prop_assert!(loaded.rows.values().all(|row| row.checkpoint.is_none()));
        }
    }

    /// A page of the last write may reach the disk before the page in front of it.
    #[test]
    fn a_hole_in_what_was_never_synced_is_no_damage(
        base in prop::collection::vec(any_row(), 0..6), synced in any_write(), last in any_write(), hole: usize,
    ) {
        let (bytes, states) = build(&base, &[(synced.0.clone(), true), (last.0, false)]);
        let (synced_end, rows) = &states[synced.0.len()];
        let mut torn = bytes.clone();
        let hole = synced_end + hole % (bytes.len() - synced_end);
        let page_end = (hole + 64).min(torn.len());
        torn[hole..page_end].fill(0);
        let loaded = load(&torn);
        prop_assert_eq!(loaded.verdict, Verdict::Unclean);
        prop_assert!(loaded.end >= *synced_end as u64);
        if loaded.end == *synced_end as u64 {
            prop_assert_eq!(&loaded.rows, rows);
        }
    }

    #[test]
    fn damage_below_a_sync_is_told_and_no_checkpoint_survives_it(
        base in prop::collection::vec(any_row(), 1..6), writes in prop::collection::vec(any_write(), 1..8), at: usize, bit in 0..8_u8,
    ) {
        let mut writes = writes;
        writes.iter_mut().for_each(|write| write.1 = true);
        writes.push((vec![Record::Stopped(2)], true));
        let (bytes, states) = build(&base, &writes);
        let (last_synced, _) = states[states.len() - 2];
        let mut damaged = bytes.clone();
        let at = at % last_synced;
        damaged[at] ^= 1 << bit;
        let loaded = load(&damaged);
        prop_assert!(matches!(loaded.verdict, Verdict::Damaged(_)), "{:?} after byte {}", loaded.verdict, at);
        prop_assert!(loaded.rows.values().all(|row| row.checkpoint.is_none() && row.segments.is_empty()));
    }

    #[test]
    fn no_bytes_make_it_panic(
        base in prop::collection::vec(any_row(), 0..3), at: usize, junk in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let (mut bytes, _) = build(&base, &[(vec![Record::Started(1)], true)]);
        let at = at % bytes.len();
        bytes.splice(at.., junk.iter().copied());
        load(&bytes);
        load(&junk);
    }
}

#[test]
fn only_a_stop_in_order_is_clean() {
    let base = [plain_row(1, 0, 10)];
    let verdict = |writes: &[Write]| load(&build(&base, writes).0).verdict;
    assert_eq!(verdict(&[]), Verdict::Unclean);
    assert_eq!(verdict(&[(vec![Record::Started(1), Record::Stopped(2)], true)]), Verdict::Clean);
    assert_eq!(verdict(&[(vec![Record::Stopped(2), Record::Started(3)], true)]), Verdict::Unclean);
    let row = Record::Row(plain_row(1, 1, 5));
    assert_eq!(verdict(&[(vec![Record::Stopped(2), row], true)]), Verdict::Unclean);
    let (mut bytes, _) = build(&base, &[(vec![Record::Stopped(2)], true)]);
    bytes.push(0);
    assert_eq!(load(&bytes).verdict, Verdict::Unclean, "something came behind the stop and was lost");
}

#[test]
fn names_are_kept_once_and_the_last_one_counts() {
    let rows: Vec<_> = (0..3).map(|partition| plain_row(1, partition, 0)).collect();
    let loaded = load(&build(&rows, &[]).0);
    let names: Vec<_> = loaded.rows.values().map(|row| row.topic.clone()).collect();
    assert!(names.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
}

#[test]
fn rows_that_can_still_be_found_keep_their_log_start() {
    let mut late = plain_row(2, 0, 50);
    Arc::make_mut(&mut late).log_start = 40;
    let writes = [
        (vec![Record::Row(plain_row(1, 0, 10))], true),
        (vec![Record::Row(late)], true),
        (vec![Record::Started(1)], true),
    ];
    let (mut bytes, states) = build(&[], &writes);
    // The first row's frame goes bad.
    bytes[states[0].0 + 25] ^= 0x10;
    let loaded = load(&bytes);
    assert!(
        matches!(&loaded.verdict, Verdict::Damaged(why) if why.contains("byte 28")),
        "{:?}",
        loaded.verdict
    );
    assert_eq!(loaded.rows.len(), 1);
    assert_eq!(loaded.rows[&id(2, 0)].log_start, 40);
    assert_eq!(loaded.rows[&id(2, 0)].checkpoint, Checkpoint::NONE);
}
