//! Negative controls: a broker that breaks one promise must be found out by the rule that holds it.

use std::thread;
use std::time::Duration;

use crate::proxy::{self, Fault};
use crate::rig::{self, CONFIG, Who};
use crate::rules::Violation;
use crate::support::Broker;

const TIME: Duration = Duration::from_millis(700);

fn violations_with(fault: Fault) -> Vec<Violation> {
    let broker = Broker::with(CONFIG);
    rig::make_topics(broker.address());
    let proxy = proxy::start(broker.address(), fault);
    let history = rig::run(&proxy, 1, Who::Raw, || thread::sleep(TIME));
    assert!(history.transactions.lock().len() > 50, "nothing was tried");
    rig::violations(&proxy, &history)
}

/// The control's own control: the same proxy is no fault of its own.
#[test]
fn behind_a_proxy_that_does_nothing_all_is_well() {
    assert_eq!(violations_with(Fault::None), []);
}

#[test]
fn commits_that_come_to_nothing_are_found() {
    let found = violations_with(Fault::CommitsNothing);
    assert!(found.iter().any(|found| matches!(found, Violation::Lost { .. })), "{found:?}");
}

#[test]
fn aborted_records_that_are_seen_are_found() {
    let found = violations_with(Fault::CommitsAborted);
    assert!(found.iter().any(|found| matches!(found, Violation::AbortedRead { .. })), "{found:?}");
}

#[test]
fn records_that_are_seen_too_early_are_found() {
    let found = violations_with(Fault::ReadsUncommitted);
    assert!(found.iter().any(|found| matches!(found, Violation::EarlyRead { .. })), "{found:?}");
}

#[test]
fn offsets_that_are_lost_are_found() {
    let found = violations_with(Fault::LosesOffsets);
    let twice = |found: &Violation| matches!(found, Violation::Processed { times: 2.., .. });
    assert!(found.iter().any(twice), "{found:?}");
}

#[test]
fn offsets_that_are_seen_too_early_are_found() {
    let found = violations_with(Fault::EarlyOffsets);
    assert!(found.iter().any(|found| matches!(found, Violation::EarlyOffset { .. })), "{found:?}");
}
