//! A shard in service: what whoever steps it needs, be it its task or a caller.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use super::mailbox::{Mailbox, Posted};
use crate::coord::shard::{Output, Shard};
use crate::coord::{LogFault, StateMachine, Ticket};
use crate::types::{ErrorCode, Timestamp};

/// The loaded shard, and those who wait for its answers.
pub(super) struct Desk<M: StateMachine> {
    shard: Shard<M>,
    /// Callers whose commands the shard has taken and not yet answered.
    waiting: HashMap<Ticket, oneshot::Sender<M::Reply>>,
    /// The last ticket given out.
    tickets: u64,
    /// Internal commands taken out of the mailbox and not yet decided.
    internal: VecDeque<M::Command>,
    /// When the task looks again by itself: a deadline before that needs it to be woken.
    sleeps_until: Timestamp,
    /// A step may have left more than it could take, or a deadline that is due.
    pub(super) more: bool,
    /// The shard is asked to stop.
    pub(super) stop: bool,
    /// The log has failed: the task loads again.
    fault: Option<LogFault>,
}

impl<M: StateMachine> Desk<M> {
    pub(super) fn new(shard: Shard<M>, internal: VecDeque<M::Command>) -> Self {
        Self {
            shard,
            waiting: HashMap::new(),
            tickets: 0,
            internal,
            sleeps_until: Timestamp::MAX,
            more: false,
            stop: false,
            fault: None,
        }
    }

    /// Takes what the mailbox holds, hands it to the shard, and carries out what the shard lets out.
    pub(super) fn step(&mut self, mailbox: &Mailbox<M>) {
        let taken = mailbox.take(&mut self.internal);
        let (waiting, tickets) = (&mut self.waiting, &mut self.tickets);
        let commands = taken.client.into_iter().map(|Posted { command, reply, .. }| {
            *tickets += 1;
            waiting.insert(Ticket(*tickets), reply);
            (Ticket(*tickets), command)
        });
        let now = mailbox.now();
        match self.shard.step(now, &taken.world, &mut self.internal, commands) {
            Ok(outputs) => self.carry_out(mailbox, outputs),
            Err(fault) => self.fault = Some(fault),
        }
        let deadline = self.shard.next_deadline();
        self.more = taken.more || deadline.is_some_and(|at| at <= now.steady);
        self.stop = taken.stop;
    }

    /// Whether only the task may go on.
    pub(super) fn is_for_task(&self) -> bool {
        self.more || self.stop || self.has_failed()
    }

    /// Whether the task would sleep through a deadline.
    pub(super) fn task_oversleeps(&self) -> bool {
        self.shard.next_deadline().is_some_and(|at| at < self.sleeps_until)
    }

    fn carry_out(&mut self, mailbox: &Mailbox<M>, outputs: Vec<Output<M>>) {
        for output in outputs {
            match output {
                Output::Effect(effect) => (mailbox.effects)(effect),
                Output::Reply(ticket, reply) => match self.waiting.remove(&ticket) {
                    // A caller that has gone away needs no answer.
                    Some(caller) => drop(caller.send(reply)),
                    None => {
                        debug_assert!(false, "{}: {ticket:?} is answered twice", mailbox.name);
                        tracing::error!(shard = %mailbox.name, ?ticket, "a command was answered twice");
                    }
                },
            }
        }
    }

    /// When the task has to look again without being woken, which it will: it goes to sleep now.
    pub(super) fn next_look(&mut self) -> Option<Timestamp> {
        let deadline = self.shard.next_deadline();
        self.sleeps_until = deadline.unwrap_or(Timestamp::MAX);
        deadline
    }

    /// Whether internal commands wait for room in the log.
    pub(super) fn is_blocked(&self) -> bool {
        !self.internal.is_empty()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.fault.is_some()
    }

    pub(super) fn take_fault(&mut self) -> Option<LogFault> {
        self.fault.take()
    }

    /// Whether something waits for the log to become durable.
    pub(super) fn is_holding(&self) -> bool {
        self.shard.is_holding()
    }

    /// The log's end after the last append.
    pub(super) fn end(&self) -> i64 {
        self.shard.end()
    }

    /// Answers every caller whose command dies with the shard's state, and gives back the internal commands that were
    /// never decided.
    pub(super) fn end_with(self, error: ErrorCode) -> VecDeque<M::Command> {
        for caller in self.waiting.into_values() {
            let _ = caller.send(M::refuse(error));
        }
        self.internal
    }
}
