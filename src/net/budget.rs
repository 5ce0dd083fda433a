//! The bound on request bytes held by all connections together: over it, connections stop reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Counts request bytes in memory, over all connections.
///
/// Over the limit nobody reads, except one connection at a time that holds the overflow permit: it can always finish
/// the frame that it has begun, so connections with half a frame each cannot wait for one another for ever. The bytes
/// held are thus at most the limit, one frame, and what each connection had read when the limit was reached.
#[derive(Debug)]
pub struct ByteBudget {
    used: AtomicU64,
    bytes_max: u64,
    released: Notify,
    overflow: Arc<Semaphore>,
}

/// The right to read more.
#[derive(Debug)]
pub enum Admission {
    /// There is room.
    Room,
    /// There is none, but this connection may go on until its frame is whole.
    Overflow(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
}

impl ByteBudget {
    /// A budget of this many bytes.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicU64::new(0),
            bytes_max,
            released: Notify::new(),
            overflow: Arc::new(Semaphore::new(1)),
        })
    }

    /// Whether there is room now: the cheap question before each read.
    pub fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.bytes_max
    }

    /// Waits for the right to read.
    pub async fn admit(&self) -> Admission {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if self.has_room() {
                return Admission::Room;
            }
            tokio::select! {
                () = released => {}
                permit = Arc::clone(&self.overflow).acquire_owned() => {
                    if let Ok(permit) = permit {
                        return Admission::Overflow(permit);
                    }
                }
            }
        }
    }

    /// Counts bytes that a connection now holds.
    pub fn take(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives counted bytes back.
    pub fn give(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        if before >= self.bytes_max {
            self.released.notify_waiters();
        }
    }

    /// Bytes held now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn over_the_limit_one_connection_may_finish_and_the_others_wait_for_room() {
        let budget = ByteBudget::new(10);
        assert!(matches!(budget.admit().await, Admission::Room));
        budget.take(12);
        let overflow = budget.admit().await;
        assert!(matches!(overflow, Admission::Overflow(_)));
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { matches!(budget.admit().await, Admission::Room) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the permit is taken and there is no room");
        budget.give(12);
        assert!(waiting.await.unwrap(), "room came back");
        drop(overflow);
    }
}
