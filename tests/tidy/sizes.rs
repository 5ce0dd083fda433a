//! Sizes: a file of at most 600 production lines, a function of at most 70.

use crate::source::Source;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

pub(crate) fn faults(file: &Source) -> Vec<String> {
    let lines = file.production_lines();
    let mut faults = Vec::new();
    if lines.len() > FILE_LINES_MAX {
        faults.push(format!("{} production lines; at most {FILE_LINES_MAX}", lines.len()));
    }
    for (start, len) in functions(&lines) {
        if len > FUNCTION_LINES_MAX {
            faults
                .push(format!("line {}: a function of {len} lines; at most {FUNCTION_LINES_MAX}", start + 1));
        }
    }
    faults
}

/// Functions by their first line and length. rustfmt puts the closing brace at the indentation of the `fn` line.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.contains('(')).collect();
        let declares =
            line.split_whitespace().any(|word| word == "fn") && !line.trim_start().starts_with("//");
        if !declares || words.iter().any(|word| word.starts_with('"')) {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        let ends = |line: &str| {
            line == close || line.trim_end().ends_with(';') && line.len() - line.trim_start().len() == indent
        };
        if line.trim_end().ends_with(['}', ';']) {
            continue;
        }
        if let Some(len) = lines[start + 1..].iter().position(|line| ends(line)) {
            found.push((start, len + 2));
        }
    }
    found
}

#[test]
fn a_long_function_is_found() {
    let body = "    x();\n".repeat(80);
    let text = format!("fn short() {{\n    x();\n}}\n\nfn long() {{\n{body}}}\n");
    let file = Source { path: "src/x.rs".to_owned(), text };
    assert_eq!(faults(&file), ["line 5: a function of 82 lines; at most 70"]);
}
