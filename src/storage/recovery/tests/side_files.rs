//! The files beside the segments: indexes, producers, epochs.

use super::*;

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
    let of = |snapshots: &[(i64, bool)], batches: &[i64]| SeenReplay {
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
    let images: [fn(&Path); 6] = [
        |_| {},
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, b"").unwrap(),
        |path| fs::write(path, b"0\n3\n0 0\n").unwrap(),
        // As the checkpoint knew it, without what came behind; and with epochs of batches that were lost.
        |path| fs::write(path, b"0\n2\n0 0\n3 2\n").unwrap(),
        |path| fs::write(path, b"0\n4\n0 0\n3 2\n5 4\n8 6\n").unwrap(),
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
fn the_epochs_file_is_among_what_a_sync_and_a_checkpoint_wait_for() {
    use crate::storage::flush::SyncTarget as _;
    let mut rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append_at(&mut opened.writer, &[plain(0, 1, 50)], 0, NOW).unwrap();
    checkpoint(&mut rig, &opened, None).unwrap();
    append_at(&mut opened.writer, &[plain(1, 1, 50)], 1, NOW).unwrap();
    let file = rig.dir.join(LEADER_EPOCHS);
    let old = b"0\n1\n0 0\n";
    // Before the first batch of an epoch is acknowledged.
    let note = opened.log.note().unwrap();
    assert!(note.end == 2 && note.paths.iter().any(|path| **path == *file));
    assert!(note.paths.contains(&rig.dir), "and its directory: it was put in place of the old one");
    opened.log.synced(2);
    // A power cut may still bring the old file back, until a row vouches for it: the batch tells.
    let image = rig.image();
    fs::write(image.dir.join(LEADER_EPOCHS), old).unwrap();
    assert_eq!(image.open().reader.epoch_end(0), Some((0, 1)));
    checkpoint(&mut rig, &opened, None).unwrap();
    // Negative control: below a checkpoint the file alone is asked, so its row waits for it.
    let image = rig.image();
    fs::write(image.dir.join(LEADER_EPOCHS), old).unwrap();
    assert_eq!(image.open().reader.epoch_end(0), Some((0, 2)));
    append_at(&mut opened.writer, &[plain(2, 1, 50)], 2, NOW).unwrap();
    let note = opened.log.prepare_checkpoint(&opened.writer.mark(), None, false).unwrap().unwrap();
    assert!(note.paths.iter().any(|path| **path == *file));
    assert!(note.paths.contains(&rig.dir));
}
