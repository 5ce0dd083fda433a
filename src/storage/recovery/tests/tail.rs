//! What stands behind the last valid batch is cut, at whatever byte a crash stopped.

use super::*;

#[test]
fn a_tail_cut_at_any_byte_ends_at_the_last_whole_batch() {
    for checkpoint_at in [None, Some(3)] {
        let (rig, opened) = log_of(5, checkpoint_at);
        let whole = read_all(&opened.reader);
        let ends = ends_in(&rig, 0);
        let from = checkpoint_at.map_or(0, |n| ends[size(n)]);
        for len in from..=*ends.last().unwrap() {
            let mut image = rig.image();
            image.sync_on_open = false;
            image.cut(0, len);
            let opened = image.open();
            let kept = ends.iter().rposition(|end| *end <= len).unwrap();
            assert_eq!(read_all(&opened.reader), whole[..kept], "cut at {len}");
            assert_eq!(opened.reader.end(), 2 * kept as i64);
            assert_eq!(opened.report.truncated_bytes, len - ends[kept]);
            assert_eq!(image.log_bytes(0).len() as u64, ends[kept]);
            assert!(opened.report.damage.is_empty() && opened.report.set_aside.is_empty(), "cut at {len}");
            if len % 37 == 0 {
                goes_on(&image, opened);
            }
        }
    }
}

#[test]
fn what_one_sync_has_settled_for_all_is_durable_when_it_is_opened_and_what_is_cut_stays_cut() {
    let (rig, opened) = log_of(4, Some(2));
    let whole = read_all(&opened.reader);
    let len = rig.log_bytes(0).len() as u64;
    for tail in [vec![], vec![0xa5; 3_000]] {
        let mut image = rig.image();
        image.settled = true;
        image.damage(&image.path(0, FileKind::Log), len, &tail);
        let opened = image.open();
        assert_eq!((read_all(&opened.reader), opened.reader.durable()), (whole.clone(), opened.reader.end()));
        assert_eq!(image.log_bytes(0).len() as u64, len);
        goes_on(&image, opened);
    }
}

#[test]
fn zeros_and_garbage_behind_the_end_are_cut() {
    let (rig, opened) = log_of(4, None);
    let whole = read_all(&opened.reader);
    let len = rig.log_bytes(0).len() as u64;
    for tail in [vec![0; 5_000], vec![0xa5; 3_000], rig.log_bytes(0)[..200].to_vec()] {
        let image = rig.image();
        image.damage(&image.path(0, FileKind::Log), len, &tail);
        let opened = image.open();
        assert_eq!(read_all(&opened.reader), whole);
        assert_eq!(opened.report.truncated_bytes, tail.len() as u64);
        assert!(
            opened.report.cut.as_ref().unwrap().contains(&format!("byte {len}")),
            "{:?}",
            opened.report.cut
        );
        goes_on(&image, opened);
    }
}

#[test]
fn a_flipped_bit_past_the_checkpoint_ends_the_log_there_and_later_segments_do_not_count() {
    let (rig, opened) = log_of(20, Some(2));
    let whole = read_all(&opened.reader);
    let all_bases = bases(&opened);
    assert!(all_bases.len() >= 4);
    let ends = ends_in(&rig, 0);
    // A bit of the third batch: CRC, attributes, a record.
    for at in [20, 22, 90] {
        let image = rig.image();
        image.flip(0, ends[2] + at);
        let before = image.log_bytes(0);
        let opened = image.open();
        assert_eq!(read_all(&opened.reader), whole[..2], "byte {at}");
        assert_eq!(opened.report.set_aside.len(), all_bases.len());
        assert!(opened.report.set_aside.iter().all(|path| path.exists()), "kept for people");
        // The whole batches behind it, in its own segment too.
        let name = format!("{}.{}.cut", image.path(0, FileKind::Log).display(), ends[2]);
        assert!(fs::read(name).unwrap() == before[size(ends[2])..], "byte {at}");
        let told = format!("offset 6 at byte {} is whole", ends[3]);
        assert!(opened.report.cut.as_ref().unwrap().contains(&told), "{:?}", opened.report.cut);
        assert_eq!(opened.report.damage, []);
        goes_on(&image, opened);
    }
}

#[test]
fn a_roll_is_followed_by_name_and_a_segment_that_does_not_follow_is_put_aside() {
    let (rig, opened) = log_of(20, Some(2));
    let all_bases = bases(&opened);
    // The second segment is missing: the third does not follow on the first.
    let image = rig.image();
    fs::remove_file(image.path(all_bases[1], FileKind::Log)).unwrap();
    let opened = image.open();
    assert_eq!((opened.reader.end(), opened.report.set_aside.len()), (all_bases[1], all_bases.len() - 2));
    goes_on(&image, opened);
    // A segment that begins inside the first one is covered by it.
    let image = rig.image();
    fs::copy(image.path(all_bases[1], FileKind::Log), image.path(3, FileKind::Log)).unwrap();
    let opened = image.open();
    assert_eq!((opened.reader.end(), opened.report.set_aside.len()), (40, 1));
}

#[test]
fn recovery_frees_what_was_reserved_behind_the_end() {
    use std::os::unix::fs::MetadataExt as _;
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 1, 100)]);
    let blocks = || fs::metadata(rig.path(0, FileKind::Log)).unwrap().blocks();
    let reserved = blocks();
    assert!(reserved * 512 >= 64 << 10, "{reserved} blocks");
    drop(opened);
    let opened = rig.open();
    assert!(blocks() * 512 <= 8 << 10, "{} blocks of {reserved}", blocks());
    goes_on(&rig, opened);
}

#[test]
fn a_forged_length_reserves_no_memory_and_ends_the_log() {
    let (rig, _opened) = log_of(3, None);
    let mut batch = plain(6, 1, 10).to_vec();
    stamp(&mut batch, 6, 0);
    batch[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    seal(&mut batch);
    rig.damage(&rig.path(0, FileKind::Log), rig.log_bytes(0).len() as u64, &batch);
    let file = fs::OpenOptions::new().write(true).open(rig.path(0, FileKind::Log)).unwrap();
    file.set_len(3 << 30).unwrap();
    assert_eq!(rig.open().reader.end(), 6);
}

#[test]
fn two_fronts_in_a_row_are_put_right_where_the_checksums_show_what_they_were() {
    let (rig, opened) = log_of(20, Some(2));
    let whole = read_all(&opened.reader);
    let ends = ends_in(&rig, 0);
    for bytes in [[16, 16], [16, 9], [9, 16], [9, 9]] {
        let image = rig.image();
        image.flip(0, ends[2] + bytes[0]);
        image.flip(0, ends[3] + bytes[1]);
        assert_eq!(read_all(&image.open().reader), whole, "bytes {bytes:?}");
        assert_eq!(image.log_bytes(0), rig.log_bytes(0), "bytes {bytes:?}");
    }
}

#[test]
fn a_front_is_not_made_up_for_records_that_are_damaged_too() {
    let (rig, opened) = log_of(20, Some(2));
    let whole = read_all(&opened.reader);
    let ends = ends_in(&rig, 0);
    for at in [9, 16] {
        let image = rig.image();
        image.flip(0, ends[2] + at);
        image.flip(0, ends[2] + 90);
        assert_eq!(read_all(&image.open().reader), whole[..2], "byte {at}");
    }
}
