//! Retention may empty a log: then the name of the new, empty file says which offset comes next.

use super::*;

/// A log of 40 offsets whose last segment is sealed and followed by an empty one.
fn rolled() -> (Rig, Opened) {
    let (rig, mut opened) = log_of(20, Some(20));
    opened.writer.roll(None, NOW).unwrap();
    assert_eq!(rig.log_bytes(40), b"");
    (rig, opened)
}

fn drop_file(rig: &Rig, base: i64) {
    fs::remove_file(rig.path(base, FileKind::Log)).unwrap();
}

#[test]
fn the_last_segment_goes_only_when_the_empty_one_behind_it_is_durable() {
    let (mut rig, opened) = rolled();
    let last = bases(&opened)[bases(&opened).len() - 2];
    // As long as no checkpoint vouches for the empty one, a power cut may take it.
    let _early = opened.log.advance_start(40);
    assert_eq!(bases(&opened), [last, 40]);
    let note = checkpoint(&mut rig, &opened, None).unwrap();
    assert_eq!(note.row.checkpoint.segment, 40);
    assert!(note.paths.contains(&rig.dir), "its name is synced before the row that counts on it");
    let _removal = opened.log.advance_start(40);
    assert_eq!(bases(&opened), [40]);
}

#[test]
fn an_emptied_log_goes_on_where_it_ended_whatever_step_a_crash_cuts_short() {
    let (mut rig, opened) = rolled();
    let all = bases(&opened);
    // Rolled: the empty file may be there or not.
    for lost in [false, true] {
        let image = rig.image();
        if lost {
            drop_file(&image, 40);
        }
        let opened = image.open();
        assert_eq!((opened.reader.start(), opened.reader.end()), (0, 40));
        goes_on(&image, opened);
    }
    checkpoint(&mut rig, &opened, None).unwrap();
    let before = rig.row.clone();
    let removal = opened.log.advance_start(40);
    let after = removal.row().unwrap();
    // The row without the segments is durable or not; their files go one by one; and the manifest may be lost.
    let mut steps = vec![(before, rig.image())];
    for gone in 0..all.len() {
        let image = rig.image();
        all[..gone].iter().for_each(|base| drop_file(&image, *base));
        steps.push((after.clone(), image));
    }
    drop(removal.rename());
    steps.push((after.clone(), rig.image()));
    for (step, (row, image)) in steps.into_iter().enumerate() {
        for manifest_lost in [false, true] {
            let mut image = image.image();
            image.row = row.clone();
            if manifest_lost {
                image.lose_manifest();
            }
            let opened = image.open();
            assert_eq!(opened.reader.end(), 40, "step {step}, manifest lost: {manifest_lost}");
            assert!(opened.report.damage.is_empty(), "step {step}: {:?}", opened.report.damage);
            goes_on(&image, opened);
        }
    }
    // Negative control: had the last segment gone before the empty one was durable, offsets would be given again.
    drop_file(&rig, 40);
    rig.lose_manifest();
    assert_eq!(rig.open().reader.end(), 0);
}
