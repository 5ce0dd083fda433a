//! The format of a record inside a v2 batch, written down once for two kinds of bytes: those that lie in memory and
//! those that come out of a decompressor a piece at a time.
//!
//! A record is: length, attributes, timestamp delta, offset delta, key, value, headers (KIP-98). All numbers but the
//! attributes are zigzag varints. Iteration ([`super::iter`]) needs the keys and values; the produce-time check needs
//! to walk past them without holding them. [`Source`] is what the two have in common.
//!
//! The readers are inlined by force: out of line, the source goes through memory at every number, and the walk over
//! small records takes three times as long (`benches/batch.rs`).

use super::batch::BatchError;

/// How a record breaks the format. One byte, so that the readers here, which run for every record, answer in a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    EndsEarly,
    EndsLate,
    TooWide,
    NegativeLength,
    BelowNull,
    NegativeHeaderCount,
    NullHeaderKey,
    /// Not the record: its source failed, and knows why.
    Source,
}

impl From<Flaw> for BatchError {
    #[cold]
    fn from(flaw: Flaw) -> Self {
        Self::Record(match flaw {
            Flaw::EndsEarly => "it ends early",
            Flaw::EndsLate => "its length is not that of its fields",
            Flaw::TooWide => "a number in it is too wide",
            Flaw::NegativeLength => "its length is negative",
            Flaw::BelowNull => "a length in it is below -1",
            Flaw::NegativeHeaderCount => "its header count is negative",
            Flaw::NullHeaderKey => "a header's key is null",
            Flaw::Source => "its bytes cannot be had",
        })
    }
}

/// Bytes being read from the front.
pub(super) trait Source {
    /// What reading a run of bytes gives: the bytes, or nothing when the source only moves past them.
    type Span;

    /// The next byte.
    fn byte(&mut self) -> Result<u8, Flaw>;

    /// The next `len` bytes.
    fn span(&mut self, len: usize) -> Result<Self::Span, Flaw>;
}

impl<'a> Source for &'a [u8] {
    type Span = &'a [u8];

    #[inline(always)]
    fn byte(&mut self) -> Result<u8, Flaw> {
        let (&byte, rest) = self.split_first().ok_or(Flaw::EndsEarly)?;
        *self = rest;
        Ok(byte)
    }

    #[inline(always)]
    fn span(&mut self, len: usize) -> Result<&'a [u8], Flaw> {
        let (span, rest) = self.split_at_checked(len).ok_or(Flaw::EndsEarly)?;
        *self = rest;
        Ok(span)
    }
}

/// What stands in a record before its headers.
pub(super) struct Fields<S> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<Run<S>>,
    pub(super) value: Option<Run<S>>,
    pub(super) headers: i32,
}

/// A run of bytes and how many they are.
pub(super) struct Run<S> {
    pub(super) len: usize,
    pub(super) span: S,
}

/// Reads a record's length: the bytes that follow the length itself.
#[inline(always)]
pub(super) fn read_length<S: Source>(source: &mut S) -> Result<usize, Flaw> {
    usize::try_from(read_varint(source)?).map_err(|_| Flaw::NegativeLength)
}

/// Reads a record from its attributes to its header count.
#[inline(always)]
pub(super) fn read_fields<S: Source>(source: &mut S) -> Result<Fields<S::Span>, Flaw> {
    // Attributes: no bit of them has a meaning yet.
    source.byte()?;
    let timestamp_delta = read_varlong(source)?;
    let offset_delta = read_varint(source)?;
    let key = read_bytes(source)?;
    let value = read_bytes(source)?;
    let headers = read_varint(source)?;
    if headers < 0 {
        return Err(Flaw::NegativeHeaderCount);
    }
    Ok(Fields { timestamp_delta, offset_delta, key, value, headers })
}

/// Reads one header: its key, which may not be null, and its value.
#[inline]
pub(super) fn read_header<S: Source>(source: &mut S) -> Result<(S::Span, Option<S::Span>), Flaw> {
    let key = read_bytes(source)?.ok_or(Flaw::NullHeaderKey)?;
    let value = read_bytes(source)?;
    Ok((key.span, value.map(|value| value.span)))
}

/// Reads past `count` headers. A header takes two bytes at least, so the bytes bound the work, whatever the count.
#[inline]
pub(super) fn skip_headers<S: Source>(source: &mut S, count: i32) -> Result<(), Flaw> {
    for _ in 0..count {
        read_header(source)?;
    }
    Ok(())
}

/// Reads a length and that many bytes; -1 is null.
#[inline(always)]
fn read_bytes<S: Source>(source: &mut S) -> Result<Option<Run<S::Span>>, Flaw> {
    match read_varint(source)? {
        -1 => Ok(None),
        len => {
            let len = usize::try_from(len).map_err(|_| Flaw::BelowNull)?;
            Ok(Some(Run { len, span: source.span(len)? }))
        }
    }
}

/// Reads a zigzag number of at most 32 bits.
#[inline(always)]
pub(super) fn read_varint<S: Source>(source: &mut S) -> Result<i32, Flaw> {
    // Fits: it has been held to 32 bits.
    let raw = u32::try_from(read_unsigned(source, 32)?).map_err(|_| Flaw::TooWide)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a zigzag number of at most 64 bits.
#[inline(always)]
pub(super) fn read_varlong<S: Source>(source: &mut S) -> Result<i64, Flaw> {
    let raw = read_unsigned(source, 64)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a varint of at most `bits` bits. Refused: more bytes than `bits` can need, and bits beyond `bits` (Kafka drops
/// those in silence, other readers do not). Zeros at the top are legal, if wasteful.
#[inline(always)]
fn read_unsigned<S: Source>(source: &mut S, bits: u32) -> Result<u64, Flaw> {
    // Most numbers in a record take one byte or two.
    let first = source.byte()?;
    if first < 0x80 {
        return Ok(u64::from(first));
    }
    let second = source.byte()?;
    let raw = u64::from(first & 0x7f) | u64::from(second & 0x7f) << 7;
    if second < 0x80 { Ok(raw) } else { read_long_form(source, raw, bits) }
}

/// The rest of a varint of which two bytes have been read.
fn read_long_form<S: Source>(source: &mut S, mut raw: u64, bits: u32) -> Result<u64, Flaw> {
    let mut shift = 14;
    loop {
        let byte = source.byte()?;
        let part = u64::from(byte & 0x7f);
        if shift + 7 > bits && part >> (bits - shift) != 0 {
            return Err(Flaw::TooWide);
        }
        raw |= part << shift;
        if byte < 0x80 {
            return Ok(raw);
        }
        shift += 7;
        if shift >= bits {
            return Err(Flaw::TooWide);
        }
    }
}

/// Appends `n` as a zigzag varint, which for equal numbers is the same at 32 and at 64 bits.
pub(super) fn put_varint(out: &mut Vec<u8>, n: i64) {
    let mut raw = zigzag(n);
    while raw >= 0x80 {
        out.push(raw.to_le_bytes()[0] | 0x80);
        raw >>= 7;
    }
    out.push(raw.to_le_bytes()[0]);
}

/// Bytes that [`put_varint`] appends for `n`.
pub(super) fn varint_len(n: i64) -> usize {
    let bits = u64::BITS - zigzag(n).leading_zeros();
    match bits {
        0 => 1,
        bits => bits.div_ceil(7) as usize,
    }
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn varlong(bytes: &[u8]) -> Result<(i64, usize), Flaw> {
        let mut rest = bytes;
        read_varlong(&mut rest).map(|n| (n, bytes.len() - rest.len()))
    }

    fn varint(bytes: &[u8]) -> Result<(i32, usize), Flaw> {
        let mut rest = bytes;
        read_varint(&mut rest).map(|n| (n, bytes.len() - rest.len()))
    }

    #[test]
    fn numbers_are_encoded_as_kafka_encodes_them() {
        for (n, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, i64::from(n));
            assert_eq!(out, bytes);
            assert_eq!(varint(bytes), Ok((n, bytes.len())));
        }
        assert_eq!(
            varlong(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Ok((i64::MIN, 10))
        );
    }

    #[test]
    fn numbers_that_are_too_wide_are_refused() {
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(Flaw::TooWide), "33 bits");
        assert_eq!(varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Err(Flaw::TooWide), "6 bytes");
        assert_eq!(varlong(&[0xff; 10]), Err(Flaw::TooWide), "70 bits");
        let mut eleven = [0x80; 11];
        eleven[10] = 0;
        assert_eq!(varlong(&eleven), Err(Flaw::TooWide), "11 bytes");
        assert_eq!(varint(&[0x80, 0x80]), Err(Flaw::EndsEarly));
        assert_eq!(varint(&[]), Err(Flaw::EndsEarly));
    }

    #[test]
    fn zeros_at_the_top_are_legal_as_in_kafka() {
        assert_eq!(varint(&[0x82, 0x00]), Ok((1, 2)));
        assert_eq!(varint(&[0x82, 0x80, 0x80, 0x80, 0x00]), Ok((1, 5)));
    }

    proptest! {
        #[test]
        fn every_number_survives(n in any::<i64>(), narrow in any::<i32>()) {
            for n in [n, i64::from(narrow), n >> 40] {
                let mut out = Vec::new();
                put_varint(&mut out, n);
                prop_assert_eq!(out.len(), varint_len(n));
                prop_assert_eq!(varlong(&out), Ok((n, out.len())));
                match i32::try_from(n) {
                    Ok(narrow) => prop_assert_eq!(varint(&out), Ok((narrow, out.len()))),
                    Err(_) => prop_assert_eq!(varint(&out), Err(Flaw::TooWide)),
                }
            }
        }
    }
}
