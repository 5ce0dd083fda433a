//! Where work goes that may take long and has to be done before the task goes on.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::storage::flush::Committer;

/// Runs work that may take long on this thread, after handing the runtime's other tasks to another one.
pub fn off_worker<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Runs work that writes into the page cache: here, which is soon done, unless the write may stand still and would leave
/// too few workers for everything else ([`Committer::watch`]); then [`off_worker`].
pub(super) fn writes_here<T>(committer: &Committer, write: impl FnOnce() -> T) -> T {
    let workers = || Handle::try_current().map_or(1, |handle| handle.metrics().num_workers());
    committer.watch(workers, |elsewhere| if elsewhere { off_worker(write) } else { write() })
}
