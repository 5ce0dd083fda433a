//! The v2 record batch as bytes: its 61-byte header, a borrowed view of a whole batch, and the stamping of what the
//! broker assigns.
//!
//! A batch is kept as the producer sent it from the socket to the disk and back (KIP-98). The first 21 bytes (base
//! offset, length, leader epoch, magic, CRC) are outside the CRC-32C, which covers the rest: so [`stamp`] gives a
//! batch its place in the log without touching its checksum.

use super::iter::Records;
use crate::types::offset::{non_negative, sequence_after};
use crate::types::time::NO_TIMESTAMP;
use crate::types::{Codec, Timestamp};

/// Bytes of a v2 batch header, base offset to record count.
pub const HEADER_LEN: usize = 61;
/// Bytes before the part that `batch_length` counts: base offset and the length itself.
pub const LENGTH_OVERHEAD: usize = 12;
/// Bytes at the front that [`stamp`] touches: base offset, length, leader epoch.
pub const STAMP_LEN: usize = 16;
/// The only record format this broker accepts, stores and sends.
pub const MAGIC: i8 = 2;

/// Where the CRC's cover begins: at the attributes.
pub const CRC_FROM: usize = 21;
/// The least that `batch_length` can say: a header without records.
pub const LENGTH_MIN: i32 = 49;

/// Why bytes are not a batch that can be used. The bytes are at fault, wherever they came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the batch needs {need} bytes and {have} are there")]
    Truncated {
        /// Bytes needed, as far as they are known.
        need: usize,
        /// Bytes at hand.
        have: usize,
    },
    /// The length field is below that of an empty batch.
    #[error("the batch says it is {0} bytes long, less than its own header")]
    Length(i32),
    /// Not the v2 format.
    #[error("the batch has magic {0}, not 2")]
    Magic(i8),
    /// The attributes name a codec that does not exist.
    #[error("the batch has attributes {:#06x}, whose codec does not exist", .0.0)]
    Codec(Attributes),
    /// A negative record count.
    #[error("the batch says it has {0} records")]
    Count(i32),
    /// A record breaks the format.
    #[error("a record is malformed: {0}")]
    Record(&'static str),
    /// Bytes follow the last record.
    #[error("bytes follow the batch's last record")]
    Surplus,
    /// The records do not decompress.
    #[error("the records do not decompress as {codec}: {reason}")]
    Inflate {
        /// The codec that the attributes name.
        codec: Codec,
        /// What the decompressor says.
        reason: String,
    },
    /// The records are larger than whoever reads them allows.
    #[error("the records are larger than {max_bytes} bytes when decompressed")]
    Bomb {
        /// The bound, in bytes.
        max_bytes: usize,
    },
    /// A batch being built does not fit the format's 31-bit sizes, or its codec failed.
    #[error("the batch cannot be built: {0}")]
    Build(String),
}

/// A batch's attribute bits (KIP-98, KIP-534).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The codec of the records; `None` when the bits name none that exists.
    pub const fn codec(self) -> Option<Codec> {
        Codec::from_bits(self.0)
    }

    /// Whether every record's time is the batch's `max_timestamp`, set by the broker (S39).
    pub const fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch is a marker of the broker's and not data (S22).
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether `base_timestamp` is the time from which compaction may drop tombstones (KIP-534).
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// These attributes with another codec.
    #[must_use]
    pub const fn with_codec(self, codec: Codec) -> Self {
        Self((self.0 & !Self::CODEC) | codec as i16)
    }

    /// These attributes with the log-append-time bit set or cleared.
    #[must_use]
    pub const fn with_log_append_time(self, on: bool) -> Self {
        self.with(Self::LOG_APPEND_TIME, on)
    }

    /// These attributes with the transactional bit set or cleared.
    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    /// These attributes with the control bit set or cleared.
    #[must_use]
    pub const fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    /// These attributes with the delete-horizon bit set or cleared.
    #[must_use]
    pub const fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    const fn with(self, bit: i16, on: bool) -> Self {
        if on { Self(self.0 | bit) } else { Self(self.0 & !bit) }
    }
}

/// The header of a v2 batch, its fields by Kafka's names and in wire order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record as it was produced; compaction may have removed that record.
    pub base_offset: i64,
    /// Bytes that follow this field.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch.
    pub partition_leader_epoch: i32,
    /// Always [`MAGIC`].
    pub magic: i8,
    /// CRC-32C of everything behind this field.
    pub crc: u32,
    /// Codec, timestamp type and the transaction bits.
    pub attributes: Attributes,
    /// Offset of the last record produced, relative to `base_offset`; compaction leaves it as it is (S93).
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from, or the delete horizon.
    pub base_timestamp: Timestamp,
    /// The largest timestamp of the records, or the time of the append.
    pub max_timestamp: Timestamp,
    /// The idempotent producer's id, or -1.
    pub producer_id: i64,
    /// The producer's epoch, or -1.
    pub producer_epoch: i16,
    /// The first record's sequence number, or -1.
    pub base_sequence: i32,
    /// Records in the batch; after compaction fewer than `last_offset_delta + 1`.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`. The rest of the batch need not be there, and its CRC is not looked at.
    ///
    /// # Errors
    /// Fewer than [`HEADER_LEN`] bytes, another magic, or a length below that of an empty batch.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Truncated { need: HEADER_LEN, have: bytes.len() });
        };
        let header = Self::decode(head);
        if header.magic != MAGIC {
            return Err(BatchError::Magic(header.magic));
        }
        if header.batch_length < LENGTH_MIN {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(header)
    }

    /// The fields of a header, whatever they say.
    pub(super) fn decode(head: &[u8; HEADER_LEN]) -> Self {
        Self {
            base_offset: i64::from_be_bytes(field(head, 0)),
            batch_length: i32::from_be_bytes(field(head, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(head, 12)),
            magic: i8::from_be_bytes(field(head, 16)),
            crc: u32::from_be_bytes(field(head, 17)),
            attributes: Attributes(i16::from_be_bytes(field(head, CRC_FROM))),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: i64::from_be_bytes(field(head, 27)),
            max_timestamp: i64::from_be_bytes(field(head, 35)),
            producer_id: i64::from_be_bytes(field(head, 43)),
            producer_epoch: i16::from_be_bytes(field(head, 51)),
            base_sequence: i32::from_be_bytes(field(head, 53)),
            records_count: i32::from_be_bytes(field(head, 57)),
        }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut head = [0; HEADER_LEN];
        head[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        head[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        head[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        head[16..17].copy_from_slice(&self.magic.to_be_bytes());
        head[17..21].copy_from_slice(&self.crc.to_be_bytes());
        head[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        head[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        head[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        head[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        head[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        head[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        head[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        head[57..61].copy_from_slice(&self.records_count.to_be_bytes());
        head
    }

    /// Bytes of the whole batch, this header included.
    pub fn total_len(&self) -> usize {
        non_negative(self.batch_length) + LENGTH_OVERHEAD
    }

    /// Offset of the last record produced in this batch.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after this batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence number of the last record, wrapped as producers wrap it (S48); -1 without a sequence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        sequence_after(self.base_sequence, self.last_offset_delta)
    }

    /// The time of a record of this batch: base plus delta, or the batch's own under log append time (S39).
    #[inline]
    pub(super) fn timestamp_of(&self, delta: i64) -> Timestamp {
        if self.attributes.is_log_append_time() {
            return self.max_timestamp;
        }
        // A sum beyond 64 bits wraps, as it does in every reader of the record.
        self.base_timestamp.wrapping_add(delta)
    }

    /// The largest timestamp of its records; -1 if compaction has left none of them.
    pub fn newest_record(&self) -> Timestamp {
        if self.records_count == 0 { NO_TIMESTAMP } else { self.max_timestamp }
    }

    /// Whether a producer with an id wrote this batch.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }
}

/// One whole batch, borrowed. Its frame is sound; whether the CRC matches is asked for with [`BatchView::crc_ok`].
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the front of `bytes`; what follows it is left alone.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`], and when the bytes end before the batch does.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let need = header.total_len();
        match bytes.get(..need) {
            Some(bytes) => Ok(Self { header, bytes }),
            None => Err(BatchError::Truncated { need, have: bytes.len() }),
        }
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: the records, compressed or not.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// The records, decompressed if need be to at most `max_bytes`.
    ///
    /// # Errors
    /// A codec that does not exist, bytes that do not decompress, or more than `max_bytes` of them. What the records
    /// themselves say is checked as they are read.
    pub fn records(&self, max_bytes: usize) -> Result<Records<'a>, BatchError> {
        Records::open(self, max_bytes)
    }

    /// Whether the bytes are those the CRC was made for.
    pub fn crc_ok(&self) -> bool {
        crc_of(self.bytes) == self.header.crc
    }
}

/// Writes base offset and leader epoch into the batch at the front of `bytes`. Both are outside the CRC; the first
/// [`STAMP_LEN`] bytes suffice. Shorter bytes are left alone.
pub fn stamp(bytes: &mut [u8], base_offset: i64, leader_epoch: i32) {
    debug_assert!(bytes.len() >= STAMP_LEN, "{} bytes hold no batch", bytes.len());
    if let Some(head) = bytes.first_chunk_mut::<STAMP_LEN>() {
        head[0..8].copy_from_slice(&base_offset.to_be_bytes());
        head[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    }
}

/// The CRC-32C that belongs into the header of the whole batch `bytes`.
pub(super) fn crc_of(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes.get(CRC_FROM..).unwrap_or_default())
}

/// Writes the CRC of the whole batch `bytes` into its header.
pub fn seal(bytes: &mut [u8]) {
    let crc = crc_of(bytes);
    if let Some(place) = bytes.get_mut(CRC_FROM - 4..CRC_FROM) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
}

fn field<const N: usize>(head: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&head[at..at + N]);
    out
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
#[cfg(test)]
pub(super) use tests::edited;
