//! Doing on the spot what mostly waits for nothing, though it may.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;

/// The outcome of this work if it waits for nothing; otherwise it goes on from where it is when it is polled next. The
/// runtime's budget of polls does not count: it would make the later ones of many wait for nothing.
pub fn at_once<F: Future + ?Sized>(work: Pin<&mut F>) -> Option<F::Output> {
    match std::pin::pin!(unconstrained(work)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
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
    async fn the_many_that_wait_for_nothing_are_all_done() {
        let room = Semaphore::new(1);
        for number in 0..10_000 {
            let mut work = Box::pin(async { drop(room.acquire().await) });
            assert_eq!(at_once(work.as_mut()), Some(()), "{number}");
        }
    }
}
