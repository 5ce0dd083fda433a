//! Records as JSON, one a line. Bytes that are no UTF-8 stand in base64 under another name, so that nothing is lost:
//! what `consume -f json` prints, `produce -f json` takes back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use super::read::{Header, Parsed};
use crate::record::{HeaderView, RecordView};
use crate::types::Timestamp;
use crate::types::time::NO_TIMESTAMP;

/// Appends a record and a newline to `out`.
pub(super) fn write(topic: &str, partition: i32, record: &RecordView<'_>, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail, and none of the map's keys is refused.
    let _never_fails = serde_json::to_writer(&mut *out, &Shown { topic, partition, record });
    out.push(b'\n');
}

struct Shown<'a> {
    topic: &'a str,
    partition: i32,
    record: &'a RecordView<'a>,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.record;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("topic", self.topic)?;
        map.serialize_entry("partition", &self.partition)?;
        map.serialize_entry("offset", &record.offset)?;
        map.serialize_entry("timestamp", &Some(record.timestamp).filter(|at| *at != NO_TIMESTAMP))?;
        put_bytes(&mut map, ["key", "key_base64"], record.key)?;
        put_bytes(&mut map, ["value", "value_base64"], record.value)?;
        map.serialize_entry("headers", &record.headers.map(ShownHeader).collect::<Vec<_>>())?;
        map.end()
    }
}

struct ShownHeader<'a>(HeaderView<'a>);

impl Serialize for ShownHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        put_bytes(&mut map, ["key", "key_base64"], Some(self.0.key))?;
        put_bytes(&mut map, ["value", "value_base64"], self.0.value)?;
        map.end()
    }
}

/// An entry under the first name as text, or under the second in base64.
fn put_bytes<M: serde::ser::SerializeMap>(
    map: &mut M,
    names: [&'static str; 2],
    bytes: Option<&[u8]>,
) -> Result<(), M::Error> {
    match bytes.map(std::str::from_utf8) {
        None => map.serialize_entry(names[0], &None::<&str>),
        Some(Ok(text)) => map.serialize_entry(names[0], text),
        Some(Err(_)) => map.serialize_entry(names[1], &STANDARD.encode(bytes.unwrap_or_default())),
    }
}

/// A line as it is read. Where a record was (topic, partition, offset) says nothing about where it goes.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    key_base64: Option<String>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    value_base64: Option<String>,
    #[serde(borrow, default)]
    headers: Option<Vec<LineHeader<'a>>>,
    timestamp: Option<Timestamp>,
}

#[derive(Deserialize)]
struct LineHeader<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    key_base64: Option<String>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    value_base64: Option<String>,
}

/// Reads a line. A key or value that is a string is taken as its text, anything else as the JSON that it is.
pub(super) fn read(line: &[u8]) -> Result<Parsed<'_>, String> {
    let line: Line<'_> =
        serde_json::from_slice(line).map_err(|error| format!("no record in JSON: {error}"))?;
    let mut headers = Vec::new();
    for header in line.headers.unwrap_or_default() {
        let key = bytes(header.key, header.key_base64)?.ok_or("a header without a key")?;
        headers.push(Header {
            key: key.into(),
            value: bytes(header.value, header.value_base64)?.map(Into::into),
        });
    }
    Ok(Parsed {
        key: bytes(line.key, line.key_base64)?.map(Into::into),
        value: bytes(line.value, line.value_base64)?.map(Into::into),
        headers,
        timestamp: line.timestamp,
        partition: None,
    })
}

fn bytes(json: Option<&RawValue>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    if let Some(text) = base64 {
        return STANDARD.decode(text).map(Some).map_err(|error| format!("no base64: {error}"));
    }
    let Some(json) = json.map(RawValue::get) else { return Ok(None) };
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(json)
            .map(|text| Some(text.into_bytes()))
            .map_err(|error| format!("no string: {error}")),
        Some(b'n') => Ok(None),
        _ => Ok(Some(json.as_bytes().to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchView, NewRecord};

    fn line_of(record: &NewRecord<'_>) -> String {
        let mut builder = BatchBuilder::new().base_offset(7);
        builder.push(record);
        let bytes = builder.build().unwrap();
        let records = BatchView::parse(&bytes).unwrap().records(usize::MAX).unwrap();
        let mut out = Vec::new();
        write("t", 2, &records.iter().next().unwrap().unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_one_line() {
        let headers = [HeaderView { key: b"h", value: None }];
        let record = NewRecord { timestamp: 5, key: None, value: Some(b"a\n\"b\""), headers: &headers };
        assert_eq!(
            line_of(&record),
            "{\"topic\":\"t\",\"partition\":2,\"offset\":7,\"timestamp\":5,\"key\":null,\
             \"value\":\"a\\n\\\"b\\\"\",\"headers\":[{\"key\":\"h\",\"value\":null}]}\n"
        );
    }

    #[test]
    fn what_is_printed_is_taken_back_whole() {
        let headers = [
            HeaderView { key: b"h", value: Some(b"1") },
            HeaderView { key: b"h", value: None },
            HeaderView { key: b"\xff", value: Some(b"\xfe") },
        ];
        for (key, value) in [
            (None, Some(&b"text"[..])),
            (Some(&b"\xff\x00"[..]), None),
            (Some(b""), Some(b"\xc3\x28")),
            (Some("ключ".as_bytes()), Some(b"null")),
        ] {
            let line = line_of(&NewRecord { timestamp: 9, key, value, headers: &headers });
            let back = read(line.trim_end().as_bytes()).unwrap();
            assert_eq!((back.key.as_deref(), back.value.as_deref()), (key, value), "{line}");
            assert_eq!(back.timestamp, Some(9));
            let read_back: Vec<_> = back.headers.iter().map(Header::view).collect();
            assert_eq!(read_back, headers);
        }
    }

    #[test]
    fn values_may_be_any_json_and_keep_their_text() {
        let line =
            br#"{"key": 42, "value": {"b": 1.0, "a": [12345678901234567890123]}, "offset": 3, "other": 1}"#;
        let parsed = read(line).unwrap();
        assert_eq!(parsed.key.as_deref(), Some(&b"42"[..]));
        assert_eq!(parsed.value.as_deref(), Some(&br#"{"b": 1.0, "a": [12345678901234567890123]}"#[..]));
        assert_eq!(read(b"{}").unwrap().value, None);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for line in [&b"plain text"[..], b"[1]", b"{\"value_base64\":\"??\"}", b"{\"headers\":[{}]}", b"\xff"]
        {
            assert!(read(line).is_err(), "{}", String::from_utf8_lossy(line));
        }
    }
}
