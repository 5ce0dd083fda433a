//! The scrub: a thread that goes through all logs at a low rate and looks whether they still read as they were written.
//!
//! Damage is then found before somebody needs what is damaged, while there may still be a copy of it elsewhere. How a
//! segment is read stands in [`crate::storage::scrub`]; here is in which order, how often, and what is said about it.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::cleaner::NICENESS;
use super::start::CLUSTER_METADATA;
use super::{Broker, random};
use crate::catalog::TopicImage;
use crate::config::ScrubRules;
use crate::partition::OpenFault;
use crate::storage::compaction::{Pace, Stopping};
use crate::storage::layout::{QUARANTINE, partition_dir};
use crate::storage::log::{Damage, kept_until_repair};
use crate::storage::scrub::{Finding, Part, Scrubber, known_damage, parts_of_row};
use crate::types::{Clock, TopicId, TopicPartition};

/// The scrub's thread and its pace.
#[derive(Debug)]
pub(super) struct Scrub {
    rules: ScrubRules,
    pace: Pace,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A log that is looked through.
struct Scrubbed {
    topic: Arc<str>,
    id: TopicPartition,
    /// `None` for the catalog's own, which is open whenever the broker runs.
    image: Option<Arc<TopicImage>>,
}

/// What a round has come to.
#[derive(Debug, Default)]
struct Round {
    segments: u64,
    bytes: u64,
    /// Stretches that were found damaged.
    damaged: usize,
    /// Those that were known before.
    known: usize,
    unreadable: u64,
    told_at: Duration,
}

impl Scrub {
    pub(super) fn new(rules: ScrubRules, clock: &Clock) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let rate = rules.bytes_per_second as f64;
        Self { rules, pace: Pace::new(clock.clone(), rate), thread: Mutex::default() }
    }

    /// Starts the thread. It ends when the broker is gone, or has told what is known if there is to be no scrub.
    pub(super) fn start(self: &Arc<Self>, broker: &Arc<Broker>) -> io::Result<()> {
        let (scrub, broker) = (Arc::clone(self), Arc::downgrade(broker));
        let named = std::thread::Builder::new().name("scrub".to_owned());
        *self.thread.lock() = Some(named.spawn(move || {
            // A stop is all that ends it early.
            let _ = scrub.run(&broker);
        })?);
        Ok(())
    }

    /// Ends it where it is.
    pub(super) fn end(&self) {
        self.pace.stop();
    }

    /// [`Scrub::end`], and waits for the thread.
    pub(super) fn stop(&self) {
        self.end();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the scrub's thread ended badly");
        }
    }

    fn run(&self, broker: &Weak<Broker>) -> Result<(), Stopping> {
        // As the cleaners' threads: clients go first.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
        self.tell_known(broker)?;
        if self.rules.bytes_per_second == 0 {
            return Ok(());
        }
        self.await_recovery(broker)?;
        loop {
            self.round(broker)?;
            self.pace.sleep(self.rules.interval, self.pace.news())?;
        }
    }

    /// Says at a start what earlier ones found damaged: one line for each partition.
    fn tell_known(&self, broker: &Weak<Broker>) -> Result<(), Stopping> {
        let logs = broker.upgrade().ok_or(Stopping)?.scrubbed_logs();
        for log in logs {
            let broker = broker.upgrade().ok_or(Stopping)?;
            let dir = broker.data_dir.path().join(partition_dir(&log.topic, log.id.partition));
            if !dir.join(QUARANTINE).exists() {
                continue;
            }
            let damage = known_damage(&dir);
            let Some((first, last)) = damage.first().zip(damage.last()) else { continue };
            let mut shown: Vec<String> = damage.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
            if damage.len() > SHOWN_MAX {
                shown.push(format!("{} more", damage.len() - SHOWN_MAX));
            }
            tracing::warn!(
                topic = %log.topic, partition = log.id.partition, stretches = damage.len(),
                first_offset = first.first, next_offset = last.next,
                "damaged since before this start: {}. {}",
                shown.join("; "), kept_until_repair(&dir)
            );
        }
        Ok(())
    }

    /// After an unclean stop recovery reads a lot, and checks it: that goes first.
    fn await_recovery(&self, broker: &Weak<Broker>) -> Result<(), Stopping> {
        for _ in 0..RECOVERY_WAIT.as_secs() {
            if broker.upgrade().ok_or(Stopping)?.recovered.load(Ordering::Acquire) {
                return Ok(());
            }
            self.pace.sleep(Duration::from_secs(1), self.pace.news())?;
        }
        Ok(())
    }

    /// Goes through every log once, beginning anywhere: whoever is restarted often comes to all of them all the same.
    fn round(&self, broker: &Weak<Broker>) -> Result<(), Stopping> {
        let (mut logs, clock) = {
            let broker = broker.upgrade().ok_or(Stopping)?;
            (broker.scrubbed_logs(), broker.clock.clone())
        };
        if let Some(turn) = u64::from_le_bytes(random::bytes()).checked_rem(logs.len() as u64) {
            logs.rotate_left(usize::try_from(turn).unwrap_or(0));
        }
        let began = clock.monotonic();
        let mut round = Round { told_at: began, ..Round::default() };
        let mut scrubber = Scrubber::new(&clock, &self.pace);
        for (nth, log) in logs.iter().enumerate() {
            self.look_through(broker, log, &mut scrubber, &mut round)?;
            let now = clock.monotonic();
            if now.saturating_sub(round.told_at) >= TELL_EVERY {
                round.told_at = now;
                let left = logs.len() - nth - 1;
                tracing::info!(
                    bytes = round.bytes,
                    segments = round.segments,
                    damaged = round.damaged,
                    partitions_left = left,
                    "the scrub goes on"
                );
            }
        }
        let Round { segments, bytes, damaged, known, unreadable, .. } = round;
        let took_ms = clock.monotonic().saturating_sub(began).as_millis();
        if damaged + known == 0 {
            tracing::info!(
                bytes,
                segments,
                damaged,
                unreadable,
                took_ms,
                "all logs were looked through for damage"
            );
        } else {
            tracing::warn!(
                bytes,
                segments,
                damaged,
                known_before = known,
                unreadable,
                took_ms,
                "all logs were looked through for damage: {damaged} stretches were found, and {known} are known from before. \
                 Readers of them get an error until they are repaired"
            );
        }
        Ok(())
    }

    fn look_through(
        &self,
        broker: &Weak<Broker>,
        log: &Scrubbed,
        scrubber: &mut Scrubber<'_>,
        round: &mut Round,
    ) -> Result<(), Stopping> {
        let parts = {
            let broker = broker.upgrade().ok_or(Stopping)?;
            round.known += broker.known_damage(&log.topic, log.id).len();
            broker.parts_of(log)
        };
        for part in parts {
            // Nothing of the broker is held while it waits.
            let open = || broker.upgrade().and_then(|broker| broker.partitions.get(log.id));
            let is_read = || open().is_some_and(|open| open.log().is_read(part.base));
            let finding = scrubber.look(&part, &is_read);
            round.segments += 1;
            round.bytes += part.bytes();
            let broker = broker.upgrade().ok_or(Stopping)?;
            match finding {
                Finding::Sound => {
                    if let Some(open) = broker.partitions.get(log.id) {
                        open.log().trust(&part);
                    }
                }
                Finding::Suspicious | Finding::Gone => broker.examine(log, &part, round),
                Finding::Unreadable(error) => round.tell_unreadable(log, &part, &error),
                Finding::Stopping => return Err(Stopping),
            }
        }
        Ok(())
    }
}

impl Round {
    fn tell_unreadable(&mut self, log: &Scrubbed, part: &Part, error: &dyn std::fmt::Display) {
        self.unreadable += 1;
        tracing::warn!(
            topic = %log.topic, partition = log.id.partition, file = %part.path().display(), %error,
            "a segment cannot be read; whoever asks for what cannot be read gets an error"
        );
    }
}

impl Broker {
    /// Every log: those of the topics, and the catalog's.
    fn scrubbed_logs(&self) -> Vec<Scrubbed> {
        let catalog = TopicPartition { topic: TopicId::METADATA, partition: 0 };
        let image = self.image();
        let topics = image.topics().flat_map(|topic| {
            let id = |partition| TopicPartition { topic: topic.id, partition };
            let log = move |n| Scrubbed {
                topic: Arc::clone(&topic.name),
                id: id(n),
                image: Some(Arc::clone(topic)),
            };
            (0..topic.partitions).map(log)
        });
        let catalog = Scrubbed { topic: CLUSTER_METADATA.into(), id: catalog, image: None };
        topics.chain([catalog]).collect()
    }

    /// What is known to be damaged of a partition, opened or not. Looks into its directory if it is not.
    pub fn known_damage(&self, topic: &str, id: TopicPartition) -> Vec<Damage> {
        match self.partitions.get(id) {
            Some(open) => open.log().damage(),
            None => {
                let dir = self.data_dir.path().join(partition_dir(topic, id.partition));
                if dir.join(QUARANTINE).exists() { known_damage(&dir) } else { Vec::new() }
            }
        }
    }

    /// What there is to look through of a log, opened or not.
    fn parts_of(&self, log: &Scrubbed) -> Vec<Part> {
        if let Some(open) = self.partitions.get(log.id) {
            return if open.closed().is_some() { Vec::new() } else { open.log().parts() };
        }
        let Some(row) = self.partitions.unopened_row(log.id) else { return Vec::new() };
        parts_of_row(&self.data_dir.path().join(partition_dir(&log.topic, log.id.partition)), &row)
    }

    /// A segment is not as it should be, or was not when the scrub came by: its log finds out.
    fn examine(&self, log: &Scrubbed, part: &Part, round: &mut Round) {
        let partition = match (self.partitions.get(log.id), &log.image) {
            (Some(open), _) => open,
            (None, None) => return,
            (None, Some(topic)) => match self.partition_blocking(topic, log.id.partition) {
                Ok(opened) => opened,
                Err(OpenFault::Unknown | OpenFault::Stopping) => return,
                Err(error) => {
                    tracing::error!(topic = %log.topic, partition = log.id.partition, %error, "cannot open a damaged log");
                    return;
                }
            },
        };
        match partition.log().examine(part.base) {
            Ok(damaged) => round.damaged += damaged,
            Err(error) => round.tell_unreadable(log, part, &error),
        }
    }
}

/// Stretches of a partition that a line names.
const SHOWN_MAX: usize = 8;
/// How long a round of an unclean start waits for recovery at most.
const RECOVERY_WAIT: Duration = Duration::from_secs(600);
/// How often a long round says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(600);
