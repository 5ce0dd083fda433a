//! Stopping, in order, and what a stop could not do.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Broker;

/// A stop after which everything that the broker held is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Logs that were open and are closed.
    pub logs: usize,
    /// Whether every log of an earlier unclean stop was recovered. If not, the next start goes on with that.
    pub recovered: bool,
}

/// A stop that left something behind.
#[derive(Debug, thiserror::Error)]
pub enum StopFault {
    /// The data directory is gone or another.
    #[error(
        "data_dir {} was removed or replaced while the broker ran: {why}. Nothing has been acknowledged since this was \
         noticed. Put the directory back where it was, or restore a copy, and start again; a start without it begins \
         with nothing.",
        path.display()
    )]
    Lost {
        /// Where it was.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// Something could not be written.
    #[error(
        "not everything could be brought to disk in data_dir {}: {why}. The next start recovers what is there; what was \
         acknowledged without waiting for the disk may be missing.",
        path.display()
    )]
    NotWritten {
        /// Where it is.
        path: PathBuf,
        /// What failed.
        why: String,
    },
}

impl Broker {
    /// Returns when the data directory is gone or another; never, if all is well. For one waiter.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Stops: coordinators finish what they have, logs are closed, synced and checkpointed, and the manifest says that
    /// all is well. Nothing may be served any more when this is called.
    ///
    /// # Errors
    /// [`StopFault`]; the broker is stopped all the same.
    pub async fn stop(self: Arc<Self>) -> Result<Stopped, StopFault> {
        // First, for their ends go through the groups.
        self.transactions.stop().await;
        self.groups.stop().await;
        self.catalog.stop().await;
        for task in std::mem::take(&mut *self.background.lock()) {
            task.abort();
        }
        let broker = Arc::clone(&self);
        let closing = tokio::task::spawn_blocking(move || broker.close_storage());
        match closing.await {
            Ok(result) => result,
            Err(_) => {
                Err(self.not_written("closing the logs ended in a bug; see its panic message".to_owned()))
            }
        }
    }

    fn close_storage(&self) -> Result<Stopped, StopFault> {
        self.cleaner.stop();
        self.scrub.stop();
        let health = self.data_dir.health();
        if health.is_lost() {
            // Paths may lead into somebody else's files by now.
            let why = health.error().map(ToString::to_string).unwrap_or_default();
            return Err(StopFault::Lost { path: self.data_dir.path().to_path_buf(), why });
        }
        let logs = self.partitions.all().len();
        let closed = self.partitions.close_all();
        // A clean start looks for no leftovers.
        self.unlinks.lock().unlink_all(health.room());
        self.checkpointer.stop();
        self.committer.stop();
        closed.map_err(|error| self.not_written(error.to_string()))?;
        if let Some(error) = health.error() {
            return Err(self.not_written(error.to_string()));
        }
        // The word of a good stop has the next start believe the rows without a look at the files.
        let behind = self.partitions.not_checkpointed();
        if behind > 0 {
            tracing::warn!(logs = behind, "not every log could be checkpointed: the next start recovers");
        }
        let recovered = self.recovered.load(Ordering::Acquire);
        if recovered && behind == 0 {
            let stopped = self.manifest.stopped(self.clock.now_ms());
            stopped.map_err(|error| self.not_written(error.to_string()))?;
        }
        Ok(Stopped { logs, recovered })
    }

    fn not_written(&self, why: String) -> StopFault {
        StopFault::NotWritten { path: self.data_dir.full_path(), why }
    }
}
