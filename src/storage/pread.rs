//! Positioned reads, in two forms: one that may wait for the disk and one that never does.
//!
//! The second is what network threads use: one call that copies what is in memory or says that it is not, so nothing
//! can be evicted between asking and touching.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;

use rustix::io::{Errno, ReadWriteFlags};

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Answer [`io::ErrorKind::WouldBlock`] instead.
    Never,
    /// The calling thread is one that may block.
    MayBlock,
}

/// Reads at most `into.len()` bytes at `position`; 0 at the end of the file.
pub(super) fn read_some(file: &File, position: u64, into: &mut [u8], wait: Wait) -> io::Result<usize> {
    match wait {
        Wait::MayBlock => loop {
            match file.read_at(into, position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        },
        Wait::Never => read_resident(file, position, into),
    }
}

/// Fills `into` from `position` on. A file that ends before is [`io::ErrorKind::UnexpectedEof`].
pub(super) fn read_full(file: &File, position: u64, into: &mut [u8], wait: Wait) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        let read = read_some(file, position + done as u64, &mut into[done..], wait)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        done += read;
    }
    Ok(())
}

fn read_resident(file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
    if into.is_empty() {
        return Ok(0);
    }
    loop {
        let mut target = [IoSliceMut::new(into)];
        match rustix::io::preadv2(file, &mut target, position, ReadWriteFlags::NOWAIT) {
            Ok(read) => return Ok(read),
            Err(Errno::INTR) => {}
            // A file system that cannot tell what is in memory.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn both_forms_read_what_is_there() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        for wait in [Wait::Never, Wait::MayBlock] {
            let mut into = [0; 4];
            read_full(&file, 3, &mut into, wait).unwrap();
            assert_eq!(&into, b"3456");
            assert_eq!(read_some(&file, 8, &mut into, wait).unwrap(), 2);
            assert_eq!(read_some(&file, 10, &mut into, wait).unwrap(), 0);
            assert_eq!(
                read_full(&file, 8, &mut into, wait).unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof
            );
        }
    }
}
