//! What is damaged below the log's end is known from then on: never served, never cut, never forgotten, and everything
//! else goes on.

use super::*;
use crate::storage::layout::QUARANTINE;

/// Three rolled segments of eight batches each with two records, and an active one; all checkpointed.
fn sealed_log() -> (Rig, Opened) {
    let mut rig = Rig::new(TopicSettings { index_interval_bytes: 300, ..TopicSettings::default() });
    let mut opened = rig.open();
    for n in 0..28 {
        if n > 0 && n % 8 == 0 {
            opened.writer.roll(None, NOW).unwrap();
        }
        append(&mut opened.writer, &[plain(2 * n, 2, 200)]);
    }
    checkpoint(&mut rig, &opened, None).unwrap();
    (rig, opened)
}

fn first_lost(opened: &Opened, from: i64) -> i64 {
    match opened.reader.read_blocking(from, None, 1 << 20, i64::MAX, true) {
        Err(ReadError::Damaged { damage, .. }) => {
            assert!((damage.first..damage.next).contains(&from), "{damage:?}");
            damage.first
        }
        other => panic!("{from}: {other:?}"),
    }
}

/// The offsets whose reads answer an error; every other one is answered with its own batch.
fn lost(opened: &Opened, whole: &[(i64, Vec<u8>)]) -> Vec<i64> {
    let mut lost = Vec::new();
    for offset in opened.reader.start()..opened.reader.end() {
        match opened.reader.read_blocking(offset, None, 1, i64::MAX, true) {
            Ok(read) => {
                let mut bytes = vec![0; read.bytes];
                read.slices[0].read_into(0, &mut bytes).unwrap();
                let (_, expected) = whole.iter().rfind(|(base, _)| *base <= offset).unwrap();
                assert_eq!(&bytes, expected, "offset {offset}");
            }
            Err(ReadError::Damaged { damage, .. }) => {
                assert!((damage.first..damage.next).contains(&offset));
                lost.push(offset);
            }
            Err(error) => panic!("offset {offset}: {error}"),
        }
    }
    lost
}

#[test]
fn a_reader_that_meets_damage_is_refused_and_everything_around_it_is_served_also_after_restarts() {
    let (mut rig, opened) = sealed_log();
    let whole = read_all(&opened.reader);
    let ends = ends_in(&rig, 16);
    // A header in a sealed segment and one in the active segment, after they were written.
    rig.damage(&rig.path(16, FileKind::Log), ends[3], &[0; 61]);
    let active = ends_in(&rig, 48);
    rig.damage(&rig.path(48, FileKind::Log), active[1], &[0; 61]);
    // A reader that does not wait for the disk looks no further.
    assert!(matches!(opened.reader.read(22, None, 1, 56, true), Err(ReadError::NotResident)));
    assert_eq!(lost(&opened, &whole), [22, 23, 50, 51]);
    assert_eq!(opened.log.damage().len(), 2);
    // Reading on by hints stops at the damage, with what was before it.
    let read = opened.reader.read_blocking(16, None, 1 << 20, 56, true).unwrap();
    assert_eq!((read.next.offset(), read.bytes as u64), (22, ends[3]));
    assert!(opened.reader.read_blocking(22, Some(read.next), 1 << 20, 56, true).is_err());
    // Kill -9, a clean stop, a lost manifest: it is known and not searched for.
    let mut kill = rig.image();
    kill.sync_on_open = false;
    assert_eq!(lost(&kill.open(), &whole), [22, 23, 50, 51]);
    let mut opened = opened;
    append(&mut opened.writer, &[plain(56, 2, 200)]);
    opened.writer.close().unwrap();
    checkpoint(&mut rig, &opened, None).unwrap();
    let mut whole = whole;
    whole.push((56, rig.log_bytes(48)[size(*active.last().unwrap())..].to_vec()));
    let mut clean = rig.image();
    clean.clean = true;
    let opened = clean.open();
    assert!(opened.report.clean && opened.report.damage.len() == 2);
    assert_eq!(lost(&opened, &whole), [22, 23, 50, 51]);
    assert_eq!(opened.reader.read_blocking(56, None, 1, 58, true).unwrap().next.offset(), 58);
    let mut without = rig.image();
    without.lose_manifest();
    let opened = without.open();
    assert_eq!((opened.reader.end(), opened.report.damage.len()), (58, 2), "{:?}", opened.report);
    assert_eq!(first_lost(&opened, 51), 50);
    goes_on(&without, opened);
    // Negative control: without the list, damage in the last segment reads as the log's end.
    let mut without = rig.image();
    without.lose_manifest();
    fs::remove_file(without.dir.join(QUARANTINE)).unwrap();
    assert_eq!(without.open().reader.end(), 50);
}

#[test]
fn a_file_that_lost_its_end_is_still_damaged_after_the_next_checkpoint() {
    let (mut rig, opened) = sealed_log();
    drop(opened);
    let ends = ends_in(&rig, 16);
    rig.cut(16, ends[5]);
    let mut opened = rig.open();
    assert_eq!(first_lost(&opened, 31), 26);
    append(&mut opened.writer, &[plain(56, 2, 200)]);
    checkpoint(&mut rig, &opened, None).unwrap();
    assert_eq!(first_lost(&rig.open(), 31), 26);
    // Negative control: the row of that checkpoint has the length that was found, so without the list the hole would
    // be passed over in silence.
    fs::remove_file(rig.dir.join(QUARANTINE)).unwrap();
    assert_eq!(rig.open().reader.read_blocking(26, None, 1, 58, true).unwrap().next.offset(), 34);
}

#[test]
fn a_segment_whose_file_vanishes_while_the_broker_runs_is_damage() {
    let (rig, opened) = sealed_log();
    drop(opened);
    let opened = rig.open();
    fs::remove_file(rig.path(16, FileKind::Log)).unwrap();
    assert_eq!(first_lost(&opened, 20), 16);
    assert_eq!(opened.reader.read_blocking(0, None, 1 << 20, 56, true).unwrap().next.offset(), 16);
    assert_eq!(opened.reader.read_blocking(32, None, 1, 56, true).unwrap().next.offset(), 34);
    assert_eq!(first_lost(&rig.open(), 31), 16);
}

#[test]
fn a_search_by_time_passes_over_what_is_damaged() {
    let (rig, opened) = sealed_log();
    let ends = ends_in(&rig, 16);
    rig.damage(&rig.path(16, FileKind::Log), ends[3], &[0; 61]);
    let at = |offset: i64| opened.reader.offset_for_time(NOW + offset, 56).unwrap().unwrap().offset;
    assert_eq!((at(21), at(22), at(23), at(24)), (21, 24, 24, 24));
    assert_eq!(opened.reader.max_timestamp(56).unwrap().unwrap().offset, 55);
    let active = ends_in(&rig, 48);
    rig.damage(&rig.path(48, FileKind::Log), active[3], &[0; 61]);
    assert_eq!(opened.reader.max_timestamp(56).unwrap().unwrap().offset, 53);
}

#[test]
fn a_scan_that_checks_sums_quarantines_what_a_fetch_would_not_notice() {
    let (rig, opened) = sealed_log();
    let ends = ends_in(&rig, 16);
    rig.flip(16, ends[3] + 120);
    assert!(opened.reader.read_blocking(22, None, 1, 56, true).is_ok(), "a fetch looks at no checksum");
    let error = opened.reader.for_each_batch(0, 56, &mut |_| true).unwrap_err();
    assert!(
        matches!(error, ReadError::Damaged { .. }) && error.to_string().contains("offsets 22 to 23"),
        "{error}"
    );
    assert_eq!(first_lost(&opened, 22), 22);
}

#[test]
fn headers_that_recovery_reads_below_the_checkpoint_are_damage_where_they_break() {
    let (rig, opened) = sealed_log();
    let whole = read_all(&opened.reader);
    let ends = ends_in(&rig, 16);
    rig.damage(&rig.path(16, FileKind::Log), ends[3], &[0; 61]);
    // Without epochs the batches are asked, with all of their headers.
    fs::remove_file(rig.dir.join(LEADER_EPOCHS)).unwrap();
    let image = rig.image();
    let opened = image.open();
    assert_eq!(opened.report.damage.len(), 1);
    assert_eq!(lost(&opened, &whole), [22, 23]);
    assert_eq!(opened.reader.epoch_end(0), Some((0, 56)));
}

#[test]
fn indexes_that_are_missing_or_garbage_are_made_again() {
    let mut rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    for segment in 0..2 {
        for n in 0..1_000 {
            append(&mut opened.writer, &[plain(segment * 1_000 + n, 1, 400)]);
        }
        opened.writer.roll(None, NOW).unwrap();
    }
    checkpoint(&mut rig, &opened, None).unwrap();
    let index = rig.path(0, FileKind::Index);
    let times = rig.path(0, FileKind::TimeIndex);
    let (good, good_times) = (fs::read(&index).unwrap(), fs::read(&times).unwrap());
    let spoil: [&dyn Fn(&Path); 4] = [
        &|path| fs::remove_file(path).unwrap(),
        &|path| fs::write(path, vec![0; 4_000]).unwrap(),
        &|path| fs::write(path, vec![0xff; 4_000]).unwrap(),
        &|path| fs::write(path, (0..4_000_u32).flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>()).unwrap(),
    ];
    for (nth, spoil) in spoil.into_iter().enumerate() {
        let image = rig.image();
        spoil(&image.path(0, FileKind::Index));
        spoil(&image.path(0, FileKind::TimeIndex));
        let opened = image.open();
        let read = opened.reader.read_blocking(900, None, 1, 2_000, true).unwrap();
        assert_eq!(read.next.offset(), 901, "{nth}");
        assert_eq!(opened.reader.offset_for_time(NOW + 700, 2_000).unwrap().unwrap().offset, 700);
        assert_eq!(fs::read(image.path(0, FileKind::Index)).unwrap(), good, "{nth}");
        assert_eq!(fs::read(image.path(0, FileKind::TimeIndex)).unwrap(), good_times, "{nth}");
        assert!(opened.log.damage().is_empty());
    }
}

#[test]
fn a_later_releases_files_are_left_alone() {
    let (rig, _opened) = sealed_log();
    let path = rig.dir.join(PARTITION_METADATA);
    let text = "version: 1\ntopic_id: CQkJCQkJCQkJCQkJCQkJCQ\nnews: yes\n";
    fs::write(&path, text).unwrap();
    let before = rig.files_on_disk();
    let error = rig.try_open().unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { .. }) && error.to_string().contains("Nothing was changed"),
        "{error}"
    );
    assert_eq!(rig.files_on_disk(), before);
    // Negative control: one that says nothing is made again, since the row tells whose it is.
    fs::write(&path, "version: x\n").unwrap();
    rig.open();
    assert_ne!(rig.files_on_disk(), before);
}

#[test]
fn bytes_behind_a_sealed_segment_are_passed_over() {
    let (rig, opened) = sealed_log();
    let whole = read_all(&opened.reader);
    drop(opened);
    let len = rig.log_bytes(16).len() as u64;
    rig.damage(&rig.path(16, FileKind::Log), len, &[9; 500]);
    let opened = rig.open();
    assert_eq!((opened.report.damage.len(), read_all(&opened.reader)), (0, whole));
    assert_eq!(rig.log_bytes(16).len() as u64, len + 500, "and not cut");
}

#[test]
fn strangers_in_the_directory_are_left_alone() {
    let (rig, _opened) = sealed_log();
    for name in ["notes.txt", "00000000000000000000.log.bak", "core"] {
        fs::write(rig.dir.join(name), b"mine").unwrap();
    }
    let opened = rig.open();
    assert!(opened.report.damage.is_empty() && opened.report.set_aside.is_empty());
    assert!(
        ["notes.txt", "00000000000000000000.log.bak", "core"].iter().all(|name| rig.dir.join(name).exists())
    );
}
