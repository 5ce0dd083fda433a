//! Reads record batches out of requests and answers, for people: every header field, every record, and whether the
//! checksum is right. Knows nothing of the broker's own reader.

use std::io::Read as _;

use crate::batch::HEADER_BYTES;
use crate::tree::Tree;

/// Keys and values longer than this are shown by length and checksum.
const SHOWN_BYTES: usize = 64;

/// The batches in a records field. What cannot be read as one is shown as such; in answers, the cut batch that may
/// stand at the end is left out, for brokers may cut there or not.
pub(crate) fn describe(mut bytes: &[u8], answer: bool) -> Tree {
    let mut batches = Vec::new();
    while let Some(header) = bytes.get(..HEADER_BYTES) {
        let length = int(header, 8, 4);
        let Some(batch) = usize::try_from(length).ok().and_then(|n| bytes.get(..n + 12)) else { break };
        batches.push(match header[16] {
            2 if length >= 49 => v2(batch, answer),
            magic => unreadable(batch, &format!("magic {magic} length {length}")),
        });
        bytes = &bytes[batch.len().max(1)..];
    }
    if !answer && !bytes.is_empty() {
        batches.push(unreadable(bytes, "no whole batch"));
    }
    Tree::List(batches)
}

fn unreadable(bytes: &[u8], why: &str) -> Tree {
    Tree::symbol(format!("{why}, {} bytes, crc32c {:08x}", bytes.len(), crc32c::crc32c(bytes)))
}

/// One batch. What follows from the rest or is what plain batches have is left out, to keep recordings short.
fn v2(batch: &[u8], answer: bool) -> Tree {
    let attributes = int(batch, 21, 2);
    let mut fields: Vec<(String, Tree)> = Vec::new();
    let mut put = |name: &str, value: Tree, usual: bool| {
        if !usual {
            fields.push((name.to_owned(), value));
        }
    };
    let offset = int(batch, 0, 8);
    put("base_offset", Tree::Int(offset), !answer && offset == 0);
    let epoch = int(batch, 12, 4);
    put("partition_leader_epoch", Tree::Int(epoch), epoch == if answer { 0 } else { -1 });
    let right =
        crc32c::crc32c(&batch[21..]) == u32::from_be_bytes([batch[17], batch[18], batch[19], batch[20]]);
    put("crc", Tree::symbol("wrong"), right);
    put("attributes", Tree::Int(attributes), attributes == 0);
    let (count, delta) = (int(batch, 57, 4), int(batch, 23, 4));
    put("last_offset_delta", Tree::Int(delta), delta == count - 1);
    let (base_timestamp, max_timestamp) = (int(batch, 27, 8), int(batch, 35, 8));
    put("base_timestamp", Tree::Int(base_timestamp), false);
    put("max_timestamp", Tree::Int(max_timestamp), max_timestamp == base_timestamp);
    let producer = [("producer_id", 43, 8), ("producer_epoch", 51, 2), ("base_sequence", 53, 4)];
    let anonymous = producer.iter().all(|(_, at, width)| int(batch, *at, *width) == -1);
    for (name, at, width) in producer {
        put(name, Tree::Int(int(batch, at, width)), anonymous);
    }
    let records = records(attributes & 7, &batch[HEADER_BYTES..], count);
    let whole = matches!(&records, Tree::List(all) if count == all.len() as i64);
    put("records_count", Tree::Int(count), whole);
    put("records", collapse(records), false);
    Tree::Struct(fields)
}

fn records(codec: i64, bytes: &[u8], count: i64) -> Tree {
    let body = match decompress(codec, bytes) {
        Ok(body) => body,
        Err(e) => return Tree::symbol(format!("codec {codec}: {e}")),
    };
    let mut cursor = Cursor { bytes: &body };
    let read: Option<Vec<Tree>> = (0..count).map(|i| cursor.record(i)).collect();
    match read {
        Some(records) if cursor.bytes.is_empty() => Tree::List(records),
        _ => unreadable(&body, "malformed"),
    }
}

/// Long runs are shown by their ends and a checksum.
fn collapse(records: Tree) -> Tree {
    let Tree::List(mut records) = records else { return records };
    if records.len() > 6 {
        let last = records.split_off(records.len() - 1);
        let middle = records.split_off(2);
        let sum = crc32c::crc32c(Tree::List(middle.clone()).inline().as_bytes());
        records.push(Tree::symbol(format!("{} more, crc32c {sum:08x}", middle.len())));
        records.extend(last);
    }
    Tree::List(records)
}

fn int(bytes: &[u8], at: usize, width: usize) -> i64 {
    let start = if bytes[at] >= 0x80 { -1 } else { 0 };
    bytes[at..at + width].iter().fold(start, |value, b| value << 8 | i64::from(*b))
}

fn decompress(codec: i64, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let read = match codec {
        0 => return Ok(bytes.to_vec()),
        1 => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out),
        2 => return unsnap(bytes),
        3 => lz4_flex::frame::FrameDecoder::new(bytes).read_to_end(&mut out),
        4 => zstd::Decoder::new(bytes).and_then(|mut d| d.read_to_end(&mut out)),
        _ => return Err("unknown".to_owned()),
    };
    read.map(|_| out).map_err(|e| e.to_string())
}

/// Raw snappy, or the framing of snappy-java: 16 bytes of header, then blocks with a length before each.
fn unsnap(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let raw = |bytes: &[u8]| snap::raw::Decoder::new().decompress_vec(bytes).map_err(|e| e.to_string());
    let Some(mut blocks) = bytes.strip_prefix(b"\x82SNAPPY\0").and_then(|b| b.get(8..)) else {
        return raw(bytes);
    };
    let mut out = Vec::new();
    while let Some(length) = blocks.get(..4) {
        let block = blocks.get(4..4 + int(length, 0, 4) as usize).ok_or("a cut block")?;
        out.extend(raw(block)?);
        blocks = &blocks[4 + block.len()..];
    }
    Ok(out)
}

struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn record(&mut self, index: i64) -> Option<Tree> {
        let length = self.varint()?;
        let mut inner = Cursor { bytes: self.take(length)? };
        let mut fields = Vec::new();
        let mut put = |name: &str, value: Tree| fields.push((name.to_owned(), value));
        put("attributes", Tree::Int(i64::from(inner.take(1)?[0])));
        put("timestamp_delta", Tree::Int(inner.varint()?));
        put("offset_delta", Tree::Int(inner.varint()?));
        put("key", inner.bytes_field()?);
        put("value", inner.bytes_field()?);
        let count = inner.varint()?;
        let headers: Option<Vec<Tree>> =
            (0..count).map(|_| Some(Tree::List(vec![inner.bytes_field()?, inner.bytes_field()?]))).collect();
        let headers = headers?;
        if !headers.is_empty() {
            put("headers", Tree::List(headers));
        }
        if !inner.bytes.is_empty() {
            return None;
        }
        let usual = [("attributes", 0), ("timestamp_delta", 0), ("offset_delta", index)];
        fields.retain(|(name, value)| !usual.iter().any(|(n, u)| name == n && *value == Tree::Int(*u)));
        Some(Tree::Struct(fields))
    }

    fn bytes_field(&mut self) -> Option<Tree> {
        let length = self.varint()?;
        if length < 0 {
            return Some(Tree::Null);
        }
        let bytes = self.take(length)?;
        Some(match bytes.len() {
            n if n > SHOWN_BYTES => Tree::symbol(format!("{n} bytes, crc32c {:08x}", crc32c::crc32c(bytes))),
            _ => Tree::Bytes(bytes.to_vec()),
        })
    }

    fn varint(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    fn take(&mut self, n: i64) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(usize::try_from(n).ok()?)?;
        self.bytes = rest;
        Some(taken)
    }
}
