//! Draining: stop accepting, let what was started finish, close; after a deadline, just close.

use tokio::sync::watch;

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Serving,
    /// What was started may finish.
    Draining,
    /// Nothing may go on.
    Cut,
}

/// Tells everyone who serves that it is time to stop.
#[derive(Debug)]
pub struct ShutdownHandle(watch::Sender<Stage>);

/// Hears it.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Stage>);

/// A handle and the ear for it.
pub fn shutdown() -> (ShutdownHandle, Drain) {
    let (sender, receiver) = watch::channel(Stage::Serving);
    (ShutdownHandle(sender), Drain(receiver))
}

impl ShutdownHandle {
    /// Begins the drain.
    pub fn begin(&self) {
        self.0.send_replace(Stage::Draining);
    }

    /// Ends it: connections that are still open close where they stand, and what they wait for is not answered.
    pub fn cut(&self) {
        self.0.send_replace(Stage::Cut);
    }

    /// Waits until nobody listens any more: every listener and connection has ended.
    pub async fn finished(&self) {
        self.0.closed().await;
    }
}

impl Drain {
    /// Whether the drain has begun.
    pub fn begun(&self) -> bool {
        *self.0.borrow() >= Stage::Draining
    }

    /// Resolves when the drain begins, also when the handle is gone.
    pub async fn wait(&mut self) {
        let _gone = self.0.wait_for(|stage| *stage >= Stage::Draining).await;
    }

    /// Resolves when the drain is ended before everybody is done.
    pub async fn cut(mut self) {
        if self.0.wait_for(|stage| *stage == Stage::Cut).await.is_err() {
            std::future::pending().await
        }
    }
}
