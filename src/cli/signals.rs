//! Signals: the first SIGTERM or SIGINT asks for a drain, the second ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a broker to stop.
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

    /// Waits for the next signal that asks to stop. SIGHUP asks for settings to be read again, which needs a restart
    /// in this version: it is answered with a log line.
    pub(super) async fn next(&mut self) -> Asked {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Asked::Terminate,
                _ = self.interrupt.recv() => return Asked::Interrupt,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP: settings are read at start only. Restart to change them");
                }
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
