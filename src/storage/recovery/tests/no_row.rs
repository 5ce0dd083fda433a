//! Logs that no row vouches for: because none was ever put, or because the manifest was lost.

use super::*;

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
