//! Answers as people and programs want them: a table, a wider one, or JSON.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::Value;

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Shape {
    /// Columns.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// One JSON document.
    Json,
}

/// Columns with a heading.
#[derive(Debug)]
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(super) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a cell for each heading.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.headings.len(), "{cells:?}");
        self.rows.push(cells);
    }

    /// Whether there are no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text: columns as wide as their widest cell, two spaces between them.
    pub(super) fn text(&self) -> String {
        let headings: Vec<String> = self.headings.iter().map(ToString::to_string).collect();
        let lines = || std::iter::once(&headings).chain(&self.rows);
        let width = |column: usize| {
            lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        let mut text = String::new();
        for line in lines() {
            let mut row = String::new();
            for (cell, width) in line.iter().zip(&widths) {
                let _ = write!(row, "{cell:width$}  ");
            }
            let _ = writeln!(text, "{}", row.trim_end());
        }
        text
    }
}

/// A JSON document as it is printed.
pub(super) fn json(value: &Value) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
    text.push('\n');
    Ok(text)
}

/// A list of numbers with commas.
pub(super) fn numbers(numbers: &[i32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What there is, or a dash.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let mut table = Table::new(&["NAME", "PARTITIONS", "NOTE"]);
        table.row(vec!["orders".to_owned(), "6".to_owned(), String::new()]);
        table.row(vec!["ä".to_owned(), "12".to_owned(), "x".to_owned()]);
        assert_eq!(table.text(), "NAME    PARTITIONS  NOTE\norders  6\nä       12          x\n");
        assert_eq!(Table::new(&["NAME"]).text(), "NAME\n");
    }
}
