//! What a scrub finds, what it costs, and what the first read after an open checks by itself.

use std::fs;
use std::thread;

use super::*;
use crate::config::topic::TopicSettings;
use crate::storage::log::{Opened, ReadError};
use crate::storage::testing::*;

const BATCH: u64 = 479;

/// Three segments of eight batches of two records each, all checkpointed; opened anew.
fn log_of() -> (Rig, Opened) {
    let mut rig = Rig::new(TopicSettings { index_interval_bytes: 300, ..TopicSettings::default() });
    let mut opened = rig.open();
    for n in 0..24 {
        if n > 0 && n % 8 == 0 {
            opened.writer.roll(None, NOW).unwrap();
        }
        append(&mut opened.writer, &[plain(2 * n, 2, 200)]);
    }
    opened.writer.close().unwrap();
    checkpoint(&mut rig, &opened, None).unwrap();
    rig.clean = true;
    let opened = rig.open();
    assert!(opened.report.clean);
    (rig, opened)
}

/// What a scrub says of each segment.
fn look(parts: &[Part]) -> Vec<String> {
    look_beside(parts, &|| false)
}

/// The same, where somebody may read meanwhile.
fn look_beside(parts: &[Part], is_read: &dyn Fn() -> bool) -> Vec<String> {
    let clock = Clock::system();
    let pace = Pace::new(clock.clone(), 0.0);
    let mut scrubber = Scrubber::new(&clock, &pace);
    parts.iter().map(|part| format!("{:?}", scrubber.look(part, is_read))).collect()
}

fn damaged(opened: &Opened) -> Vec<(i64, i64)> {
    opened.log.damage().iter().map(|damage| (damage.first, damage.next)).collect()
}

#[test]
fn a_scrub_finds_a_flipped_value_that_no_reader_has_met_and_the_log_refuses_it_from_then_on() {
    let (rig, opened) = log_of();
    assert_eq!(look(&opened.log.parts()), ["Sound"; 3]);
    rig.flip(16, 3 * BATCH + 100);
    rig.flip(16, 6 * BATCH + 100);
    rig.flip(32, BATCH + 100);
    let row = rig.row.clone().unwrap();
    for parts in [opened.log.parts(), parts_of_row(&rig.dir, &row)] {
        assert_eq!(look(&parts), ["Sound", "Suspicious", "Suspicious"], "open or not");
    }
    assert_eq!(opened.log.examine(0).unwrap(), 0);
    assert_eq!(opened.log.examine(16).unwrap(), 2);
    assert_eq!(opened.log.examine(32).unwrap(), 1);
    assert_eq!(damaged(&opened), [(22, 24), (28, 30), (34, 36)]);
    // What is known is passed over from then on, after a restart, too.
    assert_eq!(look(&opened.log.parts()), ["Sound"; 3]);
    assert_eq!(look(&parts_of_row(&rig.dir, &row)), ["Sound"; 3]);
    assert_eq!(opened.log.examine(16).unwrap(), 0);
    assert_eq!(damaged(&rig.open()), [(22, 24), (28, 30), (34, 36)]);
}

#[test]
fn a_file_that_is_gone_or_cut_is_found() {
    let (rig, opened) = log_of();
    rig.cut(16, 5 * BATCH);
    fs::remove_file(rig.path(0, FileKind::Log)).unwrap();
    assert_eq!(look(&opened.log.parts()), ["Gone", "Suspicious", "Sound"]);
    assert_eq!((opened.log.examine(0).unwrap(), opened.log.examine(16).unwrap()), (1, 1));
    assert_eq!(damaged(&opened), [(0, 16), (26, 32)]);
}

#[test]
fn a_stop_ends_a_scrub_that_waits() {
    let (_rig, opened) = log_of();
    let clock = Clock::system();
    let pace = Pace::new(clock.clone(), 1.0);
    thread::scope(|threads| {
        let looking = threads.spawn(|| Scrubber::new(&clock, &pace).look(&opened.log.parts()[0], &|| false));
        thread::sleep(Duration::from_millis(20));
        pace.stop();
        assert!(matches!(looking.join().unwrap(), Finding::Stopping));
    });
}

#[test]
fn the_first_read_after_an_open_checks_what_nobody_has_checked_yet() {
    let (rig, _) = log_of();
    rig.flip(16, 3 * BATCH + 100);
    let opened = rig.open();
    // A network thread leaves it to one that may take its time.
    assert!(matches!(opened.reader.read(0, None, 1 << 20, 48, true), Err(ReadError::NotResident)));
    let read = opened.reader.read_blocking(0, None, 1 << 20, 48, true).unwrap();
    assert_eq!((read.next.offset(), read.bytes as u64), (22, 11 * BATCH), "up to the damage, and no further");
    assert_eq!(damaged(&opened), [(22, 24)]);
    assert!(matches!(
        opened.reader.read_blocking(22, None, 1 << 20, 48, true),
        Err(ReadError::Damaged { damage, .. }) if (damage.first, damage.next) == (22, 24)
    ));
    let read = opened.reader.read_blocking(24, None, 1 << 20, 48, true).unwrap();
    assert_eq!((read.next.offset(), read.bytes as u64), (48, 12 * BATCH));
    // It is checked once: from here on it is a matter of network threads again.
    let read = opened.reader.read(0, None, 1 << 20, 48, true).unwrap();
    assert_eq!(read.next.offset(), 22);
    let read = opened.reader.read(32, None, 1 << 20, 48, true).unwrap();
    assert_eq!(read.next.offset(), 48);
}

#[test]
fn what_was_appended_recovered_or_scrubbed_is_not_checked_again() {
    let (rig, mut opened) = log_of();
    append(&mut opened.writer, &[plain(48, 2, 200)]);
    // Behind what the log was opened with.
    assert_eq!(opened.reader.read(48, None, 1 << 20, 50, true).unwrap().next.offset(), 50);
    assert!(matches!(opened.reader.read(46, None, 1 << 20, 50, true), Err(ReadError::NotResident)));
    let parts = opened.log.parts();
    assert_eq!(look(&parts), ["Sound"; 3]);
    parts.iter().for_each(|part| opened.log.trust(part));
    // The files stand open already, and the index was looked at.
    opened.reader.read_blocking(0, None, 1 << 20, 50, true).unwrap();
    assert_eq!(opened.reader.read(0, None, 1 << 20, 50, true).unwrap().next.offset(), 50);
    drop(opened);
    let mut kill = rig.image();
    kill.lose_manifest();
    let opened = kill.open();
    opened.reader.read_blocking(0, None, 1, 50, true).unwrap();
    assert!(opened.reader.read(0, None, 1 << 20, 50, true).is_ok(), "recovery has read it all");
}

#[test]
fn what_was_not_in_the_page_cache_is_not_left_there() {
    let (rig, opened) = log_of();
    let file = File::open(rig.path(16, FileKind::Log)).unwrap();
    let forget = || {
        file.sync_all().unwrap();
        let forget = || rustix::fs::fadvise(&file, 0, None::<NonZeroU64>, Advice::DontNeed).unwrap();
        forget();
        let is_cold = !is_in_memory(&file, 0);
        // To ask begins to bring it there: that has to end before it can go again.
        read_some(&file, 0, &mut [0; 64 << 10], Wait::MayBlock).unwrap();
        forget();
        is_cold
    };
    if !forget() {
        // A file system that has nothing but memory.
        return;
    }
    let part = &opened.log.parts()[1..2];
    // What the system is about to read cannot go, and what it needs memory for cannot stay: each has some tries.
    let goes = || {
        forget();
        assert_eq!(look(part), ["Sound"]);
        !is_in_memory(&file, 0)
    };
    assert!((0..TRIES).any(|_| goes()));
    // What somebody is about to send stays.
    let is_read = || opened.log.is_read(16);
    assert!(!is_read());
    let sent = opened.reader.read_blocking(16, None, 1 << 20, 48, true).unwrap();
    assert!(is_read());
    let stays = || {
        forget();
        assert_eq!(look_beside(part, &is_read), ["Sound"]);
        is_in_memory(&file, 0)
    };
    let stayed = (0..TRIES).filter(|_| stays()).count();
    assert!(stayed > TRIES as usize / 2, "{stayed} times of {TRIES}");
    // He keeps the file though it is closed for others meanwhile, and another opens it again.
    let segment = opened.log.state.lock().segments[1].clone();
    while !segment.try_close() {}
    assert!(is_read());
    opened.reader.read_blocking(16, None, 1 << 20, 48, true).unwrap();
    assert!(is_read());
    drop(sent);
    assert!(!is_read());
    // What somebody else has read stays.
    let stays = || {
        read_some(&file, 0, &mut [0; 4096], Wait::MayBlock).unwrap();
        assert_eq!(look(part), ["Sound"]);
        is_in_memory(&file, 0)
    };
    assert!((0..TRIES).any(|_| stays()));
}

/// How often what the system's page cache does is looked at.
const TRIES: u32 = 50;
