//! The `.txnindex`: Kafka's bytes, and lookups that miss nothing.

use proptest::prelude::*;

use super::*;

fn entry(producer_id: i64, first: i64, last: i64, stable: i64) -> AbortedTransaction {
    AbortedTransaction { producer_id, first_offset: first, last_offset: last, last_stable_offset: stable }
}

fn look(index: &TxnIndex, path: &Path, range: (i64, i64)) -> (Vec<AbortedTransaction>, bool) {
    let mut out = Vec::new();
    let file = index.needs_file(path, Wait::MayBlock).unwrap().then(|| File::open(path).unwrap());
    let done = index.overlapping(range, Wait::MayBlock, || Ok(file.as_ref()), &mut out).unwrap();
    (out, done)
}

#[test]
fn entries_have_kafkas_bytes() {
    let bytes = entry(4000, 10, 25, 17).encode();
    let mut kafkas = vec![0, 0];
    for field in [4000_i64, 10, 25, 17] {
        kafkas.extend_from_slice(&field.to_be_bytes());
    }
    assert_eq!(bytes.as_slice(), kafkas);
    assert_eq!(AbortedTransaction::decode(&bytes), Some(entry(4000, 10, 25, 17)));
    let mut newer = bytes;
    newer[1] = 1;
    assert_eq!(AbortedTransaction::decode(&newer), None);
}

#[test]
fn what_cannot_be_written_is_found_all_the_same_and_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing").join("0.txnindex");
    let index = TxnIndex::found();
    index.knows(AbortedSum::default());
    assert!(index.is_known_empty());
    index.push(entry(1, 0, 5, 6));
    assert!(index.flush(&path).is_err());
    assert_eq!(look(&index, &path, (0, 3)).0, [entry(1, 0, 5, 6)]);
    std::fs::create_dir(dir.path().join("missing")).unwrap();
    index.push(entry(2, 6, 8, 9));
    index.flush(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap().len(), 2 * ENTRY_BYTES);
    assert!(index.note_unsynced());
    index.push(entry(3, 9, 12, 13));
    index.flush(&path).unwrap();
    index.noted_synced();
    assert!(index.note_unsynced(), "it was written to since it was noted");
    index.noted_synced();
    assert!(!index.note_unsynced());
    let anew = TxnIndex::found();
    assert_eq!(look(&anew, &path, (0, 100)).0.len(), 3);
}

#[test]
fn a_crash_leaves_what_lies_below_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.txnindex");
    let all = [entry(1, 0, 5, 6), entry(2, 6, 8, 9), entry(3, 9, 12, 13)];
    let mut bytes = encode_all(&all);
    bytes.truncate(bytes.len() - 7);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(cut(&path, 100).unwrap().entries, 2, "the last one is torn");
    std::fs::write(&path, encode_all(&all)).unwrap();
    assert_eq!(cut(&path, 12).unwrap().entries, 2);
    assert_eq!(std::fs::read(&path).unwrap(), encode_all(&all[..2]));
    assert_eq!(cut(&path, 5).unwrap().entries, 0);
    assert!(!path.exists());
    assert_eq!(cut(&path, 5).unwrap().entries, 0);
}

#[test]
fn damage_is_an_error_and_not_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.txnindex");
    let mut bytes = encode_all(&[entry(1, 0, 5, 6), entry(2, 6, 8, 9)]);
    bytes[ENTRY_BYTES + 1] = 7;
    std::fs::write(&path, &bytes).unwrap();
    let (index, file) = (TxnIndex::found(), File::open(&path).unwrap());
    let mut out = Vec::new();
    assert!(index.needs_file(&path, Wait::MayBlock).unwrap());
    let found = index.overlapping((0, 100), Wait::MayBlock, || Ok(Some(&file)), &mut out);
    assert_eq!(found.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

proptest! {
    /// However many are in the file and how many not, a lookup finds what a look at every entry finds.
    #[test]
    fn a_lookup_finds_every_overlap(
        steps in proptest::collection::vec((1_i64..20, 1_i64..60), 0..400),
        split in any::<proptest::sample::Index>(), from in 0_i64..4000, len in 1_i64..400,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.txnindex");
        let (mut last, mut all) = (0, Vec::new());
        for (gap, back) in steps {
            last += gap;
            // Nothing that is aborted later begins below the stable offset.
            let floor = all.last().map_or(0, |entry: &AbortedTransaction| entry.last_stable_offset);
            let first = (last - back).clamp(floor, last);
            all.push(entry(1, first, last, floor));
        }
        // The stable offset is the lowest first offset still to come.
        let mut lowest = last + 1;
        for entry in all.iter_mut().rev() {
            entry.last_stable_offset = lowest.min(entry.last_offset + 1);
            lowest = lowest.min(entry.first_offset);
        }
        let index = TxnIndex::found();
        let at = if all.is_empty() { 0 } else { split.index(all.len()) };
        for entry in &all[..at] {
            index.push(*entry);
        }
        index.flush(&path).unwrap();
        for entry in &all[at..] {
            index.push(*entry);
        }
        let range = (from, from + len);
        let (found, _) = look(&index, &path, range);
        let wanted: Vec<_> = all.iter().copied()
            .filter(|entry| entry.last_offset >= range.0 && entry.first_offset < range.1)
            .collect();
        prop_assert_eq!(found, wanted);
    }
}

#[test]
fn a_sum_tells_whether_a_file_is_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.txnindex");
    let index = TxnIndex::found();
    index.knows(AbortedSum::default());
    assert_eq!(index.sum(), None, "nothing was aborted");
    for nth in 1..4 {
        index.push(entry(nth, 5 * nth, 5 * nth + 3, 5 * nth + 4));
    }
    let known = index.sum().unwrap();
    index.flush(&path).unwrap();
    assert_eq!(index.sum(), Some(known));
    assert!(has(&path, known));
    let whole = std::fs::read(&path).unwrap();

    // Whoever finds the file knows nothing of it until it grows; then all of it counts.
    let found = TxnIndex::found();
    assert_eq!(found.sum(), None);
    found.push(entry(4, 20, 23, 24));
    found.flush(&path).unwrap();
    index.push(entry(4, 20, 23, 24));
    assert_eq!(found.sum(), index.sum());
    assert!(has(&path, known), "more may stand behind");

    for nth in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[nth] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        assert!(!has(&path, known), "byte {nth}");
        std::fs::write(&path, &whole[..nth]).unwrap();
        assert!(!has(&path, known), "{nth} bytes");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(!has(&path, known));

    let remade = TxnIndex::found();
    remade.was_remade((1..4).map(|nth| entry(nth, 5 * nth, 5 * nth + 3, 5 * nth + 4)).collect());
    assert_eq!(remade.sum(), Some(known));
    remade.flush(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}
