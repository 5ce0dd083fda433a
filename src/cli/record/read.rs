//! Reading records: a template taken backwards, or lines of JSON.

use std::borrow::Cow;

use super::delimited::find;
use super::json;
use super::template::{self, Piece, Token};
use crate::record::HeaderView;
use crate::types::Timestamp;

/// How records stand in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Layout {
    kind: Kind,
    /// What stands between records.
    delimiter: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Text that stands first, and parts with what stands behind each; the last one has nothing behind it.
    Template {
        before: Vec<u8>,
        parts: Vec<(Token, Vec<u8>)>,
    },
    Json,
}

/// A record as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct Parsed<'a> {
    /// Its key.
    pub(in crate::cli) key: Option<Cow<'a, [u8]>>,
    /// Its value.
    pub(in crate::cli) value: Option<Cow<'a, [u8]>>,
    /// Its headers, in order.
    pub(in crate::cli) headers: Vec<Header<'a>>,
    /// When it was made, if the input says so.
    pub(in crate::cli) timestamp: Option<Timestamp>,
    /// Where it goes, if the input says so.
    pub(in crate::cli) partition: Option<i32>,
}

/// A header as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Header<'a> {
    /// Its key.
    pub(in crate::cli) key: Cow<'a, [u8]>,
    /// Its value.
    pub(in crate::cli) value: Option<Cow<'a, [u8]>>,
}

impl Header<'_> {
    /// The header as batches take it.
    pub(in crate::cli) fn view(&self) -> HeaderView<'_> {
        HeaderView { key: &self.key, value: self.value.as_deref() }
    }
}

impl<'a> Header<'a> {
    /// `key=value`, or `key` alone for a header without a value.
    pub(in crate::cli) fn parse(text: &'a [u8]) -> Self {
        match find(text, b"=") {
            Some(at) => {
                let (key, value) = text.split_at(at);
                Self { key: key.into(), value: Some(value.get(1..).unwrap_or_default().into()) }
            }
            None => Self { key: text.into(), value: None },
        }
    }
}

impl Layout {
    /// Lines that are values.
    pub(in crate::cli) fn lines() -> Self {
        let parts = vec![(Token::Value, Vec::new())];
        Self { kind: Kind::Template { before: Vec::new(), parts }, delimiter: b"\n".to_vec() }
    }

    /// Lines of key, delimiter and value.
    pub(in crate::cli) fn keyed_lines(delimiter: &str) -> Result<Self, String> {
        let parts = vec![(Token::Key, template::unescape(delimiter)?), (Token::Value, Vec::new())];
        Ok(Self { kind: Kind::Template { before: Vec::new(), parts }, delimiter: b"\n".to_vec() })
    }

    /// Reads what `-f` says: `json`, or a template whose last text stands between records.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        if text == "json" {
            return Ok(Self { kind: Kind::Json, delimiter: b"\n".to_vec() });
        }
        let mut before = Vec::new();
        let mut parts: Vec<(Token, Vec<u8>)> = Vec::new();
        for piece in template::parse(text)? {
            match (piece, parts.last_mut()) {
                (Piece::Text(text), None) => before = text,
                (Piece::Text(text), Some((_, behind))) => *behind = text,
                (Piece::Token(_), Some((_, behind))) if behind.is_empty() => {
                    return Err(
                        "two parts without a text between them: where would the first one end?".to_owned()
                    );
                }
                (Piece::Token(token), _) => parts.push((takes(token)?, Vec::new())),
            }
        }
        let delimiter = match parts.last_mut() {
            Some((_, behind)) if !behind.is_empty() => std::mem::take(behind),
            Some(_) => b"\n".to_vec(),
            None => return Err("no part of a record: say at least %v".to_owned()),
        };
        Ok(Self { kind: Kind::Template { before, parts }, delimiter })
    }

    /// What stands between records.
    pub(in crate::cli) fn delimiter(&self) -> &[u8] {
        &self.delimiter
    }

    /// Whether every record in the input has a key. In JSON each may have one or not.
    pub(in crate::cli) fn has_keys(&self) -> bool {
        match &self.kind {
            Kind::Json => false,
            Kind::Template { parts, .. } => parts.iter().any(|(token, _)| *token == Token::Key),
        }
    }

    /// Reads a record, without its delimiter. `None` for a line of JSON with nothing on it.
    pub(in crate::cli) fn read<'a>(&self, bytes: &'a [u8]) -> Result<Option<Parsed<'a>>, String> {
        match &self.kind {
            Kind::Json if bytes.trim_ascii().is_empty() => Ok(None),
            Kind::Json => json::read(bytes).map(Some),
            Kind::Template { before, parts } => read_parts(before, parts, bytes).map(Some),
        }
    }
}

/// The parts that make sense in the input.
fn takes(token: Token) -> Result<Token, String> {
    match token {
        Token::Key | Token::Value | Token::Headers | Token::Timestamp | Token::Partition => Ok(token),
        Token::Topic | Token::Offset | Token::KeyLength | Token::ValueLength => {
            Err("a producer reads %k key, %v value, %h headers, %T timestamp and %p partition".to_owned())
        }
    }
}

fn read_parts<'a>(before: &[u8], parts: &[(Token, Vec<u8>)], bytes: &'a [u8]) -> Result<Parsed<'a>, String> {
    let quoted = |text: &[u8]| format!("\"{}\"", text.escape_ascii());
    let mut rest =
        bytes.strip_prefix(before).ok_or_else(|| format!("does not begin with {}", quoted(before)))?;
    let mut parsed = Parsed::default();
    for (token, behind) in parts {
        let (part, after) = if behind.is_empty() {
            (rest, &[][..])
        } else {
            let at = find(rest, behind)
                .ok_or_else(|| format!("has no {} behind its {}", quoted(behind), name(*token)))?;
            let (part, after) = rest.split_at(at);
            (part, after.get(behind.len()..).unwrap_or_default())
        };
        rest = after;
        match token {
            Token::Key => parsed.key = Some(part.into()),
            Token::Headers => {
                let rows = part.split(|byte| *byte == b',').filter(|row| !row.is_empty());
                parsed.headers = rows.map(Header::parse).collect();
            }
            Token::Timestamp => parsed.timestamp = Some(number(part)?),
            Token::Partition => parsed.partition = Some(number(part)?),
            _ => parsed.value = Some(part.into()),
        }
    }
    Ok(parsed)
}

fn number<T: std::str::FromStr>(part: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(part).ok().and_then(|text| text.trim().parse().ok());
    text.ok_or_else(|| format!("has \"{}\" where a number belongs", part.escape_ascii()))
}

const fn name(token: Token) -> &'static str {
    match token {
        Token::Key => "key",
        Token::Headers => "headers",
        Token::Timestamp => "timestamp",
        Token::Partition => "partition",
        _ => "value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(layout: &Layout, record: &'a str) -> Result<Parsed<'a>, String> {
        layout.read(record.as_bytes()).map(Option::unwrap)
    }

    fn key_and_value(parsed: &Parsed<'_>) -> (Option<String>, Option<String>) {
        let text = |bytes: &Option<Cow<'_, [u8]>>| {
            bytes.as_ref().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        };
        (text(&parsed.key), text(&parsed.value))
    }

    fn pair(key: &str, value: &str) -> (Option<String>, Option<String>) {
        (Some(key.to_owned()), Some(value.to_owned()))
    }

    #[test]
    fn keys_end_at_the_first_delimiter() {
        let layout = Layout::keyed_lines(":").unwrap();
        assert_eq!(key_and_value(&read(&layout, "k:v:w").unwrap()), pair("k", "v:w"));
        assert_eq!(key_and_value(&read(&layout, ":").unwrap()), pair("", ""));
        assert_eq!(read(&layout, "no delimiter").unwrap_err(), "has no \":\" behind its key");
        assert!(layout.has_keys() && !Layout::lines().has_keys());
    }

    #[test]
    fn a_template_is_taken_backwards() {
        let layout = Layout::parse("<%p> %k=%v [%h] @%T;\\n").unwrap();
        assert_eq!(layout.delimiter(), b";\n");
        let parsed = read(&layout, "<3> k=v=w [a=1,b,c=] @1700").unwrap();
        assert_eq!(key_and_value(&parsed), pair("k", "v=w"));
        assert_eq!((parsed.partition, parsed.timestamp), (Some(3), Some(1_700)));
        let headers: Vec<_> = parsed.headers.iter().map(Header::view).collect();
        let header = |key, value| HeaderView { key, value };
        assert_eq!(headers, [header(b"a", Some(&b"1"[..])), header(b"b", None), header(b"c", Some(b""))]);
        assert_eq!(read(&layout, "3 k").unwrap_err(), "does not begin with \"<\"");
        assert_eq!(read(&layout, "<x> k=v [] @1").unwrap_err(), "has \"x\" where a number belongs");
    }

    #[test]
    fn without_a_last_text_records_are_lines() {
        assert_eq!(Layout::parse("%v").unwrap(), Layout::lines());
        assert_eq!(Layout::parse("%k\\t%v\\n").unwrap(), Layout::keyed_lines("\\t").unwrap());
    }

    #[test]
    fn templates_that_cannot_be_taken_backwards_are_refused() {
        for (text, words) in [
            ("%k%v", "where would the first one end"),
            ("%o %v", "a producer reads"),
            ("text", "at least %v"),
            ("%q", "stands for nothing"),
        ] {
            assert!(Layout::parse(text).unwrap_err().contains(words), "{text}");
        }
    }

    #[test]
    fn blank_lines_between_json_are_nothing() {
        let layout = Layout::parse("json").unwrap();
        assert_eq!(layout.read(b"  \r"), Ok(None));
        assert_eq!(layout.read(b"{\"value\":\"v\"}").unwrap().unwrap().value.as_deref(), Some(&b"v"[..]));
    }
}
