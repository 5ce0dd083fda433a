//! The frame of a verb that talks to a broker: threads, and their end.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;

/// How long tasks that nobody waits for may delay the end.
const GOODBYE: Duration = Duration::from_millis(100);

/// Runs a verb to its end. The verb has this thread to itself, so that writing to a slow terminal holds up neither
/// heartbeats nor fetches.
pub(super) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    run_on(1, work)
}

/// The same with this many threads beside this one.
pub(super) fn run_on<T>(threads: usize, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .thread_name("streamd-client")
        .build()
        .context("cannot start the threads")?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(GOODBYE);
    done
}
