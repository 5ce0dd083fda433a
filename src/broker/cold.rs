//! Reads of what is not in memory: on threads that may wait for the disk, and never on so many that nothing is left for
//! others that have to wait.

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// Reads of this kind that go on at a time; more wait. A disk that takes long answers no sooner when it is asked for
/// more, and every other use of the runtime's blocking threads, appends that may stand still among them, needs one
/// while these wait.
const READS_MAX: usize = 64;
static READS: Semaphore = Semaphore::const_new(READS_MAX);

/// Reads on a thread that may wait for the disk, as soon as there is a place. Once begun it is ended, whoever waits for
/// it.
///
/// # Errors
/// It panicked, or the runtime is going down.
pub async fn read_cold<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    let place = READS.acquire().await;
    let reading = move || {
        // Held to the end of the read.
        let _place = place;
        read()
    };
    spawn_blocking(reading).await
}
