//! Draining: stop accepting, let what was started finish, close; after a deadline, just close.

use tokio::sync::watch;

/// Tells everyone who serves that it is time to stop.
#[derive(Debug)]
pub struct ShutdownHandle(watch::Sender<bool>);

/// Hears it.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<bool>);

/// A handle and the ear for it.
pub fn shutdown() -> (ShutdownHandle, Drain) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownHandle(sender), Drain(receiver))
}

impl ShutdownHandle {
    /// Begins the drain.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Waits until nobody listens any more: every listener and connection has ended.
    pub async fn finished(&self) {
        self.0.closed().await;
    }
}

impl Drain {
    /// Whether the drain has begun.
    pub fn begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the drain begins, also when the handle is gone.
    pub async fn wait(&mut self) {
        let _gone = self.0.wait_for(|begun| *begun).await;
    }
}
