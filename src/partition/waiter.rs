//! Long polls: what a fetch sleeps on, without lost signals.
//!
//! A fetch registers one waiter with every partition that it read, looks at the watermarks again, and sleeps. A
//! partition whose watermark moves marks itself ready and wakes the waiter, so the fetch looks again at that partition
//! alone, whatever the number it waits for.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;

use super::read::Isolation;

/// What one fetch sleeps on.
#[derive(Debug, Default)]
pub struct FetchWaiter {
    ready: Mutex<BTreeSet<usize>>,
    waker: AtomicWaker,
}

impl FetchWaiter {
    /// A waiter for whom nothing is ready.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The partition that the fetch knows by this slot has something new.
    pub fn signal(&self, slot: usize) {
        if let Some(fetch) = self.mark(slot) {
            fetch.wake();
        }
    }

    /// The same for those who hold a lock that the fetch takes next: whoever is to be woken after it.
    pub(super) fn mark(&self, slot: usize) -> Option<Waker> {
        let first = {
            let mut ready = self.ready.lock();
            let was_empty = ready.is_empty();
            ready.insert(slot);
            was_empty
        };
        if first { self.waker.take() } else { None }
    }

    /// Waits until a partition is ready and takes the slots of all that are, in order.
    pub async fn ready(&self) -> Vec<usize> {
        poll_fn(|context| {
            self.waker.register(context.waker());
            let ready = std::mem::take(&mut *self.ready.lock());
            if ready.is_empty() { Poll::Pending } else { Poll::Ready(ready.into_iter().collect()) }
        })
        .await
    }
}

/// One registration at a partition.
#[derive(Debug, Clone)]
pub(super) struct Watcher {
    pub(super) waiter: Arc<FetchWaiter>,
    pub(super) slot: usize,
    /// Which records it waits for.
    pub(super) isolation: Isolation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signals_before_and_during_the_wait_are_seen() {
        let waiter = FetchWaiter::new();
        waiter.signal(3);
        waiter.signal(3);
        assert_eq!(waiter.ready().await, [3]);
        let waiting = tokio::spawn({
            let waiter = Arc::clone(&waiter);
            async move { waiter.ready().await }
        });
        tokio::task::yield_now().await;
        waiter.signal(1);
        assert_eq!(waiting.await.unwrap(), [1]);
    }
}
