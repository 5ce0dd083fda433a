//! `server.properties`: Java's property format, with the line of every property.

use std::sync::Arc;

use super::raw::{Layer, Origin, Problem, Said, Written};

/// Reads the text of a property file: `name=value`, `name: value` or `name value`, comments with `#` or `!`, lines
/// continued by a backslash, Java's escapes. A name that comes twice has its last value, as in Java.
pub(super) fn read(file: &str, text: &str) -> Result<Said, Vec<Problem>> {
    let file: Arc<str> = file.into();
    let mut said = Said::default();
    let mut problems = Vec::new();
    for (line, column, logical) in logical_lines(text) {
        let origin = Origin::File { file: Arc::clone(&file), line, column };
        let (name, value) = split(&logical);
        match (unescape(name), unescape(value)) {
            (Some(name), Some(text)) => {
                said.settings.retain(|earlier| earlier.name != name);
                said.settings.push(Written { name, text, origin, layer: Layer::File });
            }
            _ => problems.push(Problem::new(&origin, "\\u must be followed by four hexadecimal digits")),
        }
    }
    if problems.is_empty() { Ok(said) } else { Err(problems) }
}

/// The lines that hold a property, continuations joined: line and column where it begins, and its text.
fn logical_lines(text: &str) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with(['#', '!']) {
            continue;
        }
        let column = line.chars().count() - content.chars().count() + 1;
        let mut logical = content.to_owned();
        while continues(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        found.push((index + 1, column, logical));
    }
    found
}

/// Whether an odd number of backslashes ends the line.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Name and value: parted by the first `=`, `:` or blank that no backslash precedes.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t');
            escaped = c == '\\' && !escaped;
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (name, value.trim_start())
}

/// Resolves Java's escapes; `None` for a broken `\u`.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\x0c'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4)?;
                plain.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Vec<(String, String)> {
        read("f", text).unwrap().settings.into_iter().map(|written| (written.name, written.text)).collect()
    }

    #[test]
    fn javas_forms_are_understood() {
        let text =
            "# comment\n! comment\n\na=1\n b : 2\nc 3\nd\\=e=f\\u0041\ng=one,\\\n   two\nh=\nlast=C:\\\\x\n";
        let expected = [
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("d=e", "fA"),
            ("g", "one,two"),
            ("h", ""),
            ("last", "C:\\x"),
        ];
        let expected: Vec<_> = expected.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        assert_eq!(read_all(text), expected);
    }

    #[test]
    fn the_last_of_two_counts_and_lines_are_known() {
        let said = read("server.properties", "\na=1\n  a=2\n").unwrap();
        assert_eq!(said.settings.len(), 1);
        assert_eq!(said.settings[0].text, "2");
        assert_eq!(said.settings[0].origin.to_string(), "server.properties:3:3");
    }

    #[test]
    fn a_broken_escape_is_a_problem() {
        let problems = read("f", "a=\\u12").unwrap_err();
        assert_eq!(problems[0].to_string(), "f:1:1: \\u must be followed by four hexadecimal digits");
    }
}
