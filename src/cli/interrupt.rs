//! The end that a user asks for: Ctrl-C, a signal, or a terminal that closes.

use std::io;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears signals for a verb that runs until it is stopped.
#[derive(Debug)]
pub(super) struct Interrupt {
    signals: [Signal; 3],
}

impl Interrupt {
    /// Hears signals from now on. After the first one, a second ends the process at once.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = || -> io::Result<[Signal; 3]> {
            Ok([
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ])
        };
        Ok(Self { signals: listen().context("cannot listen for signals")? })
    }

    /// Waits for a signal. May be dropped while it waits.
    pub(super) async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// From now on another signal ends the process: what is left to do may hang.
    pub(super) fn next_one_ends_it(mut self) {
        tokio::spawn(async move {
            self.asked().await;
            std::process::exit(130);
        });
    }
}
