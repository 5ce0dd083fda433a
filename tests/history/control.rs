//! Negative controls: a broker that breaks one promise must be found out by the rule that holds it.

use std::time::Duration;

use crate::proxy::{self, Fault};
use crate::rig::{self, CONFIG, Who};
use crate::rules::Violation;
use crate::support::Broker;

/// How long the load runs at least.
const TIME: Duration = Duration::from_millis(700);
/// What only shows at the right moment is looked for this often.
const ROUNDS: usize = 20;

fn violations_with(fault: Fault) -> Vec<Violation> {
    let broker = Broker::with(CONFIG);
    rig::make_topics(broker.address());
    let proxy = proxy::start(broker.address(), fault);
    let history = rig::run(&proxy, 1, Who::Raw, |history| rig::rest(history, TIME));
    rig::violations(&proxy, &history)
}

/// Fails if a broker with this fault shows no violation that is wanted.
fn finds(fault: Fault, is_wanted: impl Fn(&Violation) -> bool) {
    let mut last = Vec::new();
    for _ in 0..ROUNDS {
        last = violations_with(fault);
        if last.iter().any(&is_wanted) {
            return;
        }
    }
    panic!("not found in {ROUNDS} rounds: {fault:?}; the last one showed {last:?}");
}

/// The control's own control: the same proxy is no fault of its own.
#[test]
fn behind_a_proxy_that_does_nothing_all_is_well() {
    assert_eq!(violations_with(Fault::None), []);
}

#[test]
fn commits_that_come_to_nothing_are_found() {
    finds(Fault::CommitsNothing, |found| matches!(found, Violation::Lost { .. }));
}

#[test]
fn aborted_records_that_are_seen_are_found() {
    finds(Fault::CommitsAborted, |found| matches!(found, Violation::AbortedRead { .. }));
}

#[test]
fn records_that_are_seen_too_early_are_found() {
    finds(Fault::ReadsUncommitted, |found| matches!(found, Violation::EarlyRead { .. }));
}

#[test]
fn offsets_that_are_lost_are_found() {
    finds(Fault::LosesOffsets, |found| matches!(found, Violation::Processed { times: 2.., .. }));
}

#[test]
fn offsets_that_are_seen_too_early_are_found() {
    finds(Fault::EarlyOffsets, |found| matches!(found, Violation::EarlyOffset { .. }));
}
