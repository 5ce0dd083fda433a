//! Crash images: what a kill or a power cut may leave of a log, and what recovery makes of it (architecture 2.2).
//! Where a rule could be broken unnoticed, a negative control breaks it.

use std::fs;

use super::*;
use crate::config::topic::TopicSettings;
use crate::record::batch::{BatchHeader, seal, stamp};
use crate::storage::layout::segment_file;
use crate::storage::log::{Opened, ReadError};
use crate::storage::testing::*;

/// Batches of two records each, `batches` of them, in segments of about five; the last three segments are past the
/// checkpoint if there is one.
fn log_of(batches: i64, checkpoint_at: Option<i64>) -> (Rig, Opened) {
    let mut rig = Rig::new(TopicSettings {
        segment_bytes: 1_500,
        index_interval_bytes: 300,
        ..TopicSettings::default()
    });
    let mut opened = rig.open();
    for n in 0..batches {
        append_rolling(&mut opened.writer, plain(2 * n, 2, 100));
        if checkpoint_at == Some(n + 1) {
            checkpoint(&mut rig, &opened, None).unwrap();
        }
    }
    (rig, opened)
}

/// Where each batch ends in the file of the segment at `base`, beginning with 0.
fn ends_in(rig: &Rig, base: i64) -> Vec<u64> {
    let bytes = rig.log_bytes(base);
    let mut ends = vec![0];
    while let Some(rest) = bytes.get(size(*ends.last().unwrap())..).filter(|rest| !rest.is_empty()) {
        ends.push(ends.last().unwrap() + BatchHeader::parse(rest).unwrap().total_len() as u64);
    }
    ends
}

fn size(n: impl TryInto<usize, Error: std::fmt::Debug>) -> usize {
    n.try_into().unwrap()
}

fn bases(opened: &Opened) -> Vec<i64> {
    opened.reader.segments().iter().map(|segment| segment.base).collect()
}

/// The log still takes appends, gives them the next offsets, and a second recovery finds them.
fn goes_on(rig: &Rig, mut opened: Opened) {
    let end = opened.reader.end();
    append(&mut opened.writer, &[plain(end, 3, 50)]);
    assert_eq!(
        opened.reader.read_blocking(end, None, 1 << 20, end + 3, true).unwrap().next.offset(),
        end + 3
    );
    drop(opened);
    assert_eq!(rig.open().reader.end(), end + 3);
}

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
            assert!(opened.report.damage.is_empty());
            if len % 37 == 0 {
                goes_on(&image, opened);
            }
        }
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
    // A bit of the third batch: offset, length, magic, CRC, attributes, a record.
    for at in [7, 10, 16, 20, 22, 90] {
        let image = rig.image();
        image.flip(0, ends[2] + at);
        let opened = image.open();
        assert_eq!(read_all(&opened.reader), whole[..2], "byte {at}");
        assert_eq!(opened.report.set_aside.len(), all_bases.len() - 1);
        assert!(opened.report.set_aside.iter().all(|path| path.exists()), "kept for people");
        assert_eq!(opened.report.damage, []);
        goes_on(&image, opened);
    }
}

#[test]
fn a_flipped_bit_below_the_checkpoint_is_never_cut() {
    let (rig, opened) = log_of(20, Some(3));
    let whole = read_all(&opened.reader);
    let ends = ends_in(&rig, 0);
    // The length of the third batch: the way to the checkpoint is broken there.
    let image = rig.image();
    image.flip(0, ends[2] + 11);
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
fn a_directory_belongs_to_whom_its_metadata_says() {
    let (rig, opened) = log_of(5, Some(3));
    let whole = read_all(&opened.reader);
    let metadata = |rig: &Rig| rig.dir.join(PARTITION_METADATA);
    let mut image = rig.image();
    fs::write(metadata(&image), "version: 0\ntopic_id: CQkJCQkJCQkJCQkJCQkJCQ").unwrap();
    for with_row in [true, false] {
        image.row = image.row.filter(|_| with_row);
        let error = image.try_open().unwrap_err();
        assert!(
            matches!(error, OpenError::Stray { found: Some(id), .. } if id != Rig::id().topic),
            "{error}"
        );
        assert_eq!(image.log_bytes(0), rig.log_bytes(0), "nothing is touched");
    }
    for spoil in [|path: &Path| fs::write(path, "").unwrap(), |path: &Path| fs::remove_file(path).unwrap()] {
        // The row vouches for it.
        let image = rig.image();
        spoil(&metadata(&image));
        assert_eq!(read_all(&image.open().reader), whole);
        assert_eq!(read_partition_metadata(&image.dir).unwrap(), Some(Rig::id().topic), "put right");
        // Nobody does.
        let mut image = rig.image();
        image.row = None;
        spoil(&metadata(&image));
        assert!(matches!(image.try_open(), Err(OpenError::Stray { found: None, .. })));
        // There is nothing to lose: a crash in the middle of the first append.
        for name in image.names().iter().filter(|name| name.contains('.') && !name.ends_with(".log")) {
            fs::remove_file(image.dir.join(name)).unwrap();
        }
        for base in [0, 10, 20] {
            let _ = fs::remove_file(image.path(base, FileKind::Log));
        }
        fs::write(image.path(0, FileKind::Log), b"").unwrap();
        let opened = image.open();
        assert_eq!(opened.reader.end(), 0);
        goes_on(&image, opened);
    }
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

/// Rewrites the segment at `base` with each batch's offset passed through `place`.
fn replace_offsets(rig: &Rig, base: i64, place: impl Fn(i64) -> Option<i64>) {
    let bytes = rig.log_bytes(base);
    let mut out = Vec::new();
    for pair in ends_in(rig, base).windows(2) {
        let mut batch = bytes[size(pair[0])..size(pair[1])].to_vec();
        let header = BatchHeader::parse(&batch).unwrap();
        if let Some(offset) = place(header.base_offset) {
            stamp(&mut batch, offset, header.partition_leader_epoch);
            out.extend_from_slice(&batch);
        }
    }
    fs::write(rig.path(base, FileKind::Log), out).unwrap();
}

#[test]
fn without_a_manifest_sealed_segments_may_have_gaps_and_the_last_one_may_not() {
    let (rig, opened) = log_of(20, None);
    let all_bases = bases(&opened);
    let last = *all_bases.last().unwrap();
    let image = rig.image();
    replace_offsets(&image, 0, |offset| (offset != 2).then_some(offset));
    let opened = image.open();
    assert_eq!((opened.reader.end(), opened.report.damage.len()), (40, 0));
    assert_eq!(opened.reader.read_blocking(3, None, 1, 40, true).unwrap().next.offset(), 6);
    // With a row nothing past the checkpoint is compacted: a gap there is an end.
    let mut image = rig.image();
    image.row = Some(row_at_start(&rig));
    replace_offsets(&image, 0, |offset| (offset != 2).then_some(offset));
    assert_eq!(image.open().reader.end(), 2);
    // The last segment, in either case.
    let image = rig.image();
    replace_offsets(&image, last, |offset| Some(if offset == last { offset } else { offset + 2 }));
    assert_eq!(image.open().reader.end(), last + 2);
}

fn row_at_start(rig: &Rig) -> Arc<PartitionRow> {
    let image = rig.image();
    let opened = image.open();

    opened.log.advance_start(1).row().unwrap().unwrap()
}

#[test]
fn without_a_manifest_bad_bytes_are_damage_if_a_valid_segment_follows_and_an_end_if_none_does() {
    let (rig, opened) = log_of(20, None);
    let whole = read_all(&opened.reader);
    let all_bases = bases(&opened);
    let ends = ends_in(&rig, all_bases[1]);
    let image = rig.image();
    image.flip(all_bases[1], ends[2] + 80);
    let opened = image.open();
    assert_eq!((opened.reader.end(), opened.report.damage.len()), (40, 1));
    assert_eq!(opened.report.damage[0].position, ends[2]);
    let kept = whole.iter().filter(|(base, _)| *base >= all_bases[2]).count();
    let mut seen = 0;
    opened
        .reader
        .for_each_batch(all_bases[2], 40, &mut |_| {
            seen += 1;
            true
        })
        .unwrap();
    assert_eq!(seen, kept);
    assert!(opened.reader.read_blocking(all_bases[2] - 1, None, 1, 40, true).is_err());
    // A rolled segment whose end never reached the disk, and the empty one behind it.
    let image = rig.image();
    for base in &all_bases[2..] {
        fs::write(image.path(*base, FileKind::Log), b"").unwrap();
    }
    image.flip(all_bases[1], ends[2] + 80);
    let opened = image.open();
    assert_eq!((opened.reader.end(), opened.report.damage.len()), (all_bases[1] + 4, 0));
    goes_on(&image, opened);
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
fn indexes_past_the_checkpoint_are_made_again_and_are_those_of_the_writer() {
    let (rig, mut opened) = log_of(20, Some(7));
    opened.writer.close().unwrap();
    let index = |rig: &Rig, kind: FileKind| -> Vec<(String, Vec<u8>)> {
        rig.files_on_disk().into_iter().filter(|(name, _)| name.ends_with(kind.extension())).collect()
    };
    let (offsets, times) = (index(&rig, FileKind::Index), index(&rig, FileKind::TimeIndex));
    assert!(offsets.iter().any(|(_, bytes)| !bytes.is_empty()));
    let checkpointed = rig.row.as_ref().unwrap().checkpoint.segment;
    for without_row in [true, false] {
        let mut image = rig.image();
        image.row = image.row.filter(|_| !without_row);
        for (name, bytes) in offsets.iter().chain(&times) {
            let base: i64 = name[..20].parse().unwrap();
            // Anything may have happened to them past the checkpoint.
            if base > checkpointed || without_row {
                fs::write(image.dir.join(name), [&bytes[..bytes.len() / 2], &[0; 24], &[9; 7]].concat())
                    .unwrap();
            }
        }
        let mut opened = image.open();
        opened.writer.close().unwrap();
        assert_eq!(index(&image, FileKind::Index), offsets);
        assert_eq!(index(&image, FileKind::TimeIndex), times);
    }
}

#[test]
fn the_newest_sound_producer_file_counts_and_the_log_behind_it_is_replayed() {
    let mut rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 2, 10), plain(2, 2, 10)]);
    opened.writer.roll(Some(b"kafka's at 4"), NOW).unwrap();
    append(&mut opened.writer, &[plain(4, 2, 10)]);
    checkpoint(&mut rig, &opened, Some(b"ours at 6")).unwrap();
    append(&mut opened.writer, &[plain(6, 2, 10), plain(8, 2, 10)]);
    let replayed = |image: &Rig, bad: &[i64]| image.open_replaying(|offset| !bad.contains(&offset)).1;
    let of = |snapshots: &[(i64, bool)], batches: &[i64]| Replayed {
        snapshots: snapshots.to_vec(),
        batches: batches.to_vec(),
        controls: 0,
    };
    assert_eq!(replayed(&rig.image(), &[]), of(&[(6, false)], &[6, 8]));
    assert_eq!(replayed(&rig.image(), &[6]), of(&[(6, false), (4, true)], &[4, 6, 8]));
    assert_eq!(replayed(&rig.image(), &[6, 4]), of(&[(6, false), (4, true)], &[0, 2, 4, 6, 8]));
    // Without a manifest the checkpoint is 0: no file counts, every batch does.
    let mut image = rig.image();
    image.row = None;
    assert_eq!(replayed(&image, &[]), of(&[], &[0, 2, 4, 6, 8]));
    // A producer file past the checkpoint vouches for bytes that may be gone.
    let image = rig.image();
    fs::write(image.path(10, FileKind::Producers), b"ours at 10").unwrap();
    assert_eq!(replayed(&image, &[]), of(&[(6, false)], &[6, 8]));
    // A second checkpoint replaces the file; a clean stop replays nothing.
    checkpoint(&mut rig, &opened, Some(b"ours at 10")).unwrap();
    assert!(!rig.path(6, FileKind::Producers).exists());
    opened.writer.close().unwrap();
    checkpoint(&mut rig, &opened, Some(b"ours at 10"));
    rig.clean = true;
    let (opened, seen) = rig.open_replaying(|_| true);
    assert!(opened.report.clean);
    assert_eq!(seen, of(&[(10, false)], &[]));
}

#[test]
fn a_partition_without_producers_replays_only_what_is_past_the_checkpoint() {
    let (rig, _opened) = log_of(10, Some(8));
    let (_, replayed) = rig.open_replaying(|_| true);
    assert_eq!(replayed.batches, [16, 18]);
}

#[test]
fn epochs_come_from_their_file_or_from_the_batches() {
    let mut rig = Rig::new(TopicSettings { segment_bytes: 600, ..TopicSettings::default() });
    let mut opened = rig.open();
    for (n, epoch) in (0..).zip([0, 0, 3, 3, 3, 7, 9]) {
        opened.writer.roll(None, NOW).unwrap();
        append_at(&mut opened.writer, &[plain(n, 1, 50)], epoch, NOW).unwrap();
        if n == 3 {
            checkpoint(&mut rig, &opened, None).unwrap();
        }
    }
    let file = rig.dir.join(LEADER_EPOCHS);
    let expected = vec![(0, 0), (3, 2), (7, 5), (9, 6)];
    assert_eq!(read_epochs(&file).unwrap(), Some(expected.clone()));
    let images: [fn(&Path); 4] = [
        |_| {},
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, b"").unwrap(),
        |path| fs::write(path, b"0\n3\n0 0\n").unwrap(),
    ];
    for (nth, spoil) in images.into_iter().enumerate() {
        let image = rig.image();
        spoil(&image.dir.join(LEADER_EPOCHS));
        let opened = image.open();
        let ends: Vec<_> = [0, 3, 7, 9].iter().map(|epoch| opened.reader.epoch_end(*epoch)).collect();
        assert_eq!(ends, [Some((0, 2)), Some((3, 5)), Some((7, 6)), Some((9, 7))], "{nth}");
        // What the file lacked is in it with the next checkpoint.
        let mut image = image;
        let mut opened = opened;
        append_at(&mut opened.writer, &[plain(7, 1, 50)], 9, NOW).unwrap();
        checkpoint(&mut image, &opened, None).unwrap();
        assert_eq!(read_epochs(&image.dir.join(LEADER_EPOCHS)).unwrap().as_ref(), Some(&expected));
    }
    // The epochs of batches that are lost go with them.
    let image = rig.image();
    image.cut(6, 10);
    let opened = image.open();
    assert_eq!((opened.reader.last_epoch(), opened.reader.epoch_end(9)), (Some(7), None));
}

#[test]
fn what_recovery_keeps_is_durable_before_it_is_shown_or_counts_as_unsynced() {
    let (rig, _opened) = log_of(20, Some(3));
    let checkpoint = rig.row.as_ref().unwrap().checkpoint;
    let image = rig.image();
    let opened = image.open();
    assert_eq!((opened.reader.durable(), opened.reader.end()), (40, 40));
    assert_eq!(sync(&opened), None, "nothing is left to be synced");
    let mut image = rig.image();
    image.sync_on_open = false;
    let opened = image.open();
    assert_eq!((opened.reader.durable(), opened.reader.end()), (checkpoint.offset, 40));
    assert_eq!(sync(&opened), Some(40), "the next sync covers every segment that was read");
    assert_eq!(opened.reader.durable(), 40);
    // A log with nothing past its checkpoint costs no sync.
    let (rig, _opened) = log_of(3, Some(3));
    let mut image = rig.image();
    image.sync_on_open = false;
    assert_eq!(sync(&image.open()), None);
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
fn a_clean_open_looks_at_few_files_and_believes_the_row_only_if_they_fit() {
    let (mut rig, mut opened) = log_of(20, None);
    opened.writer.close().unwrap();
    checkpoint(&mut rig, &opened, None).unwrap();
    rig.clean = true;
    let whole = read_all(&opened.reader);
    // Nothing but the active file and the epochs is needed to open it.
    let image = rig.image();
    let active = *bases(&opened).last().unwrap();
    for name in image.names() {
        if name != segment_file(active, FileKind::Log) && name != LEADER_EPOCHS {
            fs::remove_file(image.dir.join(name)).unwrap();
        }
    }
    let reopened = image.open();
    assert!(reopened.report.clean && reopened.report.scanned_bytes == 0);
    assert_eq!((reopened.reader.end(), reopened.reader.durable()), (40, 40));
    assert_eq!(image.files.open_files(), 0);
    // A stop that was not what it claims to be.
    let image = rig.image();
    let len = image.log_bytes(active).len() as u64;
    image.damage(&image.path(active, FileKind::Log), len, &[0; 100]);
    let reopened = image.open();
    assert!(!reopened.report.clean);
    assert_eq!(read_all(&reopened.reader), whole);
    let image = rig.image();
    fs::write(image.path(40, FileKind::Log), b"").unwrap();
    assert!(!image.open().report.clean);
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

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 128, ..Default::default() })]
    #[test]
    fn files_of_any_content_open_or_are_refused_and_never_panic(
        files in proptest::collection::vec((0..9_usize, 0..4_u8, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)), 1..8),
        with_row: bool, clean: bool,
    ) {
        let (rig, _opened) = log_of(12, with_row.then_some(8));
        let mut image = rig.image();
        image.clean = clean;
        image.sync_on_open = false;
        let names = image.names();
        for (nth, how, bytes) in files {
            let path = image.dir.join(&names[nth % names.len()]);
            let old = fs::read(&path).unwrap_or_default();
            let half = old.len() / 2;
            match how {
                0 => fs::write(&path, &bytes).unwrap(),
                1 => fs::write(&path, [&old[..half], &bytes].concat()).unwrap(),
                2 => fs::write(&path, [&old[..half], &bytes, &old[half..]].concat()).unwrap(),
                _ => drop(fs::remove_file(&path)),
            }
        }
        let Ok(opened) = image.try_open() else { return Ok(()) };
        // Whatever is served is whole and in order.
        let (mut next, end) = (opened.reader.start(), opened.reader.end());
        let mut hint = None;
        while next < end {
            let Ok(read) = opened.reader.read_blocking(next, hint, 700, end, true) else { break };
            proptest::prop_assert!(read.next.offset() >= next);
            if read.next.offset() == next {
                break;
            }
            next = read.next.offset();
            hint = Some(read.next);
        }
        let _ = opened.reader.offset_for_time(NOW + 5, end);
        let _ = opened.reader.max_timestamp(end);
        goes_on(&image, opened);
    }
}
