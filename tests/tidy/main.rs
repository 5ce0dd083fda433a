//! House rules that a machine can hold: layers, sizes, module docs, where `unsafe`, clocks, randomness and the protocol
//! crate may stand, and that generated pages follow their tables. A rule with an exception has it in a list here, which
//! may only shrink.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod commands;
mod docs;
mod effects;
mod layers;
mod numbered;
mod sizes;
mod source;
mod words;

use source::Source;

#[test]
fn every_file_says_what_it_is_for() {
    check(&Source::all(), |file| {
        let first = file.text.lines().next().unwrap_or_default();
        (!first.starts_with("//!")).then(|| "does not begin with //!".to_owned()).into_iter().collect()
    });
}

#[test]
fn files_and_functions_stay_small() {
    check(&Source::production(), sizes::faults);
}

#[test]
fn imports_never_climb() {
    check(&Source::production(), layers::faults);
}

#[test]
fn what_is_reserved_to_a_module_stays_there() {
    check(&Source::production(), words::faults);
}

#[test]
fn each_numbered_rule_of_the_protocol_has_a_test_named_after_it() {
    let missing = numbered::missing(&Source::all());
    assert!(missing.is_empty(), "no test is named after {}", missing.join(", "));
}

#[test]
fn folders_are_named_by_nouns_of_the_field() {
    const BANNED: [&str; 7] = ["utils", "util", "common", "misc", "helpers", "impls", "manager"];
    check(&Source::all(), |file| {
        let parts = file.path.trim_end_matches(".rs").split('/');
        parts.filter(|part| BANNED.contains(part)).map(|part| format!("{part} is no name")).collect()
    });
}

/// Applies a rule to every file and shows all that break it.
fn check(files: &[Source], faults: impl Fn(&Source) -> Vec<String>) {
    assert!(files.len() > 20, "the sources were not found");
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| faults(file).into_iter().map(|fault| format!("{}: {fault}", file.path)))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
