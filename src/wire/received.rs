//! The memory under a connection's received bytes: blocks, each counted from its allocation until nobody holds a part of
//! it any more. Knows no frames; `frame` decides how much room is made and what is taken.
//!
//! Bytes are received into the last block. A frame that outgrows it goes on in a further block instead of moving to a
//! larger one, and is put together once, when it is whole: what is held follows the bytes that came, and not the powers
//! of two above them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};

/// One allocation, for as long as this handle or another of its kind is held.
#[derive(Debug)]
pub struct Block {
    bytes: usize,
    allocated: Arc<AtomicUsize>,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.allocated.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes that have come and are not taken.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Where the bytes begin, if they are more than the last block holds; none of them has room left.
    earlier: Vec<(BytesMut, Arc<Block>)>,
    earlier_len: usize,
    /// The end of the bytes, with room behind it.
    last: BytesMut,
    /// The allocation under `last`.
    block: Option<Arc<Block>>,
    /// The size of all blocks that are alive, those included that only taken bytes hold.
    allocated: Arc<AtomicUsize>,
}

impl Received {
    pub(super) fn len(&self) -> usize {
        self.earlier_len + self.last.len()
    }

    /// How much more fits into the last block.
    pub(super) fn spare(&self) -> usize {
        self.last.capacity() - self.last.len()
    }

    /// Whether the bytes lie in more than one block.
    pub(super) fn is_in_pieces(&self) -> bool {
        !self.earlier.is_empty()
    }

    /// The bytes at the front that lie in one piece.
    pub(super) fn front(&self) -> &[u8] {
        self.earlier.first().map_or(&self.last, |(piece, _)| piece)
    }

    pub(super) fn last(&mut self) -> &mut BytesMut {
        &mut self.last
    }

    /// The size of the last block, 0 if there is none.
    pub(super) fn block_bytes(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.bytes)
    }

    pub(super) fn allocated(&self) -> usize {
        self.allocated.load(Ordering::Relaxed)
    }

    /// Sees to `wanted` bytes of room behind what the last block holds: in the block itself if nobody else holds it and
    /// it is of about the right size, else by moving to another.
    pub(super) fn make_room(&mut self, wanted: usize) {
        let bytes = self.last.len() + wanted;
        let fits = self.block_bytes() <= OVERSIZE * bytes;
        if !fits || self.block.is_none() || !self.last.try_reclaim(wanted) {
            self.move_to(bytes);
        }
    }

    /// Goes on in a further block of this size.
    pub(super) fn add_piece(&mut self, bytes: usize) {
        if self.last.len() * 2 < self.block_bytes() {
            // Most of the block belongs to frames that were taken: the rest would keep it alive for little.
            return self.make_room(bytes);
        }
        let last = std::mem::take(&mut self.last);
        if let Some(block) = self.block.take().filter(|_| !last.is_empty()) {
            self.earlier_len += last.len();
            self.earlier.push((last, block));
        }
        self.move_to(bytes);
    }

    /// Takes `len` bytes behind the first `skip`, in one piece. There must be as many.
    pub(super) fn take(&mut self, skip: usize, len: usize) -> (Bytes, Arc<Block>) {
        if self.is_in_pieces() {
            return self.put_together(skip, len);
        }
        self.last.advance(skip);
        let bytes = self.last.split_to(len).freeze();
        let block = match &self.block {
            Some(block) => Arc::clone(block),
            None => self.count(0),
        };
        (bytes, block)
    }

    fn put_together(&mut self, mut skip: usize, len: usize) -> (Bytes, Arc<Block>) {
        let mut whole = BytesMut::with_capacity(len);
        let block = self.count(whole.capacity());
        self.earlier_len = 0;
        // Each piece is freed when it is copied.
        for (piece, _block) in self.earlier.drain(..) {
            whole.extend_from_slice(piece.get(skip..).unwrap_or_default());
            skip = skip.saturating_sub(piece.len());
        }
        self.last.advance(skip);
        let rest = self.last.split_to(len - whole.len());
        whole.extend_from_slice(&rest);
        (whole.freeze(), block)
    }

    /// Gives up the last block, if it holds no bytes.
    pub(super) fn free_empty(&mut self) {
        if self.last.is_empty() {
            (self.last, self.block) = (BytesMut::new(), None);
        }
    }

    /// Drops the bytes and the room behind them.
    pub(super) fn clear(&mut self) {
        self.earlier.clear();
        self.earlier_len = 0;
        (self.last, self.block) = (BytesMut::new(), None);
    }

    /// Gives up the room behind the bytes, if it is much.
    pub(super) fn trim(&mut self, spare_max: usize) {
        self.free_empty();
        if self.block_bytes() > 2 * self.last.len() + spare_max {
            self.move_to(self.last.len() + spare_max);
        }
    }

    fn move_to(&mut self, bytes: usize) {
        let mut to = BytesMut::with_capacity(bytes);
        to.extend_from_slice(&self.last);
        self.block = Some(self.count(to.capacity()));
        self.last = to;
    }

    fn count(&self, bytes: usize) -> Arc<Block> {
        self.allocated.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Block { bytes, allocated: Arc::clone(&self.allocated) })
    }
}

/// How many times as large as needed a block may be that is used again.
const OVERSIZE: usize = 4;
