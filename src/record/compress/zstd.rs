//! Zstandard frames.
//!
//! Making a decompression context costs ten times what decompressing a small batch does, so each thread keeps one,
//! unless a frame's window has made it large.

use std::cell::Cell;
use std::io;

use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::WINDOW_BYTES;

/// A context up to this size is kept for the thread's next payload, in bytes.
const KEPT_MAX_BYTES: usize = 4 << 20;

thread_local! {
    static KEPT: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
}

/// Reads frame after frame.
pub(super) struct Reader<'a> {
    /// There until it is dropped.
    context: Option<DCtx<'static>>,
    rest: &'a [u8],
    /// A frame has begun and not ended.
    in_frame: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(payload: &'a [u8]) -> io::Result<Self> {
        let context = match KEPT.try_with(Cell::take).ok().flatten() {
            Some(context) => context,
            None => DCtx::try_create().ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?,
        };
        Ok(Self { context: Some(context), rest: payload, in_frame: false })
    }

    pub(super) fn fill(&mut self, window: &mut Vec<u8>) -> io::Result<usize> {
        if window.len() < WINDOW_BYTES {
            window.resize(WINDOW_BYTES, 0);
        }
        while self.in_frame || !self.rest.is_empty() {
            let Some(context) = &mut self.context else { break };
            let mut input = InBuffer::around(self.rest);
            let mut output = OutBuffer::around(window.as_mut_slice());
            let left = context.decompress_stream(&mut output, &mut input);
            let left = left.map_err(|code| io::Error::other(get_error_name(code)))?;
            let (taken, given) = (input.pos(), output.pos());
            self.rest = self.rest.get(taken..).unwrap_or_default();
            self.in_frame = left != 0;
            if given > 0 {
                return Ok(given);
            }
            if taken == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a frame is cut off"));
            }
        }
        Ok(0)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let kept = self.context.take().filter(|context| context.sizeof() <= KEPT_MAX_BYTES);
        if let Some(mut context) = kept
            && context.reset(ResetDirective::SessionOnly).is_ok()
        {
            // Fails when the thread is ending; then it goes with it.
            let _ = KEPT.try_with(|slot| slot.set(Some(context)));
        }
    }
}
