//! What a produce request waits for: one place for each of its partitions, one wake-up when all are answered.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use atomic_waker::AtomicWaker;

use crate::types::{ErrorCode, Timestamp};

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record; for a recognised duplicate, that of the original (S47).
    pub base_offset: i64,
    /// The broker's time if the topic stamps it, else -1.
    pub log_append_time: Timestamp,
    /// The partition's first offset now.
    pub log_start: i64,
}

/// Why a batch is not acknowledged. `api/errors.rs` says what a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAppended {
    /// It was refused.
    Refused(ErrorCode),
    /// The topic is deleted.
    Gone,
    /// The broker stops; the batch is not in the log.
    Stopping,
    /// No segment can hold it.
    TooLarge,
    /// The disk is full or has failed. If it failed at the sync, the batch may be in the log.
    Storage,
    /// A bug: the batch was not given the log's next offset.
    Misplaced,
}

impl From<ErrorCode> for NotAppended {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code)
    }
}

/// The answer for one partition of a produce request.
pub type AppendResult = Result<Appended, NotAppended>;

/// The wait of one produce request. Partitions fill its slots from any thread; one task waits.
#[derive(Debug)]
pub struct AppendTicket {
    slots: Box<[OnceLock<AppendResult>]>,
    open: AtomicUsize,
    waker: AtomicWaker,
}

impl AppendTicket {
    /// A ticket with this many slots, all open.
    pub fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: (0..slots).map(|_| OnceLock::new()).collect(),
            open: AtomicUsize::new(slots),
            waker: AtomicWaker::new(),
        })
    }

    /// Answers a slot. Only the first answer counts.
    pub fn answer(&self, slot: usize, result: AppendResult) {
        let Some(place) = self.slots.get(slot) else { return };
        if place.set(result).is_ok() && self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }

    /// A slot's answer, if it has one.
    pub fn result(&self, slot: usize) -> Option<AppendResult> {
        self.slots.get(slot).and_then(|place| place.get().copied())
    }

    /// Whether all slots are answered.
    pub fn is_done(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Waits until all slots are answered.
    pub async fn done(&self) {
        poll_fn(|context| {
            if self.is_done() {
                return Poll::Ready(());
            }
            self.waker.register(context.waker());
            if self.is_done() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// What a batch's producer waits for.
#[derive(Debug, Clone)]
pub enum Ack {
    /// Nothing (acks=0); the slot is answered all the same, so that a failure can close the connection (S8).
    None(AckSlot),
    /// The append (acks=1).
    Leader(AckSlot),
    /// The high watermark (acks=all).
    All(AckSlot),
}

/// One slot of a ticket.
#[derive(Debug, Clone)]
pub struct AckSlot {
    /// The request's ticket.
    pub ticket: Arc<AppendTicket>,
    /// Which of its slots.
    pub slot: usize,
}

impl AckSlot {
    /// Answers it.
    pub fn answer(&self, result: AppendResult) {
        self.ticket.answer(self.slot, result);
    }
}

impl Ack {
    /// Answers it.
    pub fn answer(&self, result: AppendResult) {
        let (Self::None(place) | Self::Leader(place) | Self::All(place)) = self;
        place.answer(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: Appended = Appended { base_offset: 7, log_append_time: -1, log_start: 0 };

    #[tokio::test]
    async fn a_ticket_is_done_when_its_last_slot_is_answered() {
        let ticket = AppendTicket::new(2);
        ticket.answer(1, Err(ErrorCode::CorruptMessage.into()));
        ticket.answer(1, Ok(THERE));
        assert!(!ticket.is_done(), "a slot counts once");
        let waiting = tokio::spawn({
            let ticket = Arc::clone(&ticket);
            async move { ticket.done().await }
        });
        tokio::task::yield_now().await;
        ticket.answer(0, Ok(THERE));
        waiting.await.unwrap();
        assert_eq!(ticket.result(0), Some(Ok(THERE)));
        assert_eq!(ticket.result(1), Some(Err(NotAppended::Refused(ErrorCode::CorruptMessage))));
    }
}
