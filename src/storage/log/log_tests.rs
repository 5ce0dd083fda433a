//! Appends, rolls and reads of one log.

use super::*;
use crate::storage::layout::FileKind;
use crate::storage::testing::*;

fn small_segments(segment_bytes: i32) -> Rig {
    Rig::new(TopicSettings { segment_bytes, index_interval_bytes: 256, ..TopicSettings::default() })
}

#[test]
fn a_partition_without_records_makes_no_file() {
    let rig = small_segments(1 << 20);
    let opened = rig.open();
    assert_eq!((opened.reader.start(), opened.reader.end(), opened.reader.durable()), (0, 0, 0));
    assert!(opened.reader.read(0, None, 1000, 0, true).unwrap().slices.is_empty());
    assert!(!rig.dir.exists());
    assert_eq!(rig.files.open_files(), 0);
    assert!(sync(&opened).is_none(), "nothing is dirty");
}

#[test]
fn what_was_appended_is_read_back_stamped() {
    let rig = small_segments(1 << 20);
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 3, 10), plain(3, 1, 9_000), plain(4, 2, 10)]);
    append_at(&mut opened.writer, &[plain(6, 1, 10)], 4, NOW).unwrap();
    assert_eq!(opened.reader.end(), 7);
    let found = read_all(&opened.reader);
    assert_eq!(found.iter().map(|(base, _)| *base).collect::<Vec<_>>(), [0, 3, 4, 6]);
    let epochs: Vec<i32> =
        found.iter().map(|(_, bytes)| BatchHeader::parse(bytes).unwrap().partition_leader_epoch).collect();
    assert_eq!(epochs, [0, 0, 0, 4]);
    assert_eq!(rig.names(), ["00000000000000000000.log", "leader-epoch-checkpoint", "partition.metadata"]);
    let on_disk: Vec<u8> = found.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(rig.log_bytes(0), on_disk, "nothing else is in the file");
}

#[test]
fn a_restart_in_every_form_finds_the_same_log() {
    let mut rig = small_segments(2_000);
    let mut opened = rig.open();
    for n in 0..40 {
        append_rolling(&mut opened.writer, plain(n, 1, 100));
    }
    let expected = read_all(&opened.reader);
    assert!(opened.reader.segments().len() > 2);
    let unclean_without_row = rig.image();
    checkpoint(&mut rig, &opened, None).unwrap();
    let unclean = rig.image();
    opened.writer.close().unwrap();
    checkpoint(&mut rig, &opened, None);
    let mut clean = rig.image();
    clean.clean = true;
    for rig in [unclean_without_row, unclean, clean] {
        let mut opened = rig.open();
        assert_eq!(read_all(&opened.reader), expected);
        assert!(opened.report.damage.is_empty() && opened.report.truncated_bytes == 0, "{:?}", opened.report);
        assert_eq!(opened.report.clean, rig.clean);
        append(&mut opened.writer, &[plain(40, 1, 100)]);
        assert_eq!(read_all(&opened.reader).len(), 41);
    }
    assert!(rig.path(0, FileKind::Index).exists());
}
