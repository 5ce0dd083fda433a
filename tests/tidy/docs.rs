//! Generated pages follow their tables: the table of APIs in docs/compatibility.md. And each promise of
//! docs/durability.md names tests that are there.
//!
//! `UPDATE_DOCS=1 cargo test --test tidy` writes what is generated anew.

use std::fmt::Write as _;
use std::fs;

use streamd::api::table::TABLE;

use crate::source::root;

const BEGIN: &str = "<!-- api table: begin -->\n";
const END: &str = "<!-- api table: end -->";

#[test]
fn the_compatibility_page_shows_the_api_table() {
    let path = root().join("docs/compatibility.md");
    let page = fs::read_to_string(&path).expect("docs/compatibility.md is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page has the table's begin mark");
    let (table, after) = rest.split_once(END).expect("the page has the table's end mark");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", api_table()))
            .expect("the page can be written");
        return;
    }
    assert_eq!(table, api_table(), "run UPDATE_DOCS=1 cargo test --test tidy");
}

fn api_table() -> String {
    let mut rows: Vec<_> = TABLE.iter().collect();
    rows.sort_by_key(|row| row.spec.key);
    let mut table = String::from("| key | API | versions | remarks |\n|---|---|---|---|\n");
    for row in rows {
        let spec = row.spec;
        let versions = match row.offered_min == spec.min {
            true => format!("{} to {}", spec.min, spec.max),
            false => format!("{} to {} (offered from {})", spec.min, spec.max, row.offered_min),
        };
        writeln!(table, "| {} | {} | {versions} | {} |", spec.key, spec.name, row.remarks)
            .expect("strings take all");
    }
    table
}

#[test]
fn each_promise_about_records_names_tests_that_are_there() {
    let page = fs::read_to_string(root().join("docs/durability.md")).expect("docs/durability.md is there");
    let promises: Vec<&str> = page.lines().filter(|line| line.starts_with("- ")).collect();
    assert!(promises.len() > 20, "the promises were not found");
    let mut faults = Vec::new();
    for promise in promises {
        let Some((what, kept_by)) = promise.split_once(" Kept by ") else {
            faults.push(format!("kept by no test: {promise}"));
            continue;
        };
        if what.contains(".rs::") {
            faults.push(format!("tests stand behind \"Kept by\": {promise}"));
        }
        let tests: Vec<&str> = kept_by.split('`').filter(|part| part.contains(".rs")).collect();
        if tests.is_empty() {
            faults.push(format!("kept by no test: {promise}"));
        }
        faults.extend(tests.into_iter().filter_map(missing));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Why `path::function` is no test, if it is none.
fn missing(test: &str) -> Option<String> {
    let Some((path, function)) = test.split_once("::") else {
        return Some(format!("{test}: name a function"));
    };
    let Ok(source) = fs::read_to_string(root().join(path)) else {
        return Some(format!("{path} is not there"));
    };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let starts = [format!("fn {function}("), format!("async fn {function}(")];
    let Some(at) = lines.iter().position(|line| starts.iter().any(|start| line.starts_with(start.as_str())))
    else {
        return Some(format!("{path} has no {function}"));
    };
    // Its attributes stand before it.
    let is_test = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#["))
        .any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"));
    (!is_test).then(|| format!("{test} is no test"))
}
