//! Where work goes that may take long and has to be done before the task goes on.

use crate::storage::flush::Committer;

/// Runs work that may take long on this thread, after handing the runtime's other tasks to another one.
pub fn off_worker<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Runs work that writes into the page cache: here, which is soon done, unless the disk is so far behind that the write
/// may stand still; then [`off_worker`].
pub(super) fn writes_here<T>(committer: &Committer, write: impl FnOnce() -> T) -> T {
    committer.watch(|may_stall| if may_stall { off_worker(write) } else { write() })
}
