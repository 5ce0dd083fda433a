//! The flags that the modes of `streamd bench` share.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::acks::AcksName;
use crate::client::producer::Acks;
use crate::config::units;

/// A value above what any broker takes; it keeps sizes within the format's.
const BYTES_MAX: i64 = 64 * 1024 * 1024;

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// How long, where and with what.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Common {
    /// How long to measure, in seconds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(super) seconds: u32,
    /// How long to run before that, in seconds
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub(super) warm_up: u32,
    /// How many connections share the work
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(super) connections: u16,
    /// A topic that exists, and stays; without this one is made and deleted at the end
    #[arg(short, long)]
    pub(super) topic: Option<String>,
    /// How many partitions the topic has that is made
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=10_000), conflicts_with = "topic")]
    pub(super) partitions: i32,
    /// How many replicas it has; the broker's default without this
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..), conflicts_with = "topic")]
    pub(super) replication_factor: Option<i16>,
    /// How large the value of a record is
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = size)]
    pub(super) record_bytes: usize,
    /// How results are shown
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
}

/// How batches are sent.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Sending {
    /// How many requests a connection may have under way
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) in_flight: u8,
    /// Who must have a record before it counts as written
    #[arg(long, value_enum, default_value_t = AcksName::All)]
    pub(super) acks: AcksName,
}

impl Common {
    /// The warm-up and the time that is measured.
    pub(super) fn times(&self) -> (Duration, Duration) {
        (Duration::from_secs(self.warm_up.into()), Duration::from_secs(self.seconds.into()))
    }

    /// The settings that a run is compared by, as far as all modes have them.
    pub(super) fn settings(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("seconds", json!(self.seconds)),
            ("warm_up", json!(self.warm_up)),
            ("connections", json!(self.connections)),
            ("record_bytes", json!(self.record_bytes)),
            ("compression", json!("none")),
        ]
    }
}

impl Sending {
    /// What is known of the records that were written.
    pub(super) fn counted(&self) -> &'static str {
        match self.acks.acks() {
            Acks::None => "sent",
            _ => "acknowledged",
        }
    }
}

/// A number of bytes that is not 0.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let bytes = units::bytes(text).filter(|bytes| (1..=BYTES_MAX).contains(bytes));
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| "must be a size such as 100, 64KiB or 1MB, at most 64MiB".to_owned())
}
