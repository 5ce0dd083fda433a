//! What Kafka wrote down about its logs when it stopped: where each begins and ends, and which are thinned out. It is
//! held against what is there, so that a directory of which a part is missing is not taken for the whole.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::super::exit::Ended;
use crate::catalog::names::CONSUMER_OFFSETS;
use crate::storage::checkpoint::{read_epochs, read_offsets};
use crate::storage::layout::{
    CLEANER_OFFSETS, HIGH_WATERMARKS, LEADER_EPOCHS, LOG_STARTS, RECOVERY_POINTS, partition_dir,
};

/// The checkpoint files of one of Kafka's directories.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Where each log ends. Kafka flushes every log when it stops, then writes this file, then the mark of a clean stop.
    ends: Rows,
    /// Where the records end that consumers saw. Partitions that were never online have no row.
    high_watermarks: Rows,
    /// Where logs begin that begin within their first segment.
    starts: Rows,
    /// Where logs that were compacted are not compacted yet.
    cleaned: Rows,
}

type Rows = HashMap<String, HashMap<i32, i64>>;

/// What is known of one log.
#[derive(Debug, Clone)]
pub(super) struct Written {
    name: String,
    topic: String,
    /// Its first readable offset, if that is not where its first segment begins.
    start: Option<i64>,
    /// The offset behind its last record, and the file that says so.
    end: i64,
    end_in: &'static str,
    /// The offset that its history of leader epochs begins at.
    epochs_start: Option<i64>,
    /// Whether it has been compacted: then offsets are missing in it, and nothing is wrong.
    is_thinned: bool,
}

impl Checkpoints {
    /// Reads a directory's files.
    ///
    /// Two of them Kafka makes at its first start and writes at each stop, so they are demanded: without the ends nobody
    /// knows whether the logs are whole, and without the starts deleted records would come back. The high watermarks
    /// only confirm the ends, and without the cleaner's file more holes are complaints, not fewer: where one of these is
    /// missing or garbled the import goes on.
    ///
    /// # Errors
    /// [`Ended::Refused`] with what is wrong and what to do.
    pub(super) fn read(root: &Path) -> Result<Self, Ended> {
        Ok(Self {
            ends: demanded(root, RECOVERY_POINTS)?,
            starts: demanded(root, LOG_STARTS)?,
            high_watermarks: wanted(root, HIGH_WATERMARKS),
            cleaned: wanted(root, CLEANER_OFFSETS),
        })
    }

    /// What is known of a partition's log, which lies in `dir`.
    ///
    /// # Errors
    /// [`Ended::Refused`]: nothing says where it ends.
    pub(super) fn of(&self, dir: &Path, topic: &str, partition: i32) -> Result<Written, Ended> {
        let row = |rows: &Rows| rows.get(topic).and_then(|of| of.get(&partition)).copied();
        let name = partition_dir(topic, partition);
        let Some(end) = row(&self.ends) else {
            return Err(Ended::Refused(format!(
                "{RECOVERY_POINTS} does not say where the log of {name} ends, and Kafka writes that when it stops. \
                 Restore that file from a copy, or leave the topic out: {}",
                except(topic)
            )));
        };
        let high_watermark = row(&self.high_watermarks).unwrap_or(0);
        let epochs = read_epochs(&dir.join(LEADER_EPOCHS)).ok().flatten().unwrap_or_default();
        Ok(Written {
            name,
            topic: topic.to_owned(),
            start: row(&self.starts),
            end: end.max(high_watermark),
            end_in: if high_watermark > end { HIGH_WATERMARKS } else { RECOVERY_POINTS },
            epochs_start: epochs.first().map(|(_, start)| *start),
            is_thinned: row(&self.cleaned).is_some(),
        })
    }
}

impl Written {
    /// The first readable offset of the log, of which the first segment begins at `first`; 0 if there is none.
    pub(super) fn start(&self, first: Option<i64>) -> i64 {
        self.start.or(first).unwrap_or(0)
    }

    /// Whether it has been compacted.
    pub(super) fn is_thinned(&self) -> bool {
        self.is_thinned
    }

    /// Whether the log, of which the first segment begins at `first`, begins where it should.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check_front(&self, first: i64) -> Result<(), Ended> {
        let (file, begins) = match (self.start, self.epochs_start) {
            (Some(start), _) if start < first => (LOG_STARTS, start),
            // Kafka moves the first epoch along with the start of the log.
            (None, Some(start)) if start < first => (LEADER_EPOCHS, start),
            _ => return Ok(()),
        };
        Err(self.refused(&format!(
            "{file} says that its log begins at offset {begins}, but its first segment begins at {first}"
        )))
    }

    /// Whether the log ends where it should.
    ///
    /// # Errors
    /// It ends before.
    pub(super) fn check_end(&self, end: i64) -> Result<(), Ended> {
        if end >= self.end {
            return Ok(());
        }
        Err(self.refused(&format!(
            "{} says that its log ends at offset {}, but what is there ends at {end}",
            self.end_in, self.end
        )))
    }

    /// A hole in a log that may not have one.
    pub(super) fn hole(&self, from: i64, to: i64) -> Ended {
        self.refused(&format!(
            "offsets {from} to {} are not there, and it was never compacted",
            to.saturating_sub(1)
        ))
    }

    fn refused(&self, what: &str) -> Ended {
        Ended::Refused(format!(
            "{}: {what}: records are missing. Restore the partition's directory from a copy, or leave the topic out: {}",
            self.name,
            except(&self.topic)
        ))
    }
}

/// How a topic is left out, for people.
pub(super) fn except(topic: &str) -> String {
    if topic == CONSUMER_OFFSETS {
        return format!(
            "--except {topic}. Then no committed offsets are taken, and every group begins where its auto.offset.reset \
             says"
        );
    }
    format!("--except {topic}")
}

fn demanded(root: &Path, name: &'static str) -> Result<Rows, Ended> {
    let path = root.join(name);
    let why = match read(&path) {
        // What Kafka makes empty it has filled by the time it stops.
        Ok(Some(_)) if fs::metadata(&path).is_ok_and(|file| file.len() == 0) => {
            format!("{} is empty, and Kafka writes it whenever it stops", path.display())
        }
        Ok(Some(rows)) => return Ok(rows),
        Ok(None) => format!("{} is missing, and Kafka writes it whenever it stops", path.display()),
        Err(error) => error,
    };
    Err(Ended::Refused(format!(
        "{why}. Without it nobody knows whether the logs are whole: restore it from a copy."
    )))
}

fn wanted(root: &Path, name: &'static str) -> Rows {
    read(&root.join(name)).map(Option::unwrap_or_default).unwrap_or_else(|error| {
        tracing::warn!(%error, "a file of Kafka's is not understood, and not needed either");
        Rows::new()
    })
}

fn read(path: &Path) -> Result<Option<Rows>, String> {
    let Some(read) = read_offsets(path).map_err(|error| error.to_string())? else { return Ok(None) };
    let mut rows = Rows::new();
    for row in read {
        rows.entry(row.topic).or_default().insert(row.partition, row.offset);
    }
    Ok(Some(rows))
}
