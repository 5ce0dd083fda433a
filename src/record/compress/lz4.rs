//! The LZ4 frame format, as narrow as Kafka's Java client reads it.
//!
//! Java reads one frame of independent blocks and knows neither dictionaries nor the legacy frame; `lz4_flex` knows
//! more than that and takes a frame that breaks off between blocks for a finished one. So the frame is walked first,
//! block by block without decompressing, and only what Java can read gets through.

use std::io::{self, Read};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::WINDOW_BYTES;

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// Version 01 and independent blocks, with no reserved or dictionary bit: the part of FLG that is not free.
const FLAGS_FIXED: u8 = 0b1110_0011;
const FLAGS_WANTED: u8 = 0b0110_0000;
const BLOCK_CHECKSUMS: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
const UNCOMPRESSED: u32 = 0x8000_0000;

/// Reads one frame.
pub(super) struct Reader<'a> {
    decoder: FrameDecoder<&'a [u8]>,
}

impl<'a> Reader<'a> {
    /// Over the frame at the front of `payload`. What follows the frame is ignored, as Java does.
    pub(super) fn new(payload: &'a [u8]) -> io::Result<Self> {
        let frame = whole_frame(payload)?;
        Ok(Self { decoder: FrameDecoder::new(frame) })
    }

    pub(super) fn fill(&mut self, window: &mut Vec<u8>) -> io::Result<usize> {
        if window.len() < WINDOW_BYTES {
            window.resize(WINDOW_BYTES, 0);
        }
        let read = self.decoder.read(window)?;
        // A block of nothing looks like the end to the decoder, and is an error to Java.
        if read == 0 && !self.decoder.get_ref().is_empty() {
            return Err(malformed("a block is empty"));
        }
        Ok(read)
    }
}

/// The frame at the front of `payload`, from its magic to its end mark and checksum.
fn whole_frame(payload: &[u8]) -> io::Result<&[u8]> {
    let cut_off = || malformed("the frame is cut off");
    let mut rest = payload.strip_prefix(&MAGIC).ok_or_else(|| malformed("it is no LZ4 frame"))?;
    let flags = *rest.first().ok_or_else(cut_off)?;
    if flags & FLAGS_FIXED != FLAGS_WANTED {
        return Err(malformed("the frame asks for what Kafka cannot read, such as dependent blocks"));
    }
    // FLG, BD, the content's size if there, header checksum.
    let descriptor = if flags & CONTENT_SIZE == 0 { 3 } else { 11 };
    rest = rest.get(descriptor..).ok_or_else(cut_off)?;
    let checksum = if flags & BLOCK_CHECKSUMS == 0 { 0 } else { 4 };
    loop {
        let (head, behind) = rest.split_first_chunk().ok_or_else(cut_off)?;
        let head = u32::from_le_bytes(*head);
        if head == 0 {
            rest = behind;
            break;
        }
        let len = usize::try_from(head & !UNCOMPRESSED).map_err(io::Error::other)?;
        rest = behind.get(len.saturating_add(checksum)..).ok_or_else(cut_off)?;
    }
    let trailer = if flags & CONTENT_CHECKSUM == 0 { 0 } else { 4 };
    rest = rest.get(trailer..).ok_or_else(cut_off)?;
    payload.get(..payload.len() - rest.len()).ok_or_else(cut_off)
}

/// Writes a frame as Java does: independent blocks of 64 KiB, no checksums but the header's. Behind `prefix`. There
/// is one level only.
pub(super) fn writer(prefix: Vec<u8>) -> FrameEncoder<Vec<u8>> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    FrameEncoder::with_frame_info(info, prefix)
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
