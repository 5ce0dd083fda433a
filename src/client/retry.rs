//! Trying again what may work in a moment.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::topics::LOOKUPS_MAX;
use super::{Client, Error};
use crate::types::ErrorCode;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Runs `attempt` until it works, fails for good, or the client's time is over.
pub(super) async fn retry<T>(
    client: &Client,
    mut attempt: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut backoff = Backoff::new(client.options().timeout);
    loop {
        match attempt().await {
            Err(error) if client.may_pass(&error) => sleep(backoff.after(error)?).await,
            done => return done,
        }
    }
}

/// How long to wait before the next try, and when to stop trying.
#[derive(Debug)]
pub(super) struct Backoff {
    limit: Duration,
    /// Since when nothing has worked.
    since: Option<Instant>,
    pause: Duration,
    failures: u32,
}

impl Backoff {
    /// Gives up when nothing has worked for `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: None, pause: PAUSE_MIN, failures: 0 }
    }

    /// After a failure: the pause before the next try, which doubles from one failure to the next.
    ///
    /// # Errors
    /// The failure itself, when the time is over.
    pub(super) fn after(&mut self, error: Error) -> Result<Duration, Error> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let pause = self.pause;
        if now + pause > since + self.limit {
            return Err(Error::GaveUp { after: now - since, last: Box::new(error) });
        }
        self.pause = (pause * 2).min(PAUSE_MAX);
        self.failures += 1;
        Ok(pause)
    }

    /// Something has worked: the next failure is the first.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Whether looking up leaders again may help after this failure. A topic that is not there may only not be known
    /// yet, for some look-ups.
    pub(super) fn bears(&self, error: &Error) -> bool {
        let is_missing = error.code() == Some(ErrorCode::UnknownTopicOrPartition);
        error.is_transient() && !(is_missing && self.failures >= LOOKUPS_MAX)
    }

    /// Failures since something worked.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Error {
        Error::Lost { address: "a:1".to_owned(), reason: "gone".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_until_the_time_is_over() {
        let began = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(10));
        let gave_up = loop {
            match backoff.after(lost()) {
                Ok(pause) => sleep(pause).await,
                Err(error) => break error,
            }
        };
        assert!(matches!(gave_up, Error::GaveUp { last, .. } if *last == lost()));
        assert!((10..20).contains(&backoff.failures()), "{}", backoff.failures());
        assert!(began.elapsed() <= Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn success_starts_the_time_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(50));
        for _ in 0..10 {
            sleep(backoff.after(lost()).unwrap()).await;
            backoff.reset();
            assert_eq!(backoff.failures(), 0);
        }
        sleep(backoff.after(lost()).unwrap()).await;
        assert!(backoff.after(lost()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_is_missing_is_looked_for_a_few_times_and_others_until_the_time_is_over() {
        let refused = |code: ErrorCode| Error::refused("read t-0".to_owned(), code.code(), None);
        let mut backoff = Backoff::new(Duration::from_secs(60));
        for _ in 0..LOOKUPS_MAX {
            assert!(backoff.bears(&refused(ErrorCode::UnknownTopicOrPartition)));
            sleep(backoff.after(lost()).unwrap()).await;
        }
        assert!(!backoff.bears(&refused(ErrorCode::UnknownTopicOrPartition)));
        assert!(backoff.bears(&refused(ErrorCode::NotLeaderOrFollower)));
        assert!(!backoff.bears(&refused(ErrorCode::TopicAuthorizationFailed)));
    }
}
