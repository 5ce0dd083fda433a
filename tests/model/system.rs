//! The system's calls that this test answers itself: the linker takes these for the C library's, also for the standard
//! library's own calls.

#![allow(unsafe_code, reason = "a C function cannot be replaced without it")]

use std::os::fd::{BorrowedFd, RawFd};

use crate::disk;

/// `ENOSPC`.
const NO_SPACE: i32 = 28;

unsafe extern "C" {
    fn __errno_location() -> *mut i32;
}

fn fail(errno: i32) -> isize {
    // SAFETY: the C library's place for the calling thread's error.
    unsafe { *__errno_location() = errno };
    -1
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: RawFd) -> i32 {
    disk::sync(fd);
    0
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: RawFd) -> i32 {
    disk::sync(fd);
    0
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: RawFd, from: *const u8, len: usize, at: i64) -> isize {
    if disk::refuses(fd) {
        return fail(NO_SPACE);
    }
    // SAFETY: the caller's promise: an open descriptor, and `len` bytes to be read at `from`.
    let (file, bytes) = unsafe { (BorrowedFd::borrow_raw(fd), std::slice::from_raw_parts(from, len)) };
    let written = rustix::io::pwrite(file, bytes, u64::try_from(at).unwrap_or(u64::MAX));
    answer(written)
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: RawFd, from: *const u8, len: usize) -> isize {
    if disk::refuses(fd) {
        return fail(NO_SPACE);
    }
    // SAFETY: as above.
    let (file, bytes) = unsafe { (BorrowedFd::borrow_raw(fd), std::slice::from_raw_parts(from, len)) };
    answer(rustix::io::write(file, bytes))
}

fn answer(written: rustix::io::Result<usize>) -> isize {
    match written {
        Ok(count) => isize::try_from(count).unwrap_or(isize::MAX),
        Err(errno) => fail(errno.raw_os_error()),
    }
}
