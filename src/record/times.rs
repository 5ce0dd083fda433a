//! Offsets and times of a batch's records, read past without holding the records: a lookup by time costs a
//! decompressor's window of memory, however much the batch unpacks to.

use super::batch::{BatchError, BatchView};
use super::compress::Inflate;
use crate::types::{Codec, Timestamp};

impl BatchView<'_> {
    /// The offset and time of the first record that `wanted` accepts. Nothing behind it is decompressed or checked.
    ///
    /// # Errors
    /// A codec that does not exist, bytes that do not decompress, more than `max_bytes` of them, or records that are
    /// not as the header says, as far as was read.
    pub fn find_time(
        &self,
        max_bytes: usize,
        wanted: impl Fn(i64, Timestamp) -> bool,
    ) -> Result<Option<(i64, Timestamp)>, BatchError> {
        let header = self.header();
        let codec = header.attributes.codec().ok_or(BatchError::Codec(header.attributes))?;
        match header.records_count {
            // An empty batch keeps what it was compressed to, if anything.
            0 => return Ok(None),
            count if count < 0 => return Err(BatchError::Count(count)),
            _ => {}
        }
        let max_bytes = if codec == Codec::None { self.payload().len() } else { max_bytes };
        let mut source = Inflate::new(codec, self.payload(), max_bytes)?;
        for _ in 0..header.records_count {
            let fields = match source.next_record() {
                Ok(fields) => fields,
                Err(flaw) => return Err(source.explain(flaw)),
            };
            let offset = header.base_offset.saturating_add(i64::from(fields.offset_delta));
            let timestamp = header.timestamp_of(fields.timestamp_delta);
            if wanted(offset, timestamp) {
                return Ok(Some((offset, timestamp)));
            }
        }
        if source.at_end()? { Ok(None) } else { Err(BatchError::Surplus) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic::Compression;
    use crate::record::build::{BatchBuilder, NewRecord};

    const LARGE: usize = 8 << 20;

    /// Record 7 at time 70, then a large one at 80, then one at 60.
    fn batch(codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(7).compression(Compression { codec, level: 1 });
        let value = vec![0; LARGE];
        for (timestamp, len) in [(70, 1), (80, LARGE), (60, 1)] {
            let value = value.get(..len);
            builder.push(&NewRecord { timestamp, key: None, value, headers: &[] });
        }
        builder.build().unwrap().to_vec()
    }

    #[test]
    fn no_more_is_decompressed_than_is_looked_at() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bytes = batch(codec);
            let batch = BatchView::parse(&bytes).unwrap();
            let at_least = |target: i64, max| batch.find_time(max, |_, timestamp| timestamp >= target);
            assert_eq!(at_least(0, LARGE / 2), Ok(Some((7, 70))), "{codec:?}");
            assert_eq!(at_least(75, 2 * LARGE), Ok(Some((8, 80))), "{codec:?}");
            assert_eq!(at_least(90, 2 * LARGE), Ok(None), "{codec:?}");
            let bounded = at_least(75, LARGE / 2);
            assert_eq!(bounded.is_err(), codec != Codec::None, "{codec:?}: {bounded:?}");
        }
    }

    #[test]
    fn records_that_break_off_are_an_error_unless_the_one_looked_for_is_before() {
        let mut bytes = batch(Codec::None);
        let cut = bytes.len() - 100;
        bytes.truncate(cut);
        let length = i32::try_from(cut - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let batch = BatchView::parse(&bytes).unwrap();
        assert_eq!(batch.find_time(0, |offset, _| offset == 7), Ok(Some((7, 70))));
        assert_eq!(batch.find_time(0, |offset, _| offset == 8), Err(BatchError::Record("it ends early")));
    }
}
