//! Who writes the markers of which transaction at this moment: one at a time for each transactional id.
//!
//! A coordinator that loads anew asks for markers again, while the writer that was asked before may still wait to try a
//! partition once more. Transactions of V1 follow each other under one epoch, so what that writer came with after the
//! second one was done would end the next transaction. So it ends before the next writer begins.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::at_once;
use crate::txn::Attempt;

/// The writers at work, by transactional id.
#[derive(Debug, Default)]
pub(super) struct MarkerWriters(Mutex<HashMap<Arc<str>, Writer>>);

/// A writer, and which asking it answers.
#[derive(Debug)]
struct Writer {
    attempt: Attempt,
    task: JoinHandle<()>,
}

impl MarkerWriters {
    /// Begins `write` when the writer of this id before it has ended: where it waits, never while it appends. Without one
    /// before it, it goes as far as it gets without waiting before this returns. Called by one at a time for each id.
    pub(super) fn begin(
        self: &Arc<Self>,
        id: &Arc<str>,
        attempt: Attempt,
        write: impl Future<Output = ()> + Send + 'static,
    ) {
        let before = self.0.lock().remove(id);
        let mut write = Box::pin(write);
        // Mostly nothing has to be waited for: the partitions are open, and what is appended is visible.
        if before.is_none() && at_once(write.as_mut()).is_some() {
            return;
        }
        let mut writers = self.0.lock();
        let (this, own_id) = (Arc::clone(self), Arc::clone(id));
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                before.task.abort();
                // Cancelled or done, it appends no more.
                let _ = before.task.await;
            }
            write.await;
            this.end(&own_id, attempt);
        });
        writers.insert(Arc::clone(id), Writer { attempt, task });
    }

    fn end(&self, id: &Arc<str>, attempt: Attempt) {
        let mut writers = self.0.lock();
        if writers.get(id).is_some_and(|writer| writer.attempt == attempt) {
            writers.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_was_asked_again_writes_no_more_once_the_next_one_has_begun() {
        let writers = Arc::new(MarkerWriters::default());
        let id: Arc<str> = "id".into();
        let (told, mut tell) = mpsc::channel(8);
        let again_and_again = told.clone();
        writers.begin(&id, Attempt::of_test(1), async move {
            loop {
                again_and_again.send(1).await.unwrap();
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
        assert_eq!(tell.recv().await, Some(1));
        writers.begin(&id, Attempt::of_test(2), async move { told.send(2).await.unwrap() });
        assert_eq!(tell.recv().await, Some(2));
        // All senders are gone, the first writer's too.
        assert_eq!(tell.recv().await, None);
        assert!(writers.0.lock().is_empty(), "nobody is remembered");
    }

    #[tokio::test]
    async fn a_writer_that_waits_for_nothing_is_done_when_it_has_begun() {
        let writers = Arc::new(MarkerWriters::default());
        let (told, mut tell) = mpsc::channel(8);
        writers.begin(&"id".into(), Attempt::of_test(1), async move { told.send(1).await.unwrap() });
        assert_eq!(tell.try_recv(), Ok(1));
        assert!(writers.0.lock().is_empty());
    }

    #[tokio::test]
    async fn writers_of_other_ids_do_not_wait_for_each_other() {
        let writers = Arc::new(MarkerWriters::default());
        let (told, mut tell) = mpsc::channel(8);
        writers.begin(&"one".into(), Attempt::of_test(1), std::future::pending());
        writers.begin(&"two".into(), Attempt::of_test(2), async move { told.send(()).await.unwrap() });
        tell.recv().await.unwrap();
    }
}
