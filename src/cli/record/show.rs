//! Printing records: by a template, or as a line of JSON.

use std::io::Write as _;

use super::json;
use super::template::{self, Piece, Token};
use crate::record::RecordView;

/// How records are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Format(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Template(Vec<Piece>),
    Json,
}

impl Default for Format {
    /// The value and a newline.
    fn default() -> Self {
        Self(Kind::Template(vec![Piece::Token(Token::Value), Piece::Text(b"\n".to_vec())]))
    }
}

impl Format {
    /// Reads what `-f` says.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(if text == "json" { Kind::Json } else { Kind::Template(template::parse(text)?) }))
    }

    /// Appends a record to `out`.
    pub(in crate::cli) fn write(
        &self,
        topic: &str,
        partition: i32,
        record: &RecordView<'_>,
        out: &mut Vec<u8>,
    ) {
        match &self.0 {
            Kind::Json => json::write(topic, partition, record, out),
            Kind::Template(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text),
                        Piece::Token(token) => write_token(*token, topic, partition, record, out),
                    }
                }
            }
        }
    }
}

fn write_token(token: Token, topic: &str, partition: i32, record: &RecordView<'_>, out: &mut Vec<u8>) {
    match token {
        Token::Topic => out.extend_from_slice(topic.as_bytes()),
        Token::Partition => number(i64::from(partition), out),
        Token::Offset => number(record.offset, out),
        Token::Timestamp => number(record.timestamp, out),
        Token::Key => out.extend_from_slice(record.key.unwrap_or_default()),
        Token::KeyLength => number(length(record.key), out),
        Token::Value => out.extend_from_slice(record.value.unwrap_or_default()),
        Token::ValueLength => number(length(record.value), out),
        Token::Headers => {
            for (index, header) in record.headers.enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(header.key);
                if let Some(value) = header.value {
                    out.push(b'=');
                    out.extend_from_slice(value);
                }
            }
        }
    }
}

/// A length as kcat has it: -1 for what is not there.
fn length(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| crate::types::offset::saturate_i64(bytes.len()))
}

fn number(number: i64, out: &mut Vec<u8>) {
    // A vector takes everything.
    let _never_fails = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchView, HeaderView, NewRecord};

    /// The record printed with each of these formats.
    fn shown(record: &NewRecord<'_>, formats: &[&str]) -> Vec<String> {
        let mut builder = BatchBuilder::new().base_offset(41);
        builder.push(&NewRecord::default());
        builder.push(record);
        let bytes = builder.build().unwrap();
        let records = BatchView::parse(&bytes).unwrap().records(usize::MAX).unwrap();
        let record = records.iter().nth(1).unwrap().unwrap();
        let show = |format: &&str| {
            let mut out = Vec::new();
            Format::parse(format).unwrap().write("orders", 3, &record, &mut out);
            String::from_utf8(out).unwrap()
        };
        formats.iter().map(show).collect()
    }

    #[test]
    fn every_token_has_its_part() {
        let headers = [HeaderView { key: b"a", value: Some(b"1") }, HeaderView { key: b"b", value: None }];
        let record =
            NewRecord { timestamp: 1_700, key: Some(b"k"), value: Some(b"value"), headers: &headers };
        let texts = shown(&record, &["%t-%p@%o %T\\n", "%k(%K)=%v(%V)", "%s %S", "[%h]", "100%%"]);
        assert_eq!(texts, ["orders-3@42 1700\n", "k(1)=value(5)", "value 5", "[a=1,b]", "100%"]);
    }

    #[test]
    fn what_is_not_there_is_empty_with_length_minus_one() {
        assert_eq!(shown(&NewRecord::default(), &["%k,%K,%v,%V,%h"]), [",-1,,-1,"]);
        assert_eq!(shown(&NewRecord { value: Some(b""), ..NewRecord::default() }, &["%V"]), ["0"]);
    }

    #[test]
    fn without_a_format_it_is_the_value_and_a_newline() {
        assert_eq!(Format::default(), Format::parse("%v\\n").unwrap());
    }
}
