//! Doing on the spot what mostly waits for nothing, though it may.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;

/// The outcome of this work if it waits for nothing; otherwise it goes on from where it is when it is polled next. The
/// runtime's budget of polls does not count: it would make the later ones of many wait for nothing.
pub fn at_once<F: Future + ?Sized>(work: Pin<&mut F>) -> Option<F::Output> {
    match pin!(unconstrained(work)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// Work that ran into a bug: nothing is known of how far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it ran into a bug; what it was stands above in the log")]
pub(super) struct Panicked;

/// The outcome of work whose panic is not its caller's, as it would not be in a task of its own.
pub(super) async fn apart<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    #[tokio::test]
    async fn what_waits_goes_on_where_it_was() {
        let (tell, told) = oneshot::channel();
        let mut work = Box::pin(async move { told.await.unwrap() + 1 });
        assert_eq!(at_once(work.as_mut()), None);
        tell.send(1).unwrap();
        assert_eq!(work.await, 2);
    }

    #[tokio::test]
    async fn a_bug_in_what_is_done_apart_is_not_its_callers() {
        let later = async {
            tokio::task::yield_now().await;
            panic!("a bug")
        };
        assert_eq!(apart::<()>(async { panic!("a bug") }).await, Err(Panicked));
        assert_eq!(apart::<()>(later).await, Err(Panicked));
        assert_eq!(apart(async { 1 }).await, Ok(1));
    }

    #[tokio::test]
    async fn the_many_that_wait_for_nothing_are_all_done() {
        let room = Semaphore::new(1);
        for number in 0..10_000 {
            let mut work = Box::pin(async { drop(room.acquire().await) });
            assert_eq!(at_once(work.as_mut()), Some(()), "{number}");
        }
    }
}
