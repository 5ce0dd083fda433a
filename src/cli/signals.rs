//! Signals: the first SIGTERM or SIGINT asks for a drain, the second ends the process at once; SIGHUP asks for the
//! settings to be read again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a broker hears.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// A signal that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

impl Signals {
    /// Hears signals from now on.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal; `None` is SIGHUP, which asks for the settings to be read again.
    pub(super) async fn any(&mut self) -> Option<Asked> {
        tokio::select! {
            _ = self.terminate.recv() => Some(Asked::Terminate),
            _ = self.interrupt.recv() => Some(Asked::Interrupt),
            _ = self.hangup.recv() => None,
        }
    }

    /// Waits for the next signal that asks to stop. While a broker starts or stops it reads no settings again.
    pub(super) async fn next(&mut self) -> Asked {
        loop {
            match self.any().await {
                Some(asked) => return asked,
                None => tracing::warn!("SIGHUP: not now, the broker is starting or stopping"),
            }
        }
    }
}

impl Asked {
    /// The signal's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    /// The exit code of a process that it ended: 128 and its number, as shells have it.
    pub(super) fn exit_code(self) -> i32 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }
}
