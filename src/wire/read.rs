//! The cursor that reads requests and stored records: every length is checked against the bytes that are really there.
//!
//! One method reads a field in its old and its compact form (KIP-482); which one is a property of the reader, set once
//! from the header. Strings and byte fields are slices of the frame, not copies. An array is refused before anything
//! is allocated when its count cannot fit the bytes that follow, or when its elements would take several times the
//! frame's size in memory. Unknown tagged fields are skipped, and bytes after the last field are ignored, as Kafka
//! does.
//!
//! Over a [`Generator`] the reader invents the bytes that a decoder asks for and keeps them: tests get a valid request
//! out of every decoder that way.

use std::mem::size_of;

use bytes::Bytes;
pub use kafka_protocol::protocol::StrBytes;

use super::generate::{Generator, Shape, Supply};
use crate::types::TopicId;

/// How many bytes of memory the arrays of one request may take per byte of its frame.
const MEMORY_PER_BYTE_MAX: usize = 8;
/// What they may take on top of that, so that small requests never meet the bound.
const MEMORY_BYTES_FREE: usize = 16 * 1024;
/// What an array reserves before its first element is read, at most.
const ARRAY_BYTES_AHEAD_MAX: usize = 4 * 1024;
/// Kafka refuses longer strings in either form.
const STRING_BYTES_MAX: usize = 0x7fff;

/// A cursor over one frame or one stored key or value.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Owns what `rest` points into.
    source: &'a Bytes,
    rest: &'a [u8],
    flexible: bool,
    /// Memory that the arrays still to be read may take.
    memory_left: usize,
    /// Elements that they may have.
    elements_left: usize,
    supply: Option<Supply<'a>>,
}

/// The bytes are not what their schema says. The request cannot be answered; the connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at byte {at})")]
pub struct DecodeError {
    /// What is wrong, in a few words.
    pub reason: &'static str,
    /// Where, counted from the start of the frame without its length prefix.
    pub at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `source` from its first byte, in the classic or the flexible form.
    pub fn new(source: &'a Bytes, flexible: bool) -> Self {
        let memory_left = source.len().saturating_mul(MEMORY_PER_BYTE_MAX).saturating_add(MEMORY_BYTES_FREE);
        Self { source, rest: source, flexible, memory_left, elements_left: usize::MAX, supply: None }
    }

    /// A reader that finds whatever is asked of it and leaves the bytes in `generator`. For tests.
    pub fn generating(generator: &'a Generator, flexible: bool) -> Self {
        let supply = Supply::new(generator);
        let (memory_left, elements_left) = (usize::MAX, usize::MAX);
        Self {
            source: supply.nothing(),
            rest: &[],
            flexible,
            memory_left,
            elements_left,
            supply: Some(supply),
        }
    }

    /// Refuses what follows if its arrays have more elements than this, all together.
    pub fn limit_elements(&mut self, elements_max: usize) {
        self.elements_left = elements_max;
    }

    /// Chooses the form of what follows: the compact one and tagged fields, or the classic one.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// How many bytes have not been read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// An error about the field that was just read, for decoders that refuse a value.
    pub fn error(&self, reason: &'static str) -> DecodeError {
        let at = (self.rest.as_ptr() as usize).wrapping_sub(self.source.as_ptr() as usize);
        DecodeError { reason, at }
    }

    /// One byte, true unless 0.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.start(Shape::Bool)?;
        Ok(self.fixed::<1>()? != [0])
    }

    /// A signed byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.number().map(i8::from_be_bytes)
    }

    /// A big-endian 16-bit number.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.number().map(i16::from_be_bytes)
    }

    /// An unsigned big-endian 16-bit number.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.number().map(u16::from_be_bytes)
    }

    /// A big-endian 32-bit number.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.number().map(i32::from_be_bytes)
    }

    /// An unsigned big-endian 32-bit number.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.number().map(u32::from_be_bytes)
    }

    /// A big-endian 64-bit number.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.number().map(i64::from_be_bytes)
    }

    /// A UUID that names a topic.
    pub fn topic_id(&mut self) -> Result<TopicId, DecodeError> {
        self.number().map(TopicId::from_bytes)
    }

    /// A topic by its id or by its name, as the request's version has it (KIP-516): the other is empty or zero.
    pub fn name_or_id(&mut self, by_id: bool) -> Result<(StrBytes, TopicId), DecodeError> {
        if by_id { Ok((StrBytes::new(), self.topic_id()?)) } else { Ok((self.string()?, TopicId::ZERO)) }
    }

    /// An unsigned varint of at most 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        self.start(Shape::Varint { bits: 32 })?;
        self.take_uvarint()
    }

    /// A zigzag varint of at most 32 bits.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let n = self.uvarint()?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    /// A zigzag varint of at most 64 bits.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        self.start(Shape::Varint { bits: 64 })?;
        let n = self.take_base128(64)?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    /// A string that may not be null, borrowed from the frame. For stored records: it must be UTF-8.
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        let null = "a string is null that may not be";
        let len = self.string_length(false)?.ok_or_else(|| self.error(null))?;
        self.take_str(len)
    }

    /// A string or null, borrowed from the frame, as [`Reader::str`].
    pub fn nullable_str(&mut self) -> Result<Option<&'a str>, DecodeError> {
        self.string_length(true)?.map(|len| self.take_str(len)).transpose()
    }

    /// A string that may not be null. It shares the frame's memory and keeps it alive, so what outlives the request
    /// must be copied. As in Kafka, bytes that are not UTF-8 are replaced, not refused.
    pub fn string(&mut self) -> Result<StrBytes, DecodeError> {
        let null = "a string is null that may not be";
        let len = self.string_length(false)?.ok_or_else(|| self.error(null))?;
        self.take_string(len)
    }

    /// A string or null, as [`Reader::string`].
    pub fn nullable_string(&mut self) -> Result<Option<StrBytes>, DecodeError> {
        self.string_length(true)?.map(|len| self.take_string(len)).transpose()
    }

    /// Bytes that may not be null, sharing the frame's memory as [`Reader::string`] does.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let null = "a byte field is null that may not be";
        self.take_bytes(false)?.ok_or_else(|| self.error(null))
    }

    /// Bytes or null, sharing the frame's memory as [`Reader::string`] does.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        self.take_bytes(true)
    }

    /// Record batches, undecoded, or null. The same bytes on the wire as [`Reader::nullable_bytes`].
    pub fn records(&mut self) -> Result<Option<Bytes>, DecodeError> {
        self.take_bytes(true)
    }

    /// A nullable string in the classic form whatever the reader's: the client id in a header (S2).
    pub(super) fn classic_string(&mut self) -> Result<Option<StrBytes>, DecodeError> {
        let flexible = std::mem::replace(&mut self.flexible, false);
        let text = self.nullable_string();
        self.flexible = flexible;
        text
    }

    /// An array that may not be null.
    pub fn array<T>(
        &mut self,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let null = "an array is null that may not be";
        let count = self.array_count(false)?.ok_or_else(|| self.error(null))?;
        self.elements(count, element)
    }

    /// An array or null.
    pub fn nullable_array<T>(
        &mut self,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        self.array_count(true)?.map(|count| self.elements(count, element)).transpose()
    }

    /// A structure that a byte before it says to be there or not.
    pub fn nullable<T>(
        &mut self,
        structure: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        self.start(Shape::Presence)?;
        let present = i8::from_be_bytes(self.fixed()?) >= 0;
        present.then(|| structure(self)).transpose()
    }

    /// The end of a structure: skips its tagged fields. Nothing in the classic form.
    pub fn end(&mut self) -> Result<(), DecodeError> {
        self.tags(&[], |_, _| Ok(()))
    }

    /// The end of a structure of which some tagged fields are known: `visit` reads those in `known`, the others are
    /// skipped. Nothing in the classic form.
    pub fn tags(
        &mut self,
        known: &[u32],
        mut visit: impl FnMut(u32, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        if self.supply.is_some() && self.rest.is_empty() {
            return self.generate_tags(known, visit);
        }
        for _ in 0..self.take_uvarint()? {
            let tag = self.take_uvarint()?;
            let size = usize::try_from(self.take_uvarint()?).unwrap_or(usize::MAX);
            let value = self.take(size)?;
            if known.contains(&tag) {
                // The field's reader sees its own bytes only; what it leaves of them is ignored.
                let after = std::mem::replace(&mut self.rest, value);
                let visited = visit(tag, self);
                self.rest = after;
                visited?;
            }
        }
        Ok(())
    }

    /// Every field begins here. An exhausted frame is an error, unless there is a generator to ask.
    fn start(&mut self, shape: Shape) -> Result<(), DecodeError> {
        if self.rest.is_empty() { self.refill(shape) } else { Ok(()) }
    }

    #[cold]
    fn refill(&mut self, shape: Shape) -> Result<(), DecodeError> {
        let flexible = self.flexible;
        let Some(supply) = &mut self.supply else { return Err(self.short()) };
        self.source = supply.next(shape, flexible);
        self.rest = self.source;
        Ok(())
    }

    #[cold]
    fn generate_tags(
        &mut self,
        known: &[u32],
        mut visit: impl FnMut(u32, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let Some(generator) = self.supply.as_ref().map(Supply::generator) else { return Err(self.short()) };
        let tags = generator.choose_tags(known);
        for &tag in &tags.known {
            let begin = generator.begin_tag();
            visit(tag, self)?;
            generator.end_tag(tag, begin);
        }
        generator.end_tags(tags);
        Ok(())
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.start(Shape::Number { bytes: N })?;
        self.fixed()
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((&bytes, rest)) = self.rest.split_first_chunk() else { return Err(self.short()) };
        self.rest = rest;
        Ok(bytes)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(len) else { return Err(self.short()) };
        self.rest = rest;
        Ok(bytes)
    }

    fn take_str(&mut self, len: usize) -> Result<&'a str, DecodeError> {
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.error("a string is not UTF-8"))
    }

    fn take_bytes(&mut self, nullable: bool) -> Result<Option<Bytes>, DecodeError> {
        self.start(Shape::Bytes { nullable })?;
        let len = if self.flexible { self.take_compact_length()? } else { self.take_i32_length()? };
        let Some(len) = len else { return Ok(None) };
        let bytes = self.take(len)?;
        Ok(Some(self.source.slice_ref(bytes)))
    }

    fn take_string(&mut self, len: usize) -> Result<StrBytes, DecodeError> {
        let bytes = self.take(len)?;
        let shared = StrBytes::from_utf8(self.source.slice_ref(bytes));
        Ok(shared.unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into()))
    }

    fn string_length(&mut self, nullable: bool) -> Result<Option<usize>, DecodeError> {
        self.start(Shape::String { nullable })?;
        let len = if self.flexible {
            self.take_compact_length()?
        } else {
            usize::try_from(i16::from_be_bytes(self.fixed()?)).ok()
        };
        if len.is_some_and(|len| len > STRING_BYTES_MAX) {
            return Err(self.error("a string is longer than 32767 bytes"));
        }
        Ok(len)
    }

    fn array_count(&mut self, nullable: bool) -> Result<Option<usize>, DecodeError> {
        self.start(Shape::Array { nullable })?;
        let count = if self.flexible { self.take_compact_length()? } else { self.take_i32_length()? };
        // No element of any API is shorter than a byte.
        if count.is_some_and(|count| count > self.rest.len()) && self.supply.is_none() {
            return Err(self.error("an array has more elements than bytes follow"));
        }
        Ok(count)
    }

    fn elements<T>(
        &mut self,
        count: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let memory = count.saturating_mul(size_of::<T>());
        let Some(left) = self.memory_left.checked_sub(memory) else {
            return Err(self.error("too many small elements: the request would take many times its size"));
        };
        self.memory_left = left;
        let Some(left) = self.elements_left.checked_sub(count) else {
            return Err(self.error("more elements in its arrays than one request may have"));
        };
        self.elements_left = left;
        let ahead = ARRAY_BYTES_AHEAD_MAX / size_of::<T>().max(1);
        let mut elements = Vec::with_capacity(count.min(ahead.max(1)));
        for _ in 0..count {
            let read = element(self)?;
            if elements.len() == elements.capacity() {
                // Doubling, but the last step goes all the way: what is copied is then at most half of the whole.
                let (len, missing) = (elements.len(), count - elements.len());
                elements.reserve_exact(if missing <= 3 * len { missing } else { len });
            }
            elements.push(read);
        }
        Ok(elements)
    }

    fn take_i32_length(&mut self) -> Result<Option<usize>, DecodeError> {
        // Kafka takes any negative length for null.
        Ok(usize::try_from(i32::from_be_bytes(self.fixed()?)).ok())
    }

    fn take_compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let len_and_one = self.take_uvarint()?;
        match len_and_one.checked_sub(1) {
            None => Ok(None),
            Some(len) => i32::try_from(len)
                .ok()
                .and_then(|len| usize::try_from(len).ok())
                .map(Some)
                .ok_or_else(|| self.error("a length is larger than any frame")),
        }
    }

    fn take_uvarint(&mut self) -> Result<u32, DecodeError> {
        let n = self.take_base128(32)?;
        u32::try_from(n).map_err(|_| self.error("a varint has more than 32 bits"))
    }

    fn take_base128(&mut self, bits: u32) -> Result<u64, DecodeError> {
        let mut n = 0_u64;
        let mut shift = 0;
        while shift < bits {
            let [byte] = self.fixed()?;
            let group = u64::from(byte & 0x7f);
            if shift == 63 && group > 1 {
                return Err(self.error("a varint has more than 64 bits"));
            }
            n |= group << shift;
            if byte < 0x80 {
                return Ok(n);
            }
            shift += 7;
        }
        Err(self.error("a varint does not end"))
    }

    #[cold]
    fn short(&self) -> DecodeError {
        self.error("the bytes end in the middle of a field")
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
