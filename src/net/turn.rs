//! How long a connection has its thread to itself.
//!
//! A client that always has more to say would keep its connection's task from ever sleeping, and with it all tasks that
//! wait for the same thread: those that its own requests woke first of all, for no other thread takes them over. So a
//! connection that has been busy for a turn goes to the end of the queue, whether there is more for it or not.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

/// The longest turn, but for what is in the midst of it.
pub(super) const TURN_MAX: Duration = Duration::from_millis(1);

/// A turn that has begun.
#[derive(Debug)]
pub(super) struct Turn(Instant);

impl Turn {
    /// Begins now.
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// When it ends.
    pub(super) fn end(&self) -> Instant {
        self.0 + TURN_MAX
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.0.elapsed() >= TURN_MAX
    }

    /// Lets others have the thread if it is over; then the next one begins.
    pub(super) async fn pass_on(&mut self) {
        if self.is_over() {
            tokio::task::yield_now().await;
            *self = Self::begin();
        }
    }

    /// Waits. Where that took no sleep the turn goes on, or is passed on.
    pub(super) async fn wait<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        let mut slept = false;
        let outcome = poll_fn(|context| {
            let polled = wait.as_mut().poll(context);
            slept |= polled.is_pending();
            polled
        })
        .await;
        if slept {
            *self = Self::begin();
        } else {
            self.pass_on().await;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// How often another task had the thread while one waited ten times for what this does.
    async fn turns_of_others<T, F: Future<Output = T>>(wait: impl Fn() -> F) -> usize {
        let turns = Arc::new(AtomicUsize::new(0));
        let other = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move {
                loop {
                    turns.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut turn = Turn::begin();
        for _ in 0..10 {
            turn.wait(wait()).await;
        }
        other.abort();
        turns.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn who_never_sleeps_lets_others_have_the_thread_after_each_turn() {
        let busy = || async { std::thread::sleep(TURN_MAX) };
        assert_eq!(turns_of_others(busy).await, 10);
        assert!(turns_of_others(|| async {}).await < 10, "a turn is not over yet");
    }

    #[tokio::test]
    async fn who_sleeps_lets_them_have_it_no_more_often() {
        let asleep = || async {
            tokio::task::yield_now().await;
            std::thread::sleep(TURN_MAX / 4);
        };
        assert_eq!(turns_of_others(asleep).await, 10);
    }
}
