//! What the fuzzers run on an input. Each panics when something is wrong; `fuzz/fuzz_targets` and the replay share it.

use bytes::Bytes;
use streamd::api::table;
use streamd::wire::frame::{FrameBuffer, FrameError, FrameLimits};
use streamd::wire::{DecodeError, Reader, RequestHeader, RequestStart};

const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 4096, other_bytes_max: 1024 };

/// One connection's bytes, received in pieces whose sizes the first byte decides: the frames are the same as when all
/// comes at once, and the buffer stays small.
pub(crate) fn frames(input: &[u8]) {
    let Some((&step, stream)) = input.split_first() else { return };
    let step = usize::from(step).max(1);
    let whole = take_all(std::iter::once(stream));
    let pieces = take_all(stream.chunks(step));
    assert_eq!(whole, pieces, "in pieces of {step}");
}

/// The frames of a connection that receives these pieces, and the error that ended it.
fn take_all<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Bytes>, Option<FrameError>) {
    let mut buffer = FrameBuffer::new(LIMITS);
    let mut frames = Vec::new();
    for piece in pieces {
        buffer.space(usize::MAX).extend_from_slice(piece);
        buffer.received(piece.len());
        loop {
            match buffer.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.bytes.len() <= LIMITS.frame_bytes_max);
                    assert!(buffer.allocated() >= frame.bytes.len());
                    frames.push(frame.bytes);
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// One frame, from its header to its last byte.
pub(crate) fn requests(input: &[u8]) {
    decode(input);
}

/// Decodes a frame as the broker does; `None` when its API or version is not served.
pub(crate) fn decode(frame: &[u8]) -> Option<Result<(), DecodeError>> {
    let frame = Bytes::copy_from_slice(frame);
    let start = RequestStart::peek(&frame)?;
    let api = table::row(start.api_key)?;
    api.spec.serves(start.version).then(|| {
        let mut reader = Reader::new(&frame, false);
        let start = RequestStart::decode(&mut reader)?;
        RequestHeader::decode(&mut reader, start, api.spec.is_flexible(start.version))?;
        (api.decode)(&mut reader, start.version).map(drop)
    })
}
