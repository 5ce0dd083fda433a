//! Clients rely on rules of the protocol that are easily got wrong. They are numbered (S1, S2, ...) and each has a test
//! whose name holds its number, so that a change that breaks one says which.

use std::collections::BTreeSet;

use crate::source::Source;

/// The rules that this broker keeps. The others belong to what it does not have yet; a number is added with its test.
const RULES: [std::ops::RangeInclusive<u32>; 8] =
    [1..=11, 14..=77, 83..=87, 89..=89, 95..=95, 97..=97, 99..=99, 100..=100];

/// The numbers of rules that no test is named after.
pub(crate) fn missing(files: &[Source]) -> Vec<String> {
    let named: BTreeSet<u32> = files.iter().flat_map(|file| file.text.lines()).flat_map(numbers).collect();
    RULES.into_iter().flatten().filter(|rule| !named.contains(rule)).map(|rule| format!("S{rule}")).collect()
}

/// The numbers in the name of the function that this line begins.
fn numbers(line: &str) -> impl Iterator<Item = u32> + use<'_> {
    let line = line.trim_start();
    let after = ["fn ", "async fn "].iter().find_map(|form| line.strip_prefix(form));
    let name = after.and_then(|rest| rest.split('(').next()).unwrap_or_default();
    name.split('_').map_while(|part| part.strip_prefix('s')?.parse().ok())
}

#[test]
fn a_name_begins_with_its_numbers() {
    let of = |line: &str| numbers(line).collect::<Vec<_>>();
    assert_eq!(of("    async fn s30_s89_a_topic_made_again_is_empty() {"), [30, 89]);
    assert_eq!(of("fn s7_order(s: &Session) {"), [7]);
    assert_eq!(of("fn send_s7() {"), [0; 0]);
    assert_eq!(of("// fn s7_order() {"), [0; 0]);
}
