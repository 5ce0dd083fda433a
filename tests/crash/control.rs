//! Negative controls: with acknowledged data that is not there after the crash, the rig must say so.

use std::fs::{self, File};
use std::time::Duration;

use crate::history::Violation;
use crate::proxy;
use crate::rig::Rig;

/// Kills of a broker that lies, until one shows it.
const ROUNDS_MAX: usize = 6;

/// A broker that acknowledges what is not on disk, and a crash that takes that away.
#[test]
fn a_broker_that_acknowledges_before_the_disk_has_it_is_caught() {
    let mut rig = Rig::with(1, "[durability]\nfsync = \"never\"\n");
    rig.live(Duration::from_secs(1), |broker| broker.kill());
    // The power cut of a broker that never syncs: the end of a log did not reach the disk.
    let dir = rig.broker.data().join("small-0");
    let mut logs: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        // A segment that was only just begun holds nothing that could be lost.
        .filter(|path| fs::metadata(path).unwrap().len() > 0)
        .collect();
    logs.sort();
    let last = logs.pop().expect("a log");
    let file = File::options().write(true).open(&last).unwrap();
    file.set_len(0).unwrap();
    rig.broker.up();
    let violations = rig.violations(true);
    let lost =
        violations.iter().any(|violation| matches!(violation, Violation::Lost { place: ("small", 0), .. }));
    assert!(lost, "{violations:?}");
}

/// A broker that acknowledges up to this many requests before it appends them, killed under load.
fn violations_with(held_max: usize) -> Vec<Violation> {
    let mut rig = Rig::new(1);
    let address = proxy::start(rig.broker.address(), held_max);
    rig.live_at(&address, Duration::from_secs(1), |broker| broker.kill());
    let acknowledged: usize = rig.known.values().map(|partition| partition.acknowledged.len()).sum();
    assert!(acknowledged > 100, "nothing was tried");
    rig.broker.up();
    rig.violations(true)
}

#[test]
fn a_broker_that_acknowledges_before_the_append_is_caught() {
    // A kill can come before a client has heard of what is held: then nothing is lost, and another is tried.
    let rounds = std::iter::repeat_with(|| violations_with(3)).take(ROUNDS_MAX);
    let violations = rounds.into_iter().find(|violations| !violations.is_empty()).unwrap_or_default();
    assert!(!violations.is_empty(), "records that were acknowledged are not there, and nobody noticed");
    let others: Vec<_> = violations.iter().filter(|found| !matches!(found, Violation::Lost { .. })).collect();
    assert!(others.is_empty(), "it loses records and does nothing else that is wrong: {others:?}");
}

/// The control's own control: the same proxy is no fault of its own.
#[test]
fn behind_a_proxy_that_acknowledges_after_the_broker_nothing_is_missed() {
    assert_eq!(violations_with(0), []);
}
