//! Records as JSON, one a line. Bytes that are no UTF-8 stand in base64 under another name, so that nothing is lost:
//! what `consume -f json` prints, `produce -f json` takes back.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use super::read::{Header, Parsed};
use crate::config::nearest;
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

/// What a record may say of itself. Where it was says nothing about where it goes: that is taken and passed over, since
/// `consume` prints it.
const RECORD_FIELDS: &[&str] =
    &["key", "key_base64", "value", "value_base64", "headers", "timestamp", "topic", "partition", "offset"];
/// Characters of an unknown name that an error shows.
const NAME_SHOWN_MAX_CHARS: usize = 60;
const HEADER_FIELDS: &[&str] = &["key", "key_base64", "value", "value_base64"];

/// The fields of a JSON object, in order, each with its text.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// Refuses names that are not among these, and names that come twice: a value under a mistyped name would be lost.
    fn check(&self, known: &'static [&'static str], whose: &str) -> Result<(), String> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            if !known.contains(&&**name) {
                return Err(unknown(name, known, whose));
            }
            if self.0.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(format!("has the field \"{name}\"{whose} twice"));
            }
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| *value)
            .filter(|value| value.get() != "null")
    }

    /// The bytes under a name as text or JSON, or under its other name in base64.
    fn bytes(&self, name: &str, in_base64: &str) -> Result<Option<Vec<u8>>, String> {
        match (self.get(name), self.get(in_base64)) {
            (Some(_), Some(_)) => Err(format!("has both {name} and {in_base64}: write one of them")),
            (Some(json), None) => text(name, json).map(Some),
            (None, Some(json)) => from_base64(in_base64, json).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// The sentence about a name that means nothing.
fn unknown(name: &str, known: &[&'static str], whose: &str) -> String {
    let lower = name.to_lowercase();
    let near = nearest(&lower, known.iter().copied());
    let hint = match known.iter().find(|field| **field == lower).copied().or(near) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are {}", known.join(", ")),
    };
    let shown: String = name.chars().take(NAME_SHOWN_MAX_CHARS).collect();
    format!("has an unknown field \"{}\"{whose}; {hint}", shown.escape_debug())
}

/// A string is taken as its text, anything else as the JSON that it is.
fn text(name: &str, json: &RawValue) -> Result<Vec<u8>, String> {
    let json = json.get();
    if !json.starts_with('"') {
        return Ok(json.as_bytes().to_vec());
    }
    let text = serde_json::from_str::<String>(json);
    text.map(String::into_bytes).map_err(|_| format!("has a {name} whose string is not valid Unicode"))
}

fn from_base64(name: &str, json: &RawValue) -> Result<Vec<u8>, String> {
    let text = serde_json::from_str::<Cow<'_, str>>(json.get()).ok();
    let bytes = text.and_then(|text| STANDARD.decode(&*text).ok());
    bytes.ok_or_else(|| format!("has a {name} that is no base64"))
}

/// Reads a line. `Err` follows "record N of the input".
pub(super) fn read(line: &[u8]) -> Result<Parsed<'_>, String> {
    let fields: Fields<'_> = serde_json::from_slice(line).map_err(|error| no_record(&error))?;
    fields.check(RECORD_FIELDS, "")?;
    let timestamp = match fields.get("timestamp").map(|json| json.get().parse::<Timestamp>()) {
        None => None,
        Some(Ok(timestamp)) => Some(timestamp),
        Some(Err(_)) => {
            return Err("has a timestamp that is no whole number of milliseconds since 1970".to_owned());
        }
    };
    Ok(Parsed {
        key: fields.bytes("key", "key_base64")?.map(Into::into),
        value: fields.bytes("value", "value_base64")?.map(Into::into),
        headers: fields.get("headers").map_or(Ok(Vec::new()), headers)?,
        timestamp,
        partition: None,
    })
}

/// Why a line is no object, without the words of the parser's own types.
fn no_record(error: &serde_json::Error) -> String {
    let form = "a record is {\"key\": \"k\", \"value\": \"v\"} on one line";
    match error.classify() {
        serde_json::error::Category::Data => format!("is no JSON object; {form}"),
        serde_json::error::Category::Eof => {
            format!("is JSON that ends too early, at column {}; {form}", error.column())
        }
        _ => format!("is not valid JSON at column {}; {form}", error.column()),
    }
}

fn headers(json: &RawValue) -> Result<Vec<Header<'static>>, String> {
    let listed: Vec<Fields<'_>> = serde_json::from_str(json.get())
        .map_err(|_| "has headers that are no list like [{\"key\": \"k\", \"value\": \"v\"}]".to_owned())?;
    let mut headers = Vec::with_capacity(listed.len());
    for fields in listed {
        fields.check(HEADER_FIELDS, " in a header")?;
        headers.push(Header {
            key: fields.bytes("key", "key_base64")?.ok_or("has a header without a key")?.into(),
            value: fields.bytes("value", "value_base64")?.map(Into::into),
        });
    }
    Ok(headers)
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
            br#"{"key": 42, "value": {"b": 1.0, "a": [12345678901234567890123]}, "offset": 3, "topic": "t"}"#;
        let parsed = read(line).unwrap();
        assert_eq!(parsed.key.as_deref(), Some(&b"42"[..]));
        assert_eq!(parsed.value.as_deref(), Some(&br#"{"b": 1.0, "a": [12345678901234567890123]}"#[..]));
        assert_eq!(read(b"{}").unwrap().value, None);
    }

    #[test]
    fn what_is_no_record_is_refused_in_plain_words() {
        for (line, why) in [
            (&b"plain text"[..], "is not valid JSON at column 1; a record is"),
            (b"{\"value\": \"x", "ends too early"),
            (b"[1]", "is no JSON object; a record is"),
            (b"\xff", "is not valid JSON"),
            (b"{\"value_base64\":\"??\"}", "has a value_base64 that is no base64"),
            (b"{\"key_base64\":1}", "has a key_base64 that is no base64"),
            (b"{\"key\":1,\"key_base64\":\"YQ==\"}", "has both key and key_base64"),
            (b"{\"headers\":[{}]}", "has a header without a key"),
            (b"{\"headers\":{\"a\":\"b\"}}", "has headers that are no list like"),
            (b"{\"headers\":[{\"kye\":\"b\"}]}", "unknown field \"kye\" in a header; did you mean \"key\"?"),
            (b"{\"timestamp\":\"now\"}", "no whole number of milliseconds"),
            (b"{\"value\":1,\"value\":2}", "has the field \"value\" twice"),
            (b"{\"Value\":1}", "has an unknown field \"Value\"; did you mean \"value\"?"),
            (b"{\"vlaue\":1}", "has an unknown field \"vlaue\"; did you mean \"value\"?"),
            (b"{\"payload\":1}", "has an unknown field \"payload\"; there are key, key_base64, value,"),
        ] {
            let told = read(line).unwrap_err();
            assert!(told.contains(why), "{}: {told}", String::from_utf8_lossy(line));
            assert!(!told.contains("struct") && !told.contains("expected"), "{told}");
        }
    }
}
