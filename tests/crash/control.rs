//! Negative controls: with acknowledged data that is not there after the crash, the rig must say so.

use std::fs::{self, File};
use std::time::Duration;

use crate::history::Violation;
use crate::rig::Rig;

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
