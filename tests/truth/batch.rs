//! Builds record batches for scripts, right ones and wrong ones.

use std::io::Write as _;

use serde_json::Value;

use crate::codec::hex;

/// The v2 batch header.
pub(crate) const HEADER_BYTES: usize = 61;

/// When the records of scripts were made unless they say otherwise: 2023-11-14, never the present.
pub(crate) const THEN: i64 = 1_700_000_000_000;

/// How records are compressed, by wire number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Codec {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];
}

/// One record; timestamps are absolute.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<String>)>,
    timestamp: i64,
}

/// A v2 batch under construction. What is not said is what a plain producer sends.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    records: Vec<Record>,
    codec: Codec,
    producer: (i64, i16, i32),
    attributes: i16,
    /// Header bytes to overwrite before the checksum is taken.
    edits: Vec<(usize, Vec<u8>)>,
    /// The record bytes, if they are to be something else.
    body: Option<Vec<u8>>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            records: Vec::new(),
            codec: Codec::None,
            producer: (-1, -1, -1),
            attributes: 0,
            edits: Vec::new(),
            body: None,
        }
    }

    /// One record with key `k` and this value.
    pub(crate) fn of(value: &str) -> Self {
        Self::new().record("k", value)
    }

    /// One record in a batch of exactly this many bytes.
    pub(crate) fn sized(bytes: usize) -> Self {
        let fits = |value: usize| Self::of(&"x".repeat(value)).bytes().len() == bytes;
        let value = (bytes.saturating_sub(100)..bytes).find(|n| fits(*n));
        Self::of(&"x".repeat(value.unwrap_or_else(|| panic!("no value makes a batch of {bytes} bytes"))))
    }

    /// `n` records, `value-0` and so on.
    pub(crate) fn many(n: usize) -> Self {
        (0..n).fold(Self::new(), |batch, i| batch.record("k", &format!("value-{i}")))
    }

    pub(crate) fn record(self, key: &str, value: &str) -> Self {
        self.raw_record(Some(key.as_bytes()), Some(value.as_bytes()))
    }

    pub(crate) fn raw_record(mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let timestamp = THEN;
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        self.records.push(Record { key, value, headers: Vec::new(), timestamp });
        self
    }

    /// Sets the time of the last record.
    pub(crate) fn at(mut self, timestamp: i64) -> Self {
        self.records.last_mut().unwrap().timestamp = timestamp;
        self
    }

    /// Adds a header to the last record.
    pub(crate) fn header(mut self, key: &str, value: Option<&str>) -> Self {
        self.records.last_mut().unwrap().headers.push((key.to_owned(), value.map(str::to_owned)));
        self
    }

    pub(crate) fn codec(self, codec: Codec) -> Self {
        Self { codec, ..self }
    }

    pub(crate) fn producer(self, id: i64, epoch: i16, sequence: i32) -> Self {
        Self { producer: (id, epoch, sequence), ..self }
    }

    /// Sets more attribute bits.
    pub(crate) fn attributes(self, bits: i16) -> Self {
        Self { attributes: self.attributes | bits, ..self }
    }

    /// Overwrites header bytes; the checksum is right for the result.
    pub(crate) fn edit(mut self, at: usize, bytes: &[u8]) -> Self {
        self.edits.push((at, bytes.to_vec()));
        self
    }

    /// Replaces the record bytes, before compression.
    pub(crate) fn body(self, bytes: &[u8]) -> Self {
        Self { body: Some(bytes.to_vec()), ..self }
    }

    /// The records uncompressed, as they stand behind the header.
    pub(crate) fn encoded_records(&self) -> Vec<u8> {
        let base = self.records.first().map_or(-1, |r| r.timestamp);
        let mut out = Vec::new();
        for (i, record) in self.records.iter().enumerate() {
            let encoded = encode_record(record, record.timestamp - base, i as i64);
            put_varint(&mut out, encoded.len() as i64);
            out.extend(encoded);
        }
        out
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let base = self.records.first().map_or(-1, |r| r.timestamp);
        let last = self.records.iter().map(|r| r.timestamp).max().unwrap_or(-1);
        let body = compress(self.codec, &self.body.clone().unwrap_or_else(|| self.encoded_records()));
        let count = self.records.len() as i32;
        let mut out = Vec::new();
        out.extend(0_i64.to_be_bytes());
        out.extend(((HEADER_BYTES - 12 + body.len()) as i32).to_be_bytes());
        out.extend((-1_i32).to_be_bytes());
        out.extend([2, 0, 0, 0, 0]);
        out.extend((self.codec as i16 | self.attributes).to_be_bytes());
        out.extend((count - 1).to_be_bytes());
        out.extend(base.to_be_bytes());
        out.extend(last.to_be_bytes());
        out.extend(self.producer.0.to_be_bytes());
        out.extend(self.producer.1.to_be_bytes());
        out.extend(self.producer.2.to_be_bytes());
        out.extend(count.to_be_bytes());
        out.extend(body);
        for (at, bytes) in &self.edits {
            out[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        let crc = crc32c::crc32c(&out[21..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        // An edit of the checksum itself is meant.
        for (at, bytes) in self.edits.iter().filter(|(at, _)| (17..21).contains(at)) {
            out[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        out
    }

    /// As a `records` field of a request.
    pub(crate) fn value(&self) -> Value {
        hex(&self.bytes())
    }
}

fn encode_record(record: &Record, timestamp_delta: i64, offset_delta: i64) -> Vec<u8> {
    let mut out = vec![0];
    put_varint(&mut out, timestamp_delta);
    put_varint(&mut out, offset_delta);
    put_field(&mut out, record.key.as_deref());
    put_field(&mut out, record.value.as_deref());
    put_varint(&mut out, record.headers.len() as i64);
    for (key, value) in &record.headers {
        put_field(&mut out, Some(key.as_bytes()));
        put_field(&mut out, value.as_deref().map(str::as_bytes));
    }
    out
}

fn put_field(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |b| b.len() as i64));
    out.extend(bytes.unwrap_or_default());
}

/// A zigzag varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    crate::codec::put_varint(out, (value << 1 ^ value >> 63) as usize);
}

fn compress(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => bytes.to_vec(),
        Codec::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        }
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
        Codec::Lz4 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        }
        Codec::Zstd => zstd::encode_all(bytes, 3).unwrap(),
    }
}
