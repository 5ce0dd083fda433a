//! One vectored write for all batches of a drain.
//!
//! Small batches are copied into a scratch buffer, so that a hundred of them are one slice for the kernel; of a large
//! one only the stamped front is copied, and the rest is written from where the network put it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice};

use super::AppendBatch;
use crate::record::batch::{STAMP_LEN, stamp};

thread_local! {
    /// One buffer for each thread and not for each partition: an idle partition keeps nothing.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes the batches, stamped with their offsets and epochs, to `position`.
pub(super) fn write_batches(file: &File, position: u64, batches: &[AppendBatch<'_>]) -> io::Result<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        let large = fill(scratch, batches);
        let result = if large <= FEW {
            write_slices::<{ 2 * FEW + 2 }>(file, position, scratch, batches)
        } else {
            write_slices::<IOV_MAX>(file, position, scratch, batches)
        };
        if scratch.capacity() > SCRATCH_BYTES_MAX {
            *scratch = Vec::new();
        }
        result
    })
}

/// Copies what has to be copied; returns how many batches are written from their own place.
fn fill(scratch: &mut Vec<u8>, batches: &[AppendBatch<'_>]) -> usize {
    let mut large = 0;
    for batch in batches {
        let from = scratch.len();
        if is_small(batch) {
            scratch.extend_from_slice(batch.bytes);
        } else {
            large += 1;
            scratch.extend_from_slice(&batch.bytes[..STAMP_LEN]);
        }
        stamp(&mut scratch[from..], batch.base_offset, batch.leader_epoch);
    }
    large
}

fn is_small(batch: &AppendBatch<'_>) -> bool {
    batch.bytes.len() <= SMALL_BYTES_MAX
}

fn write_slices<const N: usize>(
    file: &File,
    mut position: u64,
    scratch: &[u8],
    batches: &[AppendBatch<'_>],
) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); N];
    let (mut used, mut run, mut at) = (0, 0, 0);
    for batch in batches {
        if is_small(batch) {
            at += batch.bytes.len();
            continue;
        }
        // What was copied since the last large batch, this one's front included; then its rest.
        at += STAMP_LEN;
        slices[used] = IoSlice::new(&scratch[run..at]);
        slices[used + 1] = IoSlice::new(&batch.bytes[STAMP_LEN..]);
        used += 2;
        run = at;
        if used + 2 > N {
            position = write_all(file, position, &mut slices[..used])?;
            used = 0;
        }
    }
    if at > run {
        slices[used] = IoSlice::new(&scratch[run..at]);
        used += 1;
    }
    write_all(file, position, &mut slices[..used])?;
    Ok(())
}

fn write_all(file: &File, mut position: u64, mut slices: &mut [IoSlice<'_>]) -> io::Result<u64> {
    while !slices.is_empty() {
        let written = match slices {
            // The kernel has less to do for one.
            [one] => rustix::io::pwrite(file, one, position),
            _ => rustix::io::pwritev(file, slices, position),
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(position)
}

/// The largest batch that is copied: below it, a slice more costs the kernel as much as the copy.
const SMALL_BYTES_MAX: usize = 4096;
/// Large batches that the common, short list of slices holds.
const FEW: usize = 8;
/// Slices that the kernel takes in one call.
const IOV_MAX: usize = 1024;
/// Scratch that a thread keeps: a whole drain of small batches.
const SCRATCH_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
