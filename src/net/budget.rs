//! The bound on memory for requests of all connections together: over it, connections stop reading.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Counts the memory allocated for requests, over all connections, whether their frames are whole or not, as long as they
/// are not answered, and for larger answers as long as they are not taken.
///
/// Over the limit nobody reads, with two exceptions. A connection that holds next to nothing may read a little, so that
/// small requests always get through; and one connection at a time, which holds the overflow permit, can finish the
/// frame that it has begun, so that connections with half a frame each cannot wait for one another for ever. The memory
/// held is thus at most the limit, one frame, one receive for each thread that reads, and a little for each connection.
#[derive(Debug)]
pub struct ByteBudget {
    used: AtomicU64,
    bytes_max: u64,
    released: Notify,
    overflow: Arc<Semaphore>,
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

    /// How much room there is.
    fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used())
    }

    /// Waits until there is room, or for the overflow permit if that would do.
    async fn admit(self: Arc<Self>, permit_will_do: bool) -> Option<OwnedSemaphorePermit> {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if self.has_room() {
                return None;
            }
            tokio::select! {
                () = released => {}
                permit = Arc::clone(&self.overflow).acquire_owned(), if permit_will_do => {
                    if let Ok(permit) = permit {
                        return Some(permit);
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

/// One connection's way to the budget.
pub(super) struct Gate {
    budget: Arc<ByteBudget>,
    /// What is counted for this connection.
    held: u64,
    permit: Option<OwnedSemaphorePermit>,
    /// Set while the connection has something to read and may not.
    asking: Option<Asking>,
}

struct Asking {
    permit_will_do: bool,
    admission: Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>,
}

impl Gate {
    pub(super) fn new(budget: Arc<ByteBudget>) -> Self {
        Self { budget, held: 0, permit: None, asking: None }
    }

    /// Ready when the connection may read. One that waits for answers waits for room; only one that does not, and so is
    /// seen when it stands still, may take the permit.
    pub(super) fn poll_open(&mut self, context: &mut Context<'_>, permit_will_do: bool) -> Poll<()> {
        if self.permit.is_none() && !self.budget.has_room() {
            if self.asking.as_ref().is_none_or(|asking| asking.permit_will_do != permit_will_do) {
                let admission = Box::pin(Arc::clone(&self.budget).admit(permit_will_do));
                self.asking = Some(Asking { permit_will_do, admission });
            }
            if let Some(asking) = &mut self.asking {
                self.permit = ready!(asking.admission.as_mut().poll(context));
            }
        }
        self.asking = None;
        Poll::Ready(())
    }

    /// Whether there is no room for anybody.
    pub(super) fn is_full(&self) -> bool {
        !self.budget.has_room()
    }

    /// How much may be allocated at once, if that is a matter of choice.
    pub(super) fn room(&self) -> usize {
        usize::try_from(self.budget.room()).unwrap_or(usize::MAX)
    }

    /// Whether memory is to spare that connections may keep to use it again.
    pub(super) fn is_easy(&self) -> bool {
        self.budget.room() > self.budget.bytes_max / 2
    }

    /// Whether this connection has something to read and is held back.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Lets the next one have the permit: no frame is begun.
    pub(super) fn leave(&mut self) {
        (self.permit, self.asking) = (None, None);
    }

    /// Sets what this connection holds now.
    pub(super) fn hold(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        match bytes.checked_sub(self.held) {
            Some(0) => return,
            Some(more) => self.budget.take(more),
            None => self.budget.give(self.held - bytes),
        }
        self.held = bytes;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn open(gate: &mut Gate) {
        poll_fn(|context| gate.poll_open(context, true)).await;
    }

    #[tokio::test]
    async fn over_the_limit_one_connection_may_finish_and_the_others_wait_for_room() {
        let budget = ByteBudget::new(10);
        let mut first = Gate::new(Arc::clone(&budget));
        open(&mut first).await;
        assert!(first.permit.is_none(), "there is room");
        first.hold(12);
        open(&mut first).await;
        assert!(first.permit.is_some() && first.is_full());
        let waiting = tokio::spawn({
            let mut second = Gate::new(Arc::clone(&budget));
            async move {
                open(&mut second).await;
                second.permit.is_some()
            }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the permit is taken and there is no room");
        first.hold(3);
        assert!(!waiting.await.unwrap(), "room came back");
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_permit_that_is_left_goes_to_the_next() {
        let budget = ByteBudget::new(10);
        let [mut first, mut second] = [(); 2].map(|()| Gate::new(Arc::clone(&budget)));
        first.hold(10);
        open(&mut first).await;
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(second.poll_open(&mut context, true).is_pending() && second.is_asking());
        first.leave();
        assert!(second.poll_open(&mut context, false).is_pending(), "it waits for room");
        open(&mut second).await;
        assert!(second.permit.is_some() && !second.is_asking());
    }
}
