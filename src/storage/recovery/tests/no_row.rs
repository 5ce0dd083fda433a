//! Logs that no row vouches for: because none was ever put, or because the manifest was lost.

use super::*;

#[test]
fn with_the_manifest_lost_sealed_segments_may_have_gaps_and_the_last_one_may_not() {
    let (mut rig, opened) = log_of(20, None);
    rig.lose_manifest();
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

#[test]
fn with_the_manifest_lost_bad_bytes_are_damage_if_a_valid_segment_follows_and_an_end_if_none_does() {
    let (mut rig, opened) = log_of(20, None);
    rig.lose_manifest();
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
    let (first, next) = (opened.report.damage[0].first, opened.report.damage[0].next);
    assert_eq!((first, next), (all_bases[1] + 4, all_bases[1] + 6), "one batch");
    assert!(opened.reader.read_blocking(first, None, 1, 40, true).is_err());
    assert!(opened.reader.read_blocking(next, None, 1, 40, true).is_ok());
    // A rolled segment whose end never reached the disk, and the empty one behind it.
    let image = rig.image();
    for base in &all_bases[2..] {
        fs::write(image.path(*base, FileKind::Log), b"").unwrap();
    }
    image.flip(all_bases[1], ends[2] + 80);
    let cut = image.log_bytes(all_bases[1]);
    let opened = image.open();
    assert_eq!((opened.reader.end(), opened.report.damage.len()), (all_bases[1] + 4, 0));
    // Nobody knows whether it was durable: it is kept beside the log.
    let [kept] = opened.report.set_aside.as_slice() else { panic!("{:?}", opened.report.set_aside) };
    assert!(kept.to_string_lossy().ends_with(&format!(".log.{}.cut", ends[2])), "{}", kept.display());
    assert_eq!(fs::read(kept).unwrap()[..100], cut[size(ends[2])..][..100]);
    goes_on(&image, opened);
}

/// Cuts the end of the segment at `base` off, exactly behind its last batch but one. Returns the offset behind it.
fn lose_last_batch(rig: &Rig, base: i64) -> i64 {
    let ends = ends_in(rig, base);
    rig.cut(base, ends[ends.len() - 2]);
    base + 2 * i64::try_from(ends.len() - 2).unwrap()
}

#[test]
fn without_a_row_nothing_was_compacted_so_a_hole_behind_a_segment_ends_the_log() {
    let (rig, opened) = log_of(20, None);
    let whole = read_all(&opened.reader);
    let all_bases = bases(&opened);
    // A power cut: the sealed segment's last page was not written, those of the next segments were.
    let image = rig.image();
    let end = lose_last_batch(&image, all_bases[1]);
    let opened = image.open();
    let kept = whole.iter().take_while(|(base, _)| *base < end).count();
    assert_eq!((opened.reader.end(), read_all(&opened.reader)), (end, whole[..kept].to_vec()));
    assert_eq!(opened.report.set_aside.len(), all_bases.len() - 2);
    assert!(opened.report.set_aside.iter().all(|path| path.exists()), "kept for people");
    assert_eq!(opened.report.damage, [], "nothing of it was known to be durable");
    goes_on(&image, opened);
    // A segment that is gone as a whole, and a gap inside of one.
    let image = rig.image();
    fs::remove_file(image.path(all_bases[1], FileKind::Log)).unwrap();
    assert_eq!(image.open().reader.end(), all_bases[1]);
    let image = rig.image();
    replace_offsets(&image, 0, |offset| (offset != 2).then_some(offset));
    assert_eq!(image.open().reader.end(), 2);
    // Negative control: with the manifest lost it may have been compacted, and goes on behind the hole.
    let mut image = rig.image();
    image.lose_manifest();
    let end = lose_last_batch(&image, all_bases[1]);
    let opened = image.open();
    assert_eq!((opened.reader.end(), opened.report.set_aside.len()), (40, 0));
    assert_eq!(opened.reader.read_blocking(end, None, 1, 40, true).unwrap().next.offset(), all_bases[2] + 2);
}

#[test]
fn a_hole_behind_a_segment_past_the_checkpoint_ends_the_log_and_below_it_is_damage() {
    let (rig, opened) = log_of(20, Some(3));
    let all_bases = bases(&opened);
    let image = rig.image();
    let end = lose_last_batch(&image, all_bases[1]);
    let opened = image.open();
    assert_eq!((opened.reader.end(), opened.report.damage.len()), (end, 0));
    goes_on(&image, opened);
    // The same loss below the checkpoint: reported, never passed over in silence, and what follows is served.
    let (rig, _opened) = log_of(20, Some(18));
    let image = rig.image();
    let end = lose_last_batch(&image, all_bases[1]);
    let opened = image.open();
    assert_eq!((opened.reader.end(), opened.report.damage.len()), (40, 1));
    let error = opened.reader.read_blocking(end, None, 1, 40, true).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    assert!(opened.reader.read_blocking(all_bases[2], None, 1, 40, true).is_ok());
    goes_on(&image, opened);
}

#[test]
fn a_hole_that_the_log_start_explains_is_none() {
    let (rig, opened) = log_of(20, None);
    let all_bases = bases(&opened);
    let mut image = rig.image();
    lose_last_batch(&image, all_bases[1]);
    image.log_start = all_bases[2];
    let opened = image.open();
    assert_eq!((opened.reader.start(), opened.reader.end()), (all_bases[2], 40));
    assert!(opened.report.set_aside.is_empty() && opened.report.damage.is_empty());
    // Negative control: a log start before the hole's end does not.
    image.log_start = all_bases[2] - 1;
    assert_eq!(image.open().reader.end(), all_bases[2] - 1);
}

#[test]
fn without_a_row_bad_bytes_end_the_log_even_if_a_valid_segment_follows() {
    let (rig, opened) = log_of(20, None);
    let all_bases = bases(&opened);
    let ends = ends_in(&rig, all_bases[1]);
    rig.flip(all_bases[1], ends[2] + 80);
    let opened = rig.open();
    assert_eq!((opened.reader.end(), opened.report.damage.len()), (all_bases[1] + 4, 0));
    assert_eq!(opened.report.set_aside.len(), all_bases.len() - 1);
    goes_on(&rig, opened);
}
