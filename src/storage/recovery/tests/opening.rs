//! Whose a directory is, when the short way is taken, and what is durable afterwards.

use super::*;

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
