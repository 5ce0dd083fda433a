//! From the input's bytes to records that the producer takes.

use super::super::exit::Ended;
use super::super::record::delimited::Delimited;
use super::super::record::read::{Header, Layout, Parsed};
use super::Args;
use crate::client::producer::Producer;
use crate::record::{HeaderView, NewRecord};
use crate::types::Clock;

/// Cuts the input into records and completes them with what the command line says.
#[derive(Debug)]
pub(super) struct Input {
    layout: Layout,
    bytes: Delimited,
    key: Option<String>,
    headers: Vec<String>,
    partition: Option<i32>,
    tombstone: bool,
    clock: Clock,
    /// Records so far.
    count: u64,
    /// What the topic has; partitions in the input are checked against it.
    partitions: i32,
}

impl Input {
    /// Nothing has come yet.
    pub(super) fn new(layout: Layout, args: &Args, clock: Clock) -> Self {
        let bytes = Delimited::new(layout.delimiter());
        Self {
            layout,
            bytes,
            key: args.key.clone(),
            headers: args.headers.clone(),
            partition: args.partition,
            tombstone: args.tombstone,
            clock,
            count: 0,
            partitions: 0,
        }
    }

    /// Told what the topic has. A partition that it does not have is an error before anything is read.
    pub(super) fn check_partition(
        &mut self,
        partition: Option<i32>,
        topic: &str,
        partitions: i32,
    ) -> Result<(), Ended> {
        self.partitions = partitions;
        match partition {
            Some(partition) if partition >= partitions => Err(Ended::Usage(format!(
                "topic {topic} has {}, not {partition}.",
                if partitions == 1 {
                    "only partition 0".to_owned()
                } else {
                    format!("partitions 0 to {}", partitions - 1)
                }
            ))),
            _ => Ok(()),
        }
    }

    /// Takes bytes and passes on the records that they complete.
    pub(super) fn take(&mut self, bytes: &[u8], producer: &mut Producer) -> anyhow::Result<()> {
        self.bytes.feed(bytes);
        self.drain(producer)
    }

    /// There are no more bytes.
    pub(super) fn end(&mut self, producer: &mut Producer) -> anyhow::Result<()> {
        self.bytes.end();
        self.drain(producer)
    }

    fn drain(&mut self, producer: &mut Producer) -> anyhow::Result<()> {
        let now = self.clock.now_ms();
        loop {
            let number = self.count + 1;
            let fault = |why: &str| {
                let stop = if why.ends_with('?') { "" } else { "." };
                Ended::Refused(format!("record {number} of the input {why}{stop}"))
            };
            let bytes = self.bytes.next().map_err(|error| fault(&format!("is {error}")))?;
            let Some(bytes) = bytes else { return Ok(()) };
            let parsed = self.layout.read(bytes).map_err(|why| fault(&why))?;
            let Some(parsed) = parsed else { continue };
            self.count = number;
            let Parsed { key, value, headers, timestamp, partition } = parsed;
            let partition = partition.or(self.partition);
            if partition.is_some_and(|partition| !(0..self.partitions).contains(&partition)) {
                return Err(fault("is for a partition that the topic does not have").into());
            }
            let own = self.headers.iter().map(|text| Header::parse(text.as_bytes())).collect::<Vec<_>>();
            let headers: Vec<HeaderView<'_>> = headers.iter().chain(&own).map(Header::view).collect();
            let value = value.as_deref().filter(|value| !(self.tombstone && value.is_empty()));
            let record = NewRecord {
                timestamp: timestamp.unwrap_or(now),
                key: key.as_deref().or_else(|| self.key.as_deref().map(str::as_bytes)),
                value,
                headers: &headers,
            };
            producer.push(partition, &record).map_err(super::super::failure::ended)?;
        }
    }
}
