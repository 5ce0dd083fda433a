//! The end that a user asks for: Ctrl-C, a signal, or a terminal that closes.

use std::io;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::note;

/// Hears signals for a verb that runs until it is stopped.
#[derive(Debug)]
pub(super) struct Interrupt {
    signals: [Signal; 3],
    /// Whether a signal has been heard.
    heard: bool,
}

impl Interrupt {
    /// Hears signals from now on.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = || -> io::Result<[Signal; 3]> {
            Ok([
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ])
        };
        Ok(Self { signals: listen().context("cannot listen for signals")?, heard: false })
    }

    /// Waits for a signal. May be dropped while it waits.
    pub(super) async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        self.heard = true;
    }

    /// From now on the second signal ends the process: what is left to do may hang. A verb that ends because its input
    /// did has heard none yet: Ctrl-C goes to all of `generate | streamd produce …`, and what was read is still written
    /// if the end of the input is seen before the signal.
    pub(super) fn second_one_ends_it(mut self) {
        tokio::spawn(async move {
            if !self.heard {
                self.asked().await;
                note("still at work; Ctrl-C again ends it at once");
            }
            self.asked().await;
            std::process::exit(130);
        });
    }
}
