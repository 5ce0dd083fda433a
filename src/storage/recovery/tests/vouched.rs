//! What a checkpoint or the manifest's row vouches for has to be there, and is never cut.

use super::*;

#[test]
fn a_flipped_bit_below_the_checkpoint_is_never_cut() {
    let (rig, opened) = log_of(20, Some(3));
    let whole = read_all(&opened.reader);
    let ends = ends_in(&rig, 0);
    // The length of the third batch, and a record: the way to the checkpoint is broken there.
    let image = rig.image();
    image.flip(0, ends[2] + 11);
    image.flip(0, ends[2] + 90);
    let opened = image.open();
    assert_eq!(opened.report.damage.len(), 1, "{:?}", opened.report);
    assert_eq!(opened.report.damage[0].position, ends[2]);
    assert_eq!(opened.reader.end(), 40, "what was appended behind it is there");
    let error = opened.reader.read_blocking(4, None, 1 << 20, 40, true).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    let rest = opened.reader.read_blocking(whole[8].0, None, 1, 40, true).unwrap();
    assert_eq!(rest.bytes, whole[8].1.len());
    assert_eq!(image.log_bytes(0).len(), rig.log_bytes(0).len());
    // Negative control: the same damage past the checkpoint does cut.
    let (rig, _opened) = log_of(20, Some(2));
    rig.flip(0, ends[2] + 11);
    rig.flip(0, ends[2] + 90);
    assert_eq!(rig.open().reader.end(), 4);
}

#[test]
fn a_file_below_the_checkpoint_that_is_gone_or_short_is_damage_and_the_rest_is_served() {
    let (rig, opened) = log_of(20, Some(18));
    let whole = read_all(&opened.reader);
    let all_bases = bases(&opened);
    let second = all_bases[1];
    let next = all_bases[2];
    for keep in [None, Some(250)] {
        let image = rig.image();
        match keep {
            None => fs::remove_file(image.path(second, FileKind::Log)).unwrap(),
            Some(len) => image.cut(second, len),
        }
        let opened = image.open();
        assert_eq!(opened.report.damage.len(), 1, "{:?}", opened.report);
        assert_eq!((bases(&opened), opened.reader.end()), (all_bases.clone(), 40));
        let read = |from| opened.reader.read_blocking(from, None, 1 << 20, 40, true);
        let first_part = read(0).unwrap();
        assert!(first_part.next.offset() >= second && first_part.next.offset() < next);
        let error = read(next - 1).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }), "never skipped in silence: {error}");
        let behind: usize =
            whole.iter().filter(|(base, _)| *base >= next).map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(read(next).unwrap().bytes, behind);
        goes_on(&image, opened);
    }
}

#[test]
fn an_offset_that_was_durable_is_never_given_twice() {
    let (rig, _opened) = log_of(5, Some(5));
    let ends = ends_in(&rig, 0);
    // The checkpoint's own file lost its end, or is gone while another is there.
    let image = rig.image();
    image.cut(0, ends[3]);
    let opened = image.open();
    assert_eq!((opened.reader.end(), opened.report.damage.len()), (10, 1));
    assert_eq!(image.log_bytes(0).len() as u64, ends[3], "not cut further");
    goes_on(&image, opened);
    assert!(image.path(10, FileKind::Log).exists());
    // Negative control: without the row nobody knows, and the offset is given again.
    let mut image = rig.image();
    image.row = None;
    image.cut(0, ends[3]);
    assert_eq!(image.open().reader.end(), 6);
    // DeleteRecords moved the log's start past what a power cut left.
    let (rig, _opened) = log_of(5, None);
    let mut image = rig.image();
    image.log_start = 30;
    let mut opened = image.open();
    assert_eq!((opened.reader.start(), opened.reader.end()), (30, 30));
    append(&mut opened.writer, &[plain(30, 2, 10)]);
    // The next recovery finds the records behind the hole, with a row from before the loss and without one.
    let removal = opened.log.advance_start(30);
    let row = removal.row().unwrap();
    assert_eq!(row.as_ref().unwrap().checkpoint.offset, 0);
    for row in [row, None] {
        let mut again = image.image();
        again.row = row;
        let opened = again.open();
        assert_eq!((opened.reader.start(), opened.reader.end(), read_all(&opened.reader).len()), (30, 32, 1));
        goes_on(&again, opened);
    }
}

#[test]
fn a_row_whose_files_are_gone_is_damage_and_never_an_empty_log() {
    let (rig, _opened) = log_of(5, Some(5));
    let image = rig.image();
    fs::remove_dir_all(&image.dir).unwrap();
    assert!(matches!(image.try_open(), Err(OpenError::FilesGone { .. })));
    fs::create_dir(&image.dir).unwrap();
    assert!(matches!(image.try_open(), Err(OpenError::FilesGone { .. })));
    // Negative control: without a row the same directory is a partition that was never written to.
    let mut image = rig.image();
    fs::remove_dir_all(&image.dir).unwrap();
    image.row = None;
    assert_eq!(image.open().reader.end(), 0);
}

#[test]
fn what_retention_dropped_from_the_row_does_not_come_back() {
    let (mut rig, opened) = log_of(20, Some(20));
    let before = rig.image();
    let removal = opened.log.advance_start(25);
    let row = removal.row().unwrap().unwrap();
    // A crash before the rename, or one that undid it: the files are there, the row without them is durable.
    rig.row = Some(row.clone());
    let image = rig.image();
    let opened = image.open();
    assert_eq!(opened.reader.start(), 25);
    assert_eq!(bases(&opened)[0], row.segments[0].base);
    assert!(!image.path(0, FileKind::Log).exists() && !image.path(0, FileKind::Index).exists());
    assert!(opened.report.damage.is_empty());
    // Negative control: files that go before the row does read as damage.
    drop(removal.rename());
    rig.row = before.row.clone();
    assert!(!rig.image().open().report.damage.is_empty());
}

#[test]
fn a_compaction_that_was_swapped_in_before_its_row_is_no_damage() {
    let (rig, _opened) = log_of(20, Some(20));
    let all_bases: Vec<i64> = rig.row.as_ref().unwrap().segments.iter().map(|segment| segment.base).collect();
    // The first two segments became one: some batches are gone, the last one of the second stays.
    let image = rig.image();
    let (first, second) = (rig.log_bytes(0), rig.log_bytes(all_bases[1]));
    let ends = ends_in(&rig, all_bases[1]);
    let last = size(ends[ends.len() - 2]);
    let merged = [&first[..size(ends_in(&rig, 0)[1])], &second[last..]].concat();
    fs::write(image.path(0, FileKind::Log), &merged).unwrap();
    fs::remove_file(image.path(all_bases[1], FileKind::Log)).unwrap();
    let opened = image.open();
    assert_eq!(opened.report.damage, []);
    assert_eq!(bases(&opened), [&all_bases[..1], &all_bases[2..]].concat());
    let read = opened.reader.read_blocking(3, None, 1, 40, true).unwrap();
    assert_eq!(read.next.offset(), all_bases[2], "the hole is passed over");
    // Negative control: the same file without its last batch does not explain where the second segment went.
    fs::write(image.path(0, FileKind::Log), &merged[..merged.len() - (second.len() - last)]).unwrap();
    assert_eq!(image.open().report.damage.len(), 2);
}
