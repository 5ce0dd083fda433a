//! Generated pages follow their tables: the table of APIs in docs/compatibility.md.
//!
//! `UPDATE_DOCS=1 cargo test --test tidy` writes them anew.

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
