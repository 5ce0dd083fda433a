//! What a repair gives up, what it keeps, and what a crash on its way leaves.

use super::*;
use crate::config::topic::TopicSettings;
use crate::record::batch::HEADER_LEN;
use crate::storage::health::DirHealth;
use crate::storage::layout::QUARANTINE;
use crate::storage::testing::*;

/// Three segments of eight batches of two records each, all checkpointed.
fn log_of() -> (Rig, Vec<(i64, Vec<u8>)>) {
    let mut rig = Rig::new(TopicSettings { index_interval_bytes: 300, ..TopicSettings::default() });
    let mut opened = rig.open();
    for n in 0..24 {
        if n > 0 && n % 8 == 0 {
            opened.writer.roll(None, NOW).unwrap();
        }
        append(&mut opened.writer, &[plain(2 * n, 2, 200)]);
    }
    checkpoint(&mut rig, &opened, None).unwrap();
    let whole = read_all(&opened.reader);
    (rig, whole)
}

const BATCH: u64 = 479;

/// Verifies and gives up; the rig then has the row that the manifest has.
fn repair(rig: &mut Rig) -> Vec<Loss> {
    let temp = tempfile::tempdir().unwrap();
    let (manifest, _) = Manifest::open(temp.path(), DirHealth::new()).unwrap();
    let opened = rig.open();
    verify(&opened).unwrap();
    let losses = give_up(&opened.log, &manifest).unwrap();
    drop(manifest);
    if rig.row.is_some() {
        let (_, state) = Manifest::open(temp.path(), DirHealth::new()).unwrap();
        rig.row = state.rows.get(&Rig::id()).cloned();
    }
    losses
}

/// Everything but the lost offsets is there, and a reader passes over those.
fn whole_but(rig: &Rig, whole: &[(i64, Vec<u8>)], lost: std::ops::Range<i64>) {
    let opened = rig.open();
    assert_eq!(
        (opened.report.damage.as_slice(), opened.report.scanned_bytes, opened.reader.end()),
        (&[][..], 0, 48)
    );
    let (kept, fillers): (Vec<_>, Vec<_>) =
        read_all(&opened.reader).into_iter().partition(|(_, bytes)| bytes.len() > HEADER_LEN);
    let expected: Vec<_> = whole.iter().filter(|(base, _)| !lost.contains(base)).cloned().collect();
    assert_eq!(kept, expected);
    assert_eq!(fillers.len(), 1);
    let filler = BatchHeader::parse(&fillers[0].1).unwrap();
    assert_eq!((filler.base_offset, filler.next_offset(), filler.records_count), (lost.start, lost.end, 0));
    let read = opened.reader.read_blocking(lost.start, None, 1, 48, true).unwrap();
    assert_eq!(read.next.offset(), lost.end);
    let times =
        |offset: i64| opened.reader.offset_for_time(NOW + offset, 48).unwrap().map(|found| found.offset);
    assert_eq!(times(lost.start), Some(lost.end).filter(|end| *end < 48));
    // The same without the row: the files explain themselves.
    let mut image = rig.image();
    image.lose_manifest();
    let opened = image.open();
    assert_eq!(
        (opened.report.damage.as_slice(), opened.reader.end(), opened.report.set_aside.len()),
        (&[][..], 48, 0)
    );
}

#[test]
fn a_batch_in_the_middle_is_given_up_and_its_bytes_are_kept() {
    let (mut rig, whole) = log_of();
    rig.flip(16, 3 * BATCH + 100);
    let bad = rig.log_bytes(16)[1_437..1_916].to_vec();
    let losses = repair(&mut rig);
    assert_eq!(losses.len(), 1);
    let loss = &losses[0];
    assert_eq!((loss.damage.first, loss.damage.next, loss.bytes), (22, 24, BATCH));
    assert_eq!(fs::read(loss.aside.as_ref().unwrap()).unwrap(), bad);
    assert!(!rig.dir.join(QUARANTINE).exists());
    whole_but(&rig, &whole, 22..24);
}

#[test]
fn what_one_repair_has_kept_the_next_one_leaves() {
    let (mut rig, whole) = log_of();
    rig.flip(16, 3 * BATCH + 100);
    let first = repair(&mut rig).remove(0);
    let kept = fs::read(first.aside.as_ref().unwrap()).unwrap();
    // What came in its place, at the same byte.
    rig.flip(16, 3 * BATCH + 30);
    let second = repair(&mut rig).remove(0);
    assert_eq!((second.damage.first, second.damage.next), (22, 24));
    assert_ne!(first.aside, second.aside);
    assert_eq!(fs::read(first.aside.unwrap()).unwrap(), kept);
    whole_but(&rig, &whole, 22..24);
}

#[test]
fn damage_in_the_checkpoints_own_segment_moves_the_checkpoint() {
    let (mut rig, whole) = log_of();
    rig.damage(&rig.path(32, FileKind::Log), BATCH + 5, &[0; 900]);
    let losses = repair(&mut rig);
    assert_eq!((losses[0].damage.first, losses[0].damage.next, losses[0].bytes), (34, 38, 2 * BATCH));
    whole_but(&rig, &whole, 34..38);
}

/// The log has forgotten the epochs below its start, and an epoch that falls would end it where nothing else vouches
/// for it.
#[test]
fn a_hole_below_the_logs_start_does_not_end_the_log() {
    let (mut rig, _) = log_of();
    rig.damage(&rig.path(32, FileKind::Log), BATCH + 100, &[0; 9]);
    let opened = rig.open();
    assert_eq!(verify(&opened).unwrap().len(), 1);
    let removal = opened.log.advance_start(40);
    rig.row = removal.row().unwrap();
    drop((removal.rename(), opened));
    let losses = repair(&mut rig);
    assert_eq!((losses[0].damage.first, losses[0].damage.next), (34, 36));
    rig.lose_manifest();
    let opened = rig.open();
    assert_eq!((&opened.report.damage[..], opened.reader.end()), (&[][..], 48));
    let epochs = read_all(&opened.reader);
    let epochs = epochs.iter().map(|(_, bytes)| BatchHeader::parse(bytes).unwrap().partition_leader_epoch);
    assert!(epochs.collect::<Vec<_>>().is_sorted());
}

#[test]
fn a_lost_end_and_a_lost_file_are_given_up() {
    for (base, keep, lost) in [
        (16, Some(5 * BATCH), 26..32),
        (16, None, 16..32),
        (32, Some(2 * BATCH + 7), 36..48),
        (32, None, 32..48),
        (0, None, 0..16),
    ] {
        let (mut rig, whole) = log_of();
        match keep {
            Some(len) => rig.cut(base, len),
            None => fs::remove_file(rig.path(base, FileKind::Log)).unwrap(),
        }
        let losses = repair(&mut rig);
        assert_eq!((losses.len(), losses[0].damage.first, losses[0].damage.next), (1, lost.start, lost.end));
        whole_but(&rig, &whole, lost);
    }
}

#[test]
fn a_log_without_damage_stays_as_it_is() {
    let (mut rig, _) = log_of();
    let before = rig.files_on_disk();
    assert_eq!(repair(&mut rig), []);
    assert_eq!(rig.files_on_disk(), before);
}

#[test]
fn a_crash_on_the_way_leaves_the_old_segment_or_the_new_one() {
    let (mut rig, _) = log_of();
    rig.flip(32, 3 * BATCH + 100);
    // Known, as the broker found it.
    verify(&rig.open()).unwrap();
    let mut before = rig.image();
    before.lose_manifest();
    repair(&mut rig);
    let new = rig.log_bytes(32);
    let name = |image: &Rig, suffix: &str| image.dir.join(format!("{:020}.log{suffix}", 32));
    let served = |image: &Rig| {
        let opened = image.open();
        let all: Vec<_> =
            (0..24).filter(|n| opened.reader.read_blocking(2 * n, None, 1, 48, true).is_ok()).collect();
        (opened.reader.end(), opened.report.damage.len(), all.len())
    };
    // Half written, complete but not yet in place, in place with the list not yet shortened.
    let image = before.image();
    fs::write(name(&image, ".cleaned"), &new[..700]).unwrap();
    assert_eq!(served(&image), (48, 1, 23), "as before");
    for list_is_old in [true, false] {
        let image = before.image();
        fs::write(name(&image, ".swap"), &new).unwrap();
        if !list_is_old {
            fs::remove_file(image.dir.join(QUARANTINE)).unwrap();
        }
        assert_eq!(served(&image), (48, 0, 24), "as after");
        assert_eq!(image.log_bytes(32), new);
        assert!(!image.dir.join(QUARANTINE).exists());
    }
    // Negative control: put in place without the suffix, the old list would hide sound batches or end the log.
    let image = before.image();
    fs::write(name(&image, ""), &new).unwrap();
    assert_ne!(served(&image), (48, 0, 24));
}

#[test]
fn a_partition_whose_directory_is_gone_begins_behind_what_it_held() {
    let (mut rig, _) = log_of();
    fs::remove_dir_all(&rig.dir).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let (manifest, _) = Manifest::open(temp.path(), DirHealth::new()).unwrap();
    let row = rig.row.clone().unwrap();
    assert_eq!(begin_anew(&rig.dir, &row, &manifest).unwrap(), (0, 48));
    drop(manifest);
    let (_, state) = Manifest::open(temp.path(), DirHealth::new()).unwrap();
    rig.row = state.rows.get(&Rig::id()).cloned();
    let mut opened = rig.open();
    assert_eq!((opened.reader.start(), opened.reader.end()), (48, 48));
    append(&mut opened.writer, &[plain(48, 2, 10)]);
    drop(opened);
    assert_eq!(rig.open().reader.end(), 50);
}

#[test]
fn what_was_restored_or_was_never_damaged_is_served_again() {
    let (mut rig, whole) = log_of();
    let file = rig.path(16, FileKind::Log);
    let bytes = fs::read(&file).unwrap();
    // A record, a file, and a stretch that an earlier release blamed for its neighbour's flipped epoch.
    rig.flip(0, BATCH + 90);
    fs::remove_file(&file).unwrap();
    let opened = rig.open();
    assert_eq!(verify(&opened).unwrap().len(), 2);
    drop(opened);
    let path = rig.dir.join(QUARANTINE);
    let rows = fs::read_to_string(&path).unwrap();
    let rows = rows.replacen("\n2\n", "\n3\n", 1)
        + &format!("32 {} {} 34 36 the batch's leader epoch falls\n", BATCH, 2 * BATCH);
    fs::write(&path, rows).unwrap();
    rig.flip(32, 13);
    assert_eq!(rig.open().report.damage.len(), 3);
    // From a copy.
    rig.flip(0, BATCH + 90);
    fs::write(&file, bytes).unwrap();
    let opened = rig.open();
    assert_eq!(verify(&opened).unwrap(), []);
    assert_eq!(read_all(&opened.reader), whole);
    assert!(!path.exists());
    assert_eq!(repair(&mut rig), []);
}
