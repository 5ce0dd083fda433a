//! Answers on their way out: one vectored write for what is in memory, `sendfile` for large slices of log files.
//!
//! On plain TCP a slice of the active segment that is in memory is handed to the kernel as a piece of its read map, so
//! the broker's own code never loads from the map; small slices elsewhere are read into memory if they are there. What is
//! not the blocking pool reads, a piece at a time, and that is what is sent: a worker does not wait for the disk, as far
//! as a look at what is in memory can tell. docs/decisions/fetch-path.md has the figures.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{ByteBudget, Drain, Reply, Transport};
use crate::broker::read_cold;
use crate::storage::log::LogSlice;
use crate::wire::encode::Chunk;

/// Slices up to this many bytes join the vectored write; larger ones go by `sendfile`.
const GATHER_BYTES_MAX: usize = 64 * 1024;
/// How much of small slices is read into memory ahead of a peer that may take nothing for long; and how much of a large
/// one is read from disk at a time.
const LOADED_BYTES_MAX: usize = 128 * 1024;
/// How much one `sendfile` call may move, and after how much other tasks get their turn.
const SENDFILE_BYTES_MAX: usize = 1 << 20;
/// How much one vectored write may take: as many bytes as a socket holds at most. Copying them is half a millisecond.
const GATHERED_BYTES_MAX: usize = 4 << 20;
/// How long a peer may take no answers when the broker stops.
const DRAIN_STALL_MAX: Duration = Duration::from_millis(500);
/// How many pieces one vectored write takes.
const PIECES_MAX: usize = 64;

/// Chunks of finished answers, in order.
#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    chunks: VecDeque<Chunk<LogSlice>>,
    /// Bytes of the first chunk, a slice, that have left already.
    sent: usize,
    /// The next bytes of the first chunk, a slice, where they had to be read. Not kept for a peer whose socket takes nothing.
    front: Bytes,
    /// Bytes of the first chunk, a slice with a map, that were found in memory, from its start.
    found: usize,
    /// Whether the peer or the disk was waited for since all had left: what was in memory before need not be any more.
    waited: bool,
    /// Bytes of answers in memory that were pushed since all had left.
    in_memory: usize,
}

impl WriteQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn push(&mut self, reply: Reply) {
        self.push_bytes(reply.head);
        let in_memory = |chunk: &Chunk<LogSlice>| match chunk {
            Chunk::Bytes(bytes) => bytes.len(),
            Chunk::Slice(_) => 0,
        };
        self.in_memory += reply.tail.iter().map(in_memory).sum::<usize>();
        self.chunks.extend(reply.tail);
    }

    pub(super) fn push_bytes(&mut self, bytes: Bytes) {
        self.in_memory += bytes.len();
        self.chunks.push_back(Chunk::Bytes(bytes));
    }

    /// Bytes of answers that stand in memory, counted until all have left; slices of log files do not stand there.
    pub(super) fn bytes_in_memory(&self) -> usize {
        self.in_memory
    }

    /// Writes everything. A peer that takes nothing for longer than it may is given up with `TimedOut`; once the broker
    /// drains, much sooner.
    pub(super) async fn write_to<T: Transport>(
        &mut self,
        io: &mut T,
        patience: Patience<'_>,
        drain: &mut Drain,
    ) -> io::Result<()> {
        while !self.chunks.is_empty() {
            match io.tcp() {
                Some(tcp) => {
                    self.look_at_mapped()?;
                    if self.load_small_slices().await? || self.load_cold_front().await? {
                        // What is in memory was looked for before this wait.
                        (self.found, self.waited) = (0, true);
                        continue;
                    }
                    let written = self.try_write_tcp(tcp).await;
                    if !written.inspect_err(|error| self.suspect(error))? {
                        self.front = Bytes::new();
                        within(patience, drain, tcp.writable()).await?;
                        (self.found, self.waited) = (0, true);
                    }
                }
                None => {
                    self.load_front().await?;
                    within(patience, drain, self.write_stream(io)).await?;
                }
            }
        }
        (self.in_memory, self.waited) = (0, false);
        Ok(())
    }

    /// Sees to it that what the next call takes out of maps is in memory: it would wait for the disk.
    fn look_at_mapped(&mut self) -> io::Result<()> {
        let (mut skip, mut found) = (self.sent, self.found);
        let mut room = GATHERED_BYTES_MAX;
        for (index, chunk) in self.chunks.iter_mut().take(PIECES_MAX).enumerate() {
            let len = chunk_len(chunk);
            let piece = (len - skip).min(room);
            if let Chunk::Slice(slice) = chunk
                && slice.mapped().is_some()
                && (self.waited || !slice.is_tail())
                && found < skip + piece
            {
                if !slice.is_resident(skip, piece).inspect_err(|_| slice.could_not_be_read())? {
                    slice.leave_map();
                } else if index == 0 {
                    self.found = skip + piece;
                }
            }
            room -= piece;
            if room == 0 {
                break;
            }
            (skip, found) = (0, 0);
        }
        Ok(())
    }

    /// Brings the slices at the front that are to be gathered into memory. Whether that took a wait for the disk.
    async fn load_small_slices(&mut self) -> io::Result<bool> {
        let (mut room, mut waited) = (LOADED_BYTES_MAX, false);
        for index in 0..self.chunks.len().min(PIECES_MAX) {
            let slice = match self.chunks.get(index) {
                Some(Chunk::Slice(slice)) if room > 0 => slice,
                Some(Chunk::Bytes(bytes)) => {
                    room = room.saturating_sub(bytes.len());
                    continue;
                }
                _ => break,
            };
            if slice.mapped().is_some() {
                continue;
            }
            let skip = if index == 0 { self.sent } else { 0 };
            let left = slice.len() - skip;
            if left > GATHER_BYTES_MAX || (index == 0 && !self.front.is_empty()) {
                break;
            }
            let bytes = match load_resident(slice, skip, left)? {
                Some(bytes) => bytes,
                None => {
                    waited = true;
                    load_cold(slice, skip, left).await?
                }
            };
            room = room.saturating_sub(left);
            if index == 0 {
                self.sent = 0;
            }
            self.chunks[index] = Chunk::Bytes(bytes);
        }
        Ok(waited)
    }

    /// Reads some of the slice at the front if `sendfile` would wait for the disk. Whether that took a wait for it.
    async fn load_cold_front(&mut self) -> io::Result<bool> {
        let Some(Chunk::Slice(slice)) = self.chunks.front() else { return Ok(false) };
        if slice.mapped().is_some() || !self.front.is_empty() {
            return Ok(false);
        }
        let is_resident =
            |bytes| slice.is_resident(self.sent, bytes).inspect_err(|_| slice.could_not_be_read());
        if is_resident(SENDFILE_BYTES_MAX)? {
            return Ok(false);
        }
        if is_resident(LOADED_BYTES_MAX)?
            && let Some(bytes) = load_resident(slice, self.sent, LOADED_BYTES_MAX)?
        {
            self.front = bytes;
            return Ok(false);
        }
        self.front = load_cold(slice, self.sent, LOADED_BYTES_MAX).await?;
        Ok(true)
    }

    /// Reads some of the slice at the front, if there is one.
    async fn load_front(&mut self) -> io::Result<()> {
        if let Some(Chunk::Slice(slice)) = self.chunks.front()
            && self.front.is_empty()
        {
            self.front = match load_resident(slice, self.sent, LOADED_BYTES_MAX)? {
                Some(bytes) => bytes,
                None => load_cold(slice, self.sent, LOADED_BYTES_MAX).await?,
            };
        }
        Ok(())
    }

    /// One write to a plain socket; `false` when it takes nothing now.
    async fn try_write_tcp(&mut self, tcp: &TcpStream) -> io::Result<bool> {
        let outcome = match self.chunks.front() {
            Some(Chunk::Slice(slice)) if slice.mapped().is_none() && self.front.is_empty() => {
                tcp.try_io(Interest::WRITABLE, || self.send_file(tcp, slice))
            }
            _ => tcp.try_io(Interest::WRITABLE, || self.gather(tcp)),
        };
        match outcome {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => {
                self.advance(sent);
                if sent >= SENDFILE_BYTES_MAX {
                    tokio::task::yield_now().await;
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// If it was not the peer but the disk that failed a write, the slices in it are tried before they are sent again.
    fn suspect(&self, error: &io::Error) {
        let of_disk = [Errno::IO, Errno::FAULT].map(|errno| Some(errno.raw_os_error()));
        if of_disk.contains(&error.raw_os_error()) || error.kind() == io::ErrorKind::UnexpectedEof {
            let slices = self.chunks.iter().take(PIECES_MAX).filter_map(|chunk| match chunk {
                Chunk::Slice(slice) => Some(slice),
                Chunk::Bytes(_) => None,
            });
            slices.for_each(LogSlice::could_not_be_read);
        }
    }

    fn send_file(&self, tcp: &TcpStream, slice: &LogSlice) -> io::Result<usize> {
        let mut offset = slice.position() + self.sent as u64;
        let bytes = (slice.len() - self.sent).min(SENDFILE_BYTES_MAX);
        match rustix::fs::sendfile(tcp, slice.file(), Some(&mut offset), bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            sent => Ok(sent),
        }
    }

    /// One vectored write of what stands in memory or in a map at the front.
    fn gather(&self, tcp: &TcpStream) -> io::Result<usize> {
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let (mut count, mut room) = (0, GATHERED_BYTES_MAX);
        let mut flags = SendFlags::NOSIGNAL;
        for (index, chunk) in self.chunks.iter().enumerate() {
            let sent = if index == 0 { self.sent } else { 0 };
            let rest = match chunk {
                Chunk::Bytes(bytes) => bytes.get(sent..),
                Chunk::Slice(_) if index == 0 && !self.front.is_empty() => Some(&*self.front),
                Chunk::Slice(slice) => slice.mapped().and_then(|bytes| bytes.get(sent..)),
            };
            let Some(rest) = rest else {
                flags |= SendFlags::MORE;
                break;
            };
            if count == PIECES_MAX || room == 0 {
                flags |= SendFlags::MORE;
                break;
            }
            let piece = &rest[..rest.len().min(room)];
            room -= piece.len();
            pieces[count] = IoSlice::new(piece);
            count += 1;
            if sent + piece.len() < chunk_len(chunk) {
                flags |= SendFlags::MORE;
                break;
            }
        }
        let mut control = SendAncillaryBuffer::default();
        Ok(sendmsg(tcp, &pieces[..count], &mut control, flags)?)
    }

    /// Writes what is in memory at the front to a stream that is not a plain socket.
    async fn write_stream<T: Transport>(&mut self, io: &mut T) -> io::Result<()> {
        loop {
            match self.chunks.front() {
                Some(Chunk::Bytes(bytes)) => self.front = bytes.slice(self.sent..),
                Some(Chunk::Slice(_)) if !self.front.is_empty() => {}
                _ => break,
            }
            let bytes = self.front.len();
            io.write_all_buf(&mut self.front).await?;
            self.advance(bytes);
        }
        io.flush().await
    }

    fn advance(&mut self, mut bytes: usize) {
        self.front.advance(bytes.min(self.front.len()));
        while let Some(chunk) = self.chunks.front() {
            let left = chunk_len(chunk) - self.sent;
            if bytes < left {
                self.sent += bytes;
                return;
            }
            bytes -= left;
            (self.sent, self.found) = (0, 0);
            self.chunks.pop_front();
        }
    }
}

fn chunk_len(chunk: &Chunk<LogSlice>) -> usize {
    match chunk {
        Chunk::Bytes(bytes) => bytes.len(),
        Chunk::Slice(slice) => slice.len(),
    }
}

/// For how long a peer may take nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience<'a> {
    /// However much it is owed (`connections.max.idle.ms`); `None` is for ever.
    pub(super) idle_max: Option<Duration>,
    /// While this budget is full, for those whose answers take much of it.
    pub(super) when_full: Option<(Duration, &'a ByteBudget)>,
}

impl Patience<'_> {
    /// Returns, with what to say of it, when a peer that took nothing since the call may do so no longer.
    async fn ends(self) -> &'static str {
        let began = Instant::now();
        loop {
            let silent = began.elapsed();
            if self.idle_max.is_some_and(|max| silent >= max) {
                return "the peer takes no answers";
            }
            let full = |(max, budget): (Duration, &ByteBudget)| silent >= max && !budget.has_room();
            if self.when_full.is_some_and(full) {
                return "the peer takes no answers, and all memory for requests is taken";
            }
            let left = self.idle_max.map_or(Duration::MAX, |max| max - silent);
            let again = self.when_full.map_or(Duration::MAX, |(max, _)| max);
            match left.min(again) {
                Duration::MAX => std::future::pending().await,
                wait => tokio::time::sleep(wait).await,
            }
        }
    }
}

async fn within(
    patience: Patience<'_>,
    drain: &mut Drain,
    write: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let mut write = pin!(write);
    let stalled = |why| io::Error::new(io::ErrorKind::TimedOut, why);
    if !drain.begun() {
        tokio::select! {
            biased;
            written = write.as_mut() => return written,
            why = patience.ends() => return Err(stalled(why)),
            () = drain.wait() => {}
        }
    }
    let last = tokio::time::timeout(DRAIN_STALL_MAX, write).await;
    last.map_err(|_| stalled("the peer takes no answers"))?
}

/// At most so many bytes of a slice behind those that were sent; `None` if they are not all in the page cache.
fn load_resident(slice: &LogSlice, sent: usize, bytes_max: usize) -> io::Result<Option<Bytes>> {
    let mut buffer = vec![0; (slice.len() - sent).min(bytes_max)];
    let mut read = 0;
    while read < buffer.len() {
        match slice.try_read_resident(sent + read, &mut buffer[read..]) {
            Ok(0) => return Ok(None),
            Ok(more) => read += more,
            Err(error) => {
                slice.could_not_be_read();
                return Err(error);
            }
        }
    }
    Ok(Some(buffer.into()))
}

/// The same, wherever they are: by the blocking pool.
async fn load_cold(slice: &LogSlice, sent: usize, bytes_max: usize) -> io::Result<Bytes> {
    let slice = slice.clone();
    read_cold(move || {
        let mut buffer = vec![0; (slice.len() - sent).min(bytes_max)];
        slice.read_into(sent, &mut buffer).inspect_err(|_| slice.could_not_be_read())?;
        Ok(buffer.into())
    })
    .await?
}
