//! The reader's counterpart: writes responses that the protocol crate lacks and records of the internal topics.
//!
//! What is written is our own data, so nothing here fails: a text that is too long for the wire is cut.

use bytes::{BufMut, BytesMut};

use crate::types::TopicId;
use crate::types::offset::{saturate_i32, saturate_u32};

/// Kafka refuses longer strings in either form.
const STRING_BYTES_MAX: usize = 0x7fff;

/// Appends fields to a buffer, in the classic or the flexible form (KIP-482).
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    flexible: bool,
}

impl<'a> Writer<'a> {
    /// A writer at the end of `out`.
    pub fn new(out: &'a mut BytesMut, flexible: bool) -> Self {
        Self { out, flexible }
    }

    /// One byte, 1 or 0.
    pub fn bool(&mut self, value: bool) {
        self.out.put_u8(value.into());
    }

    /// A signed byte.
    pub fn i8(&mut self, value: i8) {
        self.out.put_i8(value);
    }

    /// A big-endian 16-bit number.
    pub fn i16(&mut self, value: i16) {
        self.out.put_i16(value);
    }

    /// An unsigned big-endian 16-bit number.
    pub fn u16(&mut self, value: u16) {
        self.out.put_u16(value);
    }

    /// A big-endian 32-bit number.
    pub fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    /// An unsigned big-endian 32-bit number.
    pub fn u32(&mut self, value: u32) {
        self.out.put_u32(value);
    }

    /// A big-endian 64-bit number.
    pub fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    /// A UUID that names a topic.
    pub fn topic_id(&mut self, id: TopicId) {
        self.out.put_slice(id.as_bytes());
    }

    /// A topic by its id or by its name, as [`super::Reader::name_or_id`].
    pub fn name_or_id(&mut self, by_id: bool, name: &str, id: TopicId) {
        if by_id {
            self.topic_id(id);
        } else {
            self.string(name);
        }
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self, value: u32) {
        self.base128(value.into());
    }

    /// A zigzag varint of at most 32 bits.
    pub fn varint(&mut self, value: i32) {
        self.uvarint(((value << 1) ^ (value >> 31)).cast_unsigned());
    }

    /// A zigzag varint of at most 64 bits.
    pub fn varlong(&mut self, value: i64) {
        self.base128(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// A string.
    pub fn string(&mut self, text: &str) {
        self.nullable_string(Some(text));
    }

    /// A string or null. Over 32767 bytes, Kafka's limit, only the beginning is written.
    pub fn nullable_string(&mut self, text: Option<&str>) {
        let text = text.map(|text| &text[..text.floor_char_boundary(STRING_BYTES_MAX)]);
        if self.flexible {
            self.compact_length(text.map(str::len));
        } else {
            self.out.put_i16(text.map_or(-1, |text| i16::try_from(text.len()).unwrap_or(i16::MAX)));
        }
        self.out.put_slice(text.unwrap_or_default().as_bytes());
    }

    /// A byte field.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.nullable_bytes(Some(bytes));
    }

    /// A byte field or null.
    pub fn nullable_bytes(&mut self, bytes: Option<&[u8]>) {
        self.bytes_length(bytes.map(<[u8]>::len));
        self.out.put_slice(bytes.unwrap_or_default());
    }

    /// The length of a byte field whose bytes the caller puts behind it, or null.
    pub fn bytes_length(&mut self, len: Option<usize>) {
        self.i32_or_compact_length(len);
    }

    /// The number of elements of an array, which the caller writes next.
    pub fn array(&mut self, count: usize) {
        self.i32_or_compact_length(Some(count));
    }

    /// The number of elements of an array, or null.
    pub fn nullable_array(&mut self, count: Option<usize>) {
        self.i32_or_compact_length(count);
    }

    /// The end of a structure that has no tagged fields set. Nothing in the classic form.
    pub fn end(&mut self) {
        self.tags(&[]);
    }

    /// The end of a structure: its tagged fields, encoded, by ascending tag. Nothing in the classic form.
    pub fn tags(&mut self, fields: &[(u32, &[u8])]) {
        if !self.flexible {
            return;
        }
        self.uvarint(saturate_u32(fields.len()));
        for (tag, value) in fields {
            self.uvarint(*tag);
            self.uvarint(saturate_u32(value.len()));
            self.out.put_slice(value);
        }
    }

    fn i32_or_compact_length(&mut self, len: Option<usize>) {
        if self.flexible {
            self.compact_length(len);
        } else {
            self.out.put_i32(len.map_or(-1, saturate_i32));
        }
    }

    fn compact_length(&mut self, len: Option<usize>) {
        self.uvarint(len.map_or(0, |len| saturate_u32(len).saturating_add(1)));
    }

    fn base128(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.put_u8(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
            value >>= 7;
        }
        self.out.put_u8(u8::try_from(value).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Reader;

    #[test]
    fn the_reader_reads_what_the_writer_wrote() {
        for flexible in [false, true] {
            let mut out = BytesMut::new();
            let mut w = Writer::new(&mut out, flexible);
            w.string("naïve");
            w.nullable_string(None);
            w.nullable_bytes(Some(b""));
            w.nullable_bytes(None);
            w.array(200);
            w.nullable_array(None);
            w.tags(&[(0, b"xy"), (300, b"")]);
            w.bool(true);
            let bytes = out.freeze();
            let mut r = Reader::new(&bytes, flexible);
            assert_eq!((r.str(), r.nullable_str()), (Ok("naïve"), Ok(None)));
            assert_eq!(r.nullable_bytes().unwrap().as_deref(), Some(&b""[..]));
            assert_eq!(r.nullable_bytes(), Ok(None));
            assert!(r.nullable_array(Reader::i8).is_err(), "200 elements do not follow");
            assert_eq!(r.nullable_array(Reader::i8), Ok(None));
            r.end().unwrap();
            assert_eq!((r.bool(), r.remaining()), (Ok(true), 0));
        }
    }

    #[test]
    fn varints_of_every_length_read_back() {
        let shifts = || (0..64).map(|shift| i64::MAX >> shift);
        for n in shifts().flat_map(|n| [n, -n, !n]) {
            let mut out = BytesMut::new();
            let mut w = Writer::new(&mut out, true);
            let short = i32::try_from(n).unwrap_or(i32::MIN);
            w.varlong(n);
            w.varint(short);
            w.uvarint(short.cast_unsigned());
            let bytes = out.freeze();
            let mut r = Reader::new(&bytes, true);
            assert_eq!((r.varlong(), r.varint()), (Ok(n), Ok(short)));
            assert_eq!(r.uvarint(), Ok(short.cast_unsigned()));
        }
    }

    #[test]
    fn a_text_that_no_reader_would_take_is_cut_between_characters() {
        let long = "é".repeat(20_000);
        let mut out = BytesMut::new();
        Writer::new(&mut out, true).string(&long);
        let bytes = out.freeze();
        assert_eq!(Reader::new(&bytes, true).str().map(str::len), Ok(32_766));
    }
}
