//! The format of a record inside a v2 batch, written down once for two kinds of bytes: those that lie in memory and
//! those that come out of a decompressor a piece at a time.
//!
//! A record is: length, attributes, timestamp delta, offset delta, key, value, headers (KIP-98). All numbers but the
//! attributes are zigzag varints. Iteration ([`super::iter`]) needs the keys and values; the produce-time check needs
//! to walk past them without holding them. [`Source`] is what the two have in common.

use super::batch::BatchError;

/// Bytes being read from the front.
pub(super) trait Source {
    /// What reading a run of bytes gives: the bytes, or nothing when the source only moves past them.
    type Span;

    /// The next byte.
    fn byte(&mut self) -> Result<u8, BatchError>;

    /// The next `len` bytes.
    fn span(&mut self, len: usize) -> Result<Self::Span, BatchError>;
}

impl<'a> Source for &'a [u8] {
    type Span = &'a [u8];

    #[inline]
    fn byte(&mut self) -> Result<u8, BatchError> {
        let (&byte, rest) = self.split_first().ok_or(ENDS_EARLY)?;
        *self = rest;
        Ok(byte)
    }

    #[inline]
    fn span(&mut self, len: usize) -> Result<&'a [u8], BatchError> {
        let (span, rest) = self.split_at_checked(len).ok_or(ENDS_EARLY)?;
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
#[inline]
pub(super) fn read_length<S: Source>(source: &mut S) -> Result<usize, BatchError> {
    usize::try_from(read_varint(source)?).map_err(|_| BatchError::Record("its length is negative"))
}

/// Reads a record from its attributes to its header count.
#[inline]
pub(super) fn read_fields<S: Source>(source: &mut S) -> Result<Fields<S::Span>, BatchError> {
    // Attributes: no bit of them has a meaning yet.
    source.byte()?;
    let timestamp_delta = read_varlong(source)?;
    let offset_delta = read_varint(source)?;
    let key = read_bytes(source)?;
    let value = read_bytes(source)?;
    let headers = read_varint(source)?;
    if headers < 0 {
        return Err(BatchError::Record("its header count is negative"));
    }
    Ok(Fields { timestamp_delta, offset_delta, key, value, headers })
}

/// Reads one header: its key, which may not be null, and its value.
#[inline]
pub(super) fn read_header<S: Source>(source: &mut S) -> Result<(S::Span, Option<S::Span>), BatchError> {
    let key = read_bytes(source)?.ok_or(BatchError::Record("a header's key is null"))?;
    let value = read_bytes(source)?;
    Ok((key.span, value.map(|value| value.span)))
}

/// Reads past `count` headers. A header takes two bytes at least, so the bytes bound the work, whatever the count.
#[inline]
pub(super) fn skip_headers<S: Source>(source: &mut S, count: i32) -> Result<(), BatchError> {
    for _ in 0..count {
        read_header(source)?;
    }
    Ok(())
}

/// Reads a length and that many bytes; -1 is null.
#[inline]
fn read_bytes<S: Source>(source: &mut S) -> Result<Option<Run<S::Span>>, BatchError> {
    match read_varint(source)? {
        -1 => Ok(None),
        len => {
            let len = usize::try_from(len).map_err(|_| BatchError::Record("a length in it is below -1"))?;
            Ok(Some(Run { len, span: source.span(len)? }))
        }
    }
}

/// Reads a zigzag number of at most 32 bits.
#[inline]
pub(super) fn read_varint<S: Source>(source: &mut S) -> Result<i32, BatchError> {
    let first = source.byte()?;
    let raw = if first < 0x80 { u64::from(first) } else { read_long_form(source, first, 32)? };
    // Fits: the long form has been held to 32 bits.
    let raw = u32::try_from(raw).map_err(|_| TOO_WIDE)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a zigzag number of at most 64 bits.
#[inline]
pub(super) fn read_varlong<S: Source>(source: &mut S) -> Result<i64, BatchError> {
    let first = source.byte()?;
    let raw = if first < 0x80 { u64::from(first) } else { read_long_form(source, first, 64)? };
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// The rest of a varint of more than one byte. Refused: more bytes than `bits` can need, and bits beyond `bits`
/// (Kafka drops those in silence, other readers do not). Zeros at the top are legal, if wasteful.
fn read_long_form<S: Source>(source: &mut S, first: u8, bits: u32) -> Result<u64, BatchError> {
    let mut raw = u64::from(first & 0x7f);
    let mut shift = 7;
    loop {
        let byte = source.byte()?;
        let part = u64::from(byte & 0x7f);
        if shift + 7 > bits && part >> (bits - shift) != 0 {
            return Err(TOO_WIDE);
        }
        raw |= part << shift;
        if byte < 0x80 {
            return Ok(raw);
        }
        shift += 7;
        if shift >= bits {
            return Err(TOO_WIDE);
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

const ENDS_EARLY: BatchError = BatchError::Record("it ends early");
const TOO_WIDE: BatchError = BatchError::Record("a number in it is too wide");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn varlong(bytes: &[u8]) -> Result<(i64, usize), BatchError> {
        let mut rest = bytes;
        read_varlong(&mut rest).map(|n| (n, bytes.len() - rest.len()))
    }

    fn varint(bytes: &[u8]) -> Result<(i32, usize), BatchError> {
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
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(TOO_WIDE), "33 bits");
        assert_eq!(varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Err(TOO_WIDE), "6 bytes");
        assert_eq!(varlong(&[0xff; 10]), Err(TOO_WIDE), "70 bits");
        let mut eleven = [0x80; 11];
        eleven[10] = 0;
        assert_eq!(varlong(&eleven), Err(TOO_WIDE), "11 bytes");
        assert_eq!(varint(&[0x80, 0x80]), Err(ENDS_EARLY));
        assert_eq!(varint(&[]), Err(ENDS_EARLY));
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
                    Err(_) => prop_assert_eq!(varint(&out), Err(TOO_WIDE)),
                }
            }
        }
    }
}
