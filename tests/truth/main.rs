//! Truth: scripts of raw requests whose answers by Apache Kafka 4.3.1 lie recorded in the tree, played against the
//! built broker. `README.md` says how to record, how answers are normalised and how differences are listed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test harness stops at what is wrong"
)]
#![allow(clippy::print_stderr, reason = "a test harness reports to people")]
#![allow(clippy::cast_possible_truncation, reason = "numbers here are made by the scripts")]

mod batch;
mod clock;
mod codec;
mod differences;
mod kafka;
mod normal;
mod profile;
mod recording;
mod records;
mod run;
mod schema;
mod scripts;
mod session;
#[allow(clippy::disallowed_methods, reason = "waits for processes by the clock on the wall")]
#[path = "../support/mod.rs"]
mod support;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs as _};

use crate::differences::{Differences, place_of};
use crate::profile::Profile;
use crate::run::{Outcome, Script};

/// The scripts whose name holds `TRUTH_ONLY`, or all.
fn chosen(profile: Profile) -> Vec<&'static Script> {
    let only = std::env::var("TRUTH_ONLY").unwrap_or_default();
    scripts::all().filter(|s| s.profile == profile && s.name.contains(&only)).collect()
}

/// Asks Apache Kafka and writes the recordings.
#[test]
#[ignore = "starts Apache Kafka, which needs Java and Maven: see README.md"]
fn record() {
    let mut failures = Vec::new();
    for profile in Profile::ALL {
        let scripts = chosen(profile);
        if scripts.is_empty() {
            continue;
        }
        let kafka = kafka::Kafka::start(profile);
        for (name, outcome) in run::run_to_record(kafka.address, &scripts) {
            match outcome.failure {
                None => recording::save(name, &outcome.exchanges),
                Some(failure) => failures.push(format!("{name}: {failure}")),
            }
        }
    }
    assert!(failures.is_empty(), "not run to their end:\n{}", failures.join("\n"));
}

/// Plays the scripts against the built binary and compares with the recordings.
#[test]
fn streamd_answers_as_kafka_does() {
    let mut report = Report::default();
    for profile in Profile::ALL {
        let scripts = chosen(profile);
        if scripts.is_empty() {
            continue;
        }
        let broker = support::Broker::with(&profile.toml());
        report.add(&run::run(broker.address().parse().unwrap(), &scripts));
    }
    report.finish(std::env::var_os("TRUTH_ONLY").is_none());
}

/// Plays the scripts against the broker at `TRUTH_BROKER` and compares with the recordings.
#[test]
#[ignore = "needs a running broker at TRUTH_BROKER=host:port"]
fn replay_elsewhere() {
    let broker = std::env::var("TRUTH_BROKER").expect("TRUTH_BROKER=host:port");
    let address: SocketAddr = broker.to_socket_addrs().unwrap().next().unwrap();
    let outcomes = run::run(address, &chosen(Profile::Plain));
    let mut report = Report::default();
    report.add(&outcomes);
    report.finish(false);
}

#[test]
fn every_script_has_a_recording_and_every_recording_a_script() {
    let scripts: BTreeSet<String> = scripts::all().map(|s| s.name.to_owned()).collect();
    assert_eq!(scripts::all().count(), scripts.len(), "two scripts share a name");
    assert_eq!(scripts, recording::recorded(), "record again: see tests/truth/README.md");
}

/// What a replay found.
struct Report {
    differences: Differences,
    exchanges: usize,
    differing: usize,
    lines: Vec<String>,
}

impl Default for Report {
    fn default() -> Self {
        Self { differences: Differences::load(), exchanges: 0, differing: 0, lines: Vec::new() }
    }
}

impl Report {
    fn add(&mut self, outcomes: &BTreeMap<&'static str, Outcome>) {
        for (script, outcome) in outcomes {
            let text = std::fs::read_to_string(recording::file(script)).unwrap_or_default();
            let recorded = recording::read(&text).unwrap_or_else(|e| panic!("recording of {script}: {e}"));
            for (i, expected) in recorded.iter().enumerate() {
                let place = place_of(script, expected);
                self.exchanges += 1;
                match outcome.exchanges.get(i) {
                    None => self.lines.push(format!("{place}\n  not reached")),
                    Some(found) if place != place_of(script, found) || expected.request != found.request => {
                        let (now, then) = (&found.request, &expected.request);
                        let found = place_of(script, found);
                        self.lines.push(format!(
                            "{place}\n  asked: {now}\n  recorded: {then}\n  at {found}: record again?"
                        ));
                    }
                    Some(found) => self.compare(&place, expected, found),
                }
            }
            if let Some(extra) = outcome.exchanges.get(recorded.len()) {
                self.lines.push(format!("{}\n  is not recorded: record again", place_of(script, extra)));
            }
            if let Some(failure) = &outcome.failure {
                self.lines.push(format!("{script}\n  ended early: {failure}"));
            }
        }
    }

    fn compare(&mut self, place: &str, expected: &session::Exchange, found: &session::Exchange) {
        let changes = recording::compare(&expected.answer, &found.answer);
        self.differing += usize::from(!changes.is_empty());
        let unlisted: Vec<String> = changes
            .iter()
            .filter(|change| !self.differences.allows(place, change))
            .map(|change| {
                format!("\n  {}\n    Kafka: {}\n    found: {}", change.path, change.recorded, change.found)
            })
            .collect();
        if !unlisted.is_empty() {
            self.lines.push(format!("{place}\n  > {}{}", expected.request, unlisted.concat()));
        }
    }

    fn finish(mut self, complete: bool) {
        if complete {
            let unmet = self.differences.unmet().into_iter();
            self.lines
                .extend(unmet.map(|pattern| format!("differences.toml\n  no longer differs: {pattern}")));
        }
        eprintln!("{} exchanges, {} differ", self.exchanges, self.differing);
        assert!(self.lines.is_empty(), "{} not as listed:\n\n{}", self.lines.len(), self.lines.join("\n\n"));
    }
}
