//! The table of docs/performance.md.

use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../docs/performance.md");
/// Where the table begins and ends in the page.
const BOUNDS: [&str; 2] = ["<!-- counted -->", "<!-- until here -->"];

/// Counts by the name of the request.
pub(crate) type Rows = BTreeMap<String, Vec<usize>>;

/// What the page says in these columns.
pub(crate) fn columns(heads: &[&str]) -> Rows {
    let (_, table) = PAGE.split_once(BOUNDS[0]).unwrap();
    let (table, _) = table.split_once(BOUNDS[1]).unwrap();
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let rows: Vec<Vec<&str>> = table.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    let at = |head: &&str| rows[0].iter().position(|found| found == head).unwrap();
    let at: Vec<usize> = heads.iter().map(at).collect();
    // The second line is the one that rules the heads off.
    let row = |row: &Vec<&str>| (row[0].to_owned(), at.iter().map(|at| row[*at].parse().unwrap()).collect());
    rows[2..].iter().map(row).collect()
}

/// The one in the middle.
pub(crate) fn median(counts: impl Iterator<Item = usize>) -> usize {
    let mut counts: Vec<usize> = counts.collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}
