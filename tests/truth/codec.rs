//! Encodes requests and decodes answers by their schema. Shares no code with the broker or with the crate it uses,
//! so that the two do not err together.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::records;
use crate::schema::{Field, Kind};
use crate::tree::{Tree, unhex};

/// Encodes `value`, an object whose absent fields take their defaults. Fields that the version lacks are left out, so
/// that one value serves every version; a name that no version has is a mistake in the script.
pub(crate) fn encode(fields: &[Field], value: &Value, version: i16, flexible: bool, out: &mut Vec<u8>) {
    let object = value.as_object().unwrap_or_else(|| panic!("not an object: {value}"));
    if let Some(name) = object.keys().find(|name| !fields.iter().any(|f| f.name == **name)) {
        panic!("no field {name} in {value}");
    }
    let mut tagged = Vec::new();
    for field in fields.iter().filter(|f| f.exists(version)) {
        let given = object.get(&field.name).filter(|v| !v.is_null() || field.nullable(version));
        match field.tag(version) {
            None => encode_field(field, given, version, flexible, out),
            Some(tag) if given.is_some() => {
                let mut body = Vec::new();
                encode_field(field, given, version, flexible, &mut body);
                tagged.push((tag, body));
            }
            Some(_) => {}
        }
    }
    if flexible {
        tagged.sort();
        put_varint(out, tagged.len());
        for (tag, body) in tagged {
            put_varint(out, tag as usize);
            put_varint(out, body.len());
            out.extend(body);
        }
    }
}

fn encode_field(field: &Field, given: Option<&Value>, version: i16, flexible: bool, out: &mut Vec<u8>) {
    let default = || default_value(field);
    let given = given.cloned().unwrap_or_else(default);
    if field.array {
        match given.as_array() {
            Some(items) => {
                put_count(out, Some(items.len()), flexible, 4);
                for item in items {
                    encode_one(field, item, version, flexible, out);
                }
            }
            None => put_count(out, None, flexible, 4),
        }
    } else {
        if field.kind == Kind::Struct && field.nullable(version) {
            out.push(if given.is_null() { 0xff } else { 1 });
        }
        if field.kind != Kind::Struct || !given.is_null() {
            encode_one(field, &given, version, flexible, out);
        }
    }
}

fn encode_one(field: &Field, value: &Value, version: i16, flexible: bool, out: &mut Vec<u8>) {
    let int =
        || value.as_i64().unwrap_or_else(|| panic!("{}: not a number: {value}", field.name)).to_be_bytes();
    match field.kind {
        Kind::Bool => {
            out.push(u8::from(value.as_bool().unwrap_or_else(|| panic!("{}: not a bool", field.name))))
        }
        Kind::Int8 => out.extend(&int()[7..]),
        Kind::Int16 => out.extend(&int()[6..]),
        Kind::Int32 => out.extend(&int()[4..]),
        Kind::Int64 => out.extend(int()),
        Kind::Uuid => out.extend(uuid(value)),
        Kind::Struct => encode(&field.fields, value, version, flexible, out),
        Kind::Str => put_bytes(out, value.as_str().map(str::as_bytes), flexible, 2),
        Kind::Bytes | Kind::Records => put_bytes(out, bytes_of(value).as_deref(), flexible, 4),
    }
}

/// What a field holds that the script does not give.
fn default_value(field: &Field) -> Value {
    match (field.default.as_deref(), field.kind) {
        (Some("null"), _) => Value::Null,
        _ if field.array => Value::Array(Vec::new()),
        (Some("0x7fffffff"), _) => Value::from(i32::MAX),
        (Some(text), Kind::Str) => Value::from(text),
        (Some(text), _) => serde_json::from_str(text).unwrap(),
        (None, Kind::Bool) => Value::Bool(false),
        (None, Kind::Str | Kind::Bytes) => Value::from(""),
        (None, Kind::Records) => Value::Null,
        (None, Kind::Uuid) => Value::from(ZERO_UUID),
        (None, Kind::Struct) => Value::Object(serde_json::Map::new()),
        (None, _) => Value::from(0),
    }
}

/// How tools write the id that means none.
pub(crate) const ZERO_UUID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

fn uuid(value: &Value) -> Vec<u8> {
    let id = value.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).filter(|id| id.len() == 16);
    id.unwrap_or_else(|| panic!("not an id of 22 characters: {value}"))
}

/// A bytes field as scripts give it: text, or `hex:` and digits.
fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|text| match text.strip_prefix("hex:") {
        Some(digits) => unhex(digits).unwrap_or_else(|| panic!("not hexadecimal: {text}")),
        None => text.as_bytes().to_vec(),
    })
}

/// Bytes as [`encode`] takes them.
pub(crate) fn hex(bytes: &[u8]) -> Value {
    let digits = bytes.iter().flat_map(|b| [b >> 4, b & 15]).filter_map(|d| char::from_digit(d.into(), 16));
    Value::from("hex:".chars().chain(digits).collect::<String>())
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>, flexible: bool, width: usize) {
    put_count(out, bytes.map(<[u8]>::len), flexible, width);
    out.extend(bytes.unwrap_or_default());
}

fn put_count(out: &mut Vec<u8>, count: Option<usize>, flexible: bool, width: usize) {
    match flexible {
        true => put_varint(out, count.map_or(0, |n| n + 1)),
        false => out.extend(&count.map_or(-1, |n| n as i64).to_be_bytes()[8 - width..]),
    }
}

/// An unsigned varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A cursor over an answer.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    version: i16,
    flexible: bool,
    /// Leave out fields that hold their default: for printing requests.
    terse: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], version: i16, flexible: bool) -> Self {
        Self { bytes, version, flexible, terse: false }
    }

    pub(crate) fn terse(self) -> Self {
        Self { terse: true, ..self }
    }

    /// Decodes a whole message; bytes left over are an error.
    pub(crate) fn message(mut self, fields: &[Field]) -> Result<Tree, String> {
        let tree = self.fields(fields)?;
        match self.bytes.len() {
            0 => Ok(tree),
            n => Err(format!("{n} bytes after the message")),
        }
    }

    /// The tagged fields of a header, none of which is known.
    pub(crate) fn header_tags(&mut self) -> Result<(), String> {
        match self.varint()? {
            0 => Ok(()),
            n => Err(format!("{n} tagged fields in the header")),
        }
    }

    pub(crate) fn int(&mut self, width: usize) -> Result<i64, String> {
        let bytes = self.take(width)?;
        let start = if bytes[0] >= 0x80 { -1 } else { 0 };
        Ok(bytes.iter().fold(start, |value, b| value << 8 | i64::from(*b)))
    }

    fn fields(&mut self, fields: &[Field]) -> Result<Tree, String> {
        let (version, mut tagged) = (self.version, Vec::new());
        let mut found: Vec<Option<Tree>> = fields.iter().map(|_| None).collect();
        for (i, field) in
            fields.iter().enumerate().filter(|(_, f)| f.exists(version) && f.tag(version).is_none())
        {
            found[i] = Some(self.field(field).map_err(|e| format!("{}: {e}", field.name))?);
        }
        if self.flexible {
            tagged = self.tagged()?;
        }
        for (i, field) in fields.iter().enumerate().filter(|(_, f)| f.exists(version)) {
            let Some(tag) = field.tag(version) else { continue };
            if let Some(at) = tagged.iter().position(|(t, _)| *t == tag) {
                let mut inner = Self { bytes: tagged.remove(at).1, ..*self };
                found[i] = Some(inner.field(field)?);
                if !inner.bytes.is_empty() {
                    return Err(format!("{}: bytes left over", field.name));
                }
            }
        }
        let named = fields.iter().zip(found).filter_map(|(f, value)| Some((f, value?)));
        let kept = named.filter(|(f, value)| !self.terse || *value != self.default_of(f));
        let mut all: Vec<(String, Tree)> = kept.map(|(f, value)| (f.name.clone(), value)).collect();
        all.extend(
            tagged.into_iter().map(|(tag, body)| (format!("unknown_tag_{tag}"), Tree::Bytes(body.to_vec()))),
        );
        Ok(Tree::Struct(all))
    }

    fn default_of(&self, field: &Field) -> Tree {
        let mut bytes = Vec::new();
        encode_field(field, None, self.version, self.flexible, &mut bytes);
        let mut reader =
            Reader { bytes: &bytes, version: self.version, flexible: self.flexible, terse: self.terse };
        reader.field(field).unwrap_or(Tree::Null)
    }

    fn tagged(&mut self) -> Result<Vec<(u32, &'a [u8])>, String> {
        let mut found: Vec<(u32, &[u8])> = Vec::new();
        for _ in 0..self.varint()? {
            let tag = u32::try_from(self.varint()?).map_err(|e| e.to_string())?;
            if found.last().is_some_and(|(last, _)| *last >= tag) {
                return Err("tags do not rise".to_owned());
            }
            let length = self.varint()?;
            found.push((tag, self.take(length)?));
        }
        Ok(found)
    }

    fn field(&mut self, field: &Field) -> Result<Tree, String> {
        if field.array {
            let Some(count) = self.count(4)? else { return self.null(field) };
            let items: Result<Vec<Tree>, String> = (0..count).map(|_| self.one(field)).collect();
            return items.map(Tree::List);
        }
        if field.kind == Kind::Struct && field.nullable(self.version) && self.int(1)? < 0 {
            return Ok(Tree::Null);
        }
        self.one(field)
    }

    fn null(&self, field: &Field) -> Result<Tree, String> {
        match field.nullable(self.version) {
            true => Ok(Tree::Null),
            false => Err("null in a field that must not be".to_owned()),
        }
    }

    fn one(&mut self, field: &Field) -> Result<Tree, String> {
        Ok(match field.kind {
            Kind::Bool => match self.int(1)? {
                0 => Tree::Bool(false),
                1 => Tree::Bool(true),
                other => return Err(format!("a bool of {other}")),
            },
            Kind::Int8 => Tree::Int(self.int(1)?),
            Kind::Int16 => Tree::Int(self.int(2)?),
            Kind::Int32 => Tree::Int(self.int(4)?),
            Kind::Int64 => Tree::Int(self.int(8)?),
            Kind::Uuid => Tree::Text(URL_SAFE_NO_PAD.encode(self.take(16)?)),
            Kind::Struct => self.fields(&field.fields)?,
            Kind::Str => match self.bytes_field(2)? {
                Some(text) => Tree::Text(String::from_utf8(text.to_vec()).map_err(|e| e.to_string())?),
                None => return self.null(field),
            },
            Kind::Bytes => match self.bytes_field(4)? {
                Some(bytes) => Tree::Bytes(bytes.to_vec()),
                None => return self.null(field),
            },
            Kind::Records => match self.bytes_field(4)? {
                Some(bytes) => records::describe(bytes, !self.terse),
                None => return self.null(field),
            },
        })
    }

    fn bytes_field(&mut self, width: usize) -> Result<Option<&'a [u8]>, String> {
        let count = self.count(width)?;
        count.map(|n| self.take(n)).transpose()
    }

    fn count(&mut self, width: usize) -> Result<Option<usize>, String> {
        match self.flexible {
            true => Ok(self.varint()?.checked_sub(1)),
            false => match self.int(width)? {
                -1 => Ok(None),
                n => usize::try_from(n).map(Some).map_err(|_| format!("a length of {n}")),
            },
        }
    }

    fn varint(&mut self) -> Result<usize, String> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a varint of more than 5 bytes".to_owned())
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(n).ok_or_else(|| format!("{n} bytes missing"))?;
        self.bytes = rest;
        Ok(taken)
    }
}
