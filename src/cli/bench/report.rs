//! The result, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::exit::Ended;
use super::super::table;
use super::drive::Driven;
use super::text;
use crate::client::load::Facts;

/// The quantiles that are shown: of 100,000, for people, for programs.
const QUANTILES: [(u32, &str, &str); 4] =
    [(50_000, "p50", "p50"), (90_000, "p90", "p90"), (99_000, "p99", "p99"), (99_900, "p99.9", "p999")];

/// A run that is over.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) mode: &'static str,
    /// What one of those things is whose time was measured, in the plural.
    pub(super) things: &'static str,
    /// From when to when it is measured.
    pub(super) latency: &'static str,
    pub(super) driven: Driven,
    /// What ended it before its time.
    pub(super) failed: Option<Ended>,
    pub(super) facts: Facts,
    pub(super) settings: Vec<(&'static str, Value)>,
    /// What was compared with what the broker has; `None` where an error came before that.
    pub(super) checked: Vec<(&'static str, Option<u64>)>,
}

impl Report {
    /// Why a run that had its whole time has nothing to show, and what to do.
    pub(super) fn nothing(&self) -> Option<String> {
        let Driven { tally, window, interrupted, kept, .. } = &self.driven;
        if *interrupted || tally.times.count() > 0 {
            return None;
        }
        let seconds = text::time(window.len());
        Some(match kept {
            Some(kept) => format!(
                "nothing was measured: at this --rate a batch is due every {}, and none was in the {seconds} that were \
                 measured. Take smaller batches (--batch-bytes), a higher --rate or more --seconds.",
                text::time(kept.step),
            ),
            None => {
                format!("nothing was under way in the {seconds} that were measured. Take more --seconds.")
            }
        })
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let Driven { tally, window, interrupted, .. } = &self.driven;
        let seconds = window.len().as_secs_f64();
        if tally.times.count() == 0 {
            let _ = writeln!(text, "{}: ended before anything was measured", self.mode);
            return text;
        }
        let _ = writeln!(
            text,
            "{}: {}/s, {} records/s, {} {}/s for {seconds:.1} s{}\n",
            self.mode,
            text::bytes(per_second(tally.bytes, seconds)),
            text::count(per_second(tally.records, seconds)),
            text::count(per_second(tally.requests, seconds)),
            self.things,
            match &self.failed {
                Some(_) => ", then ended by an error",
                None if *interrupted => ", then interrupted",
                None => "",
            },
        );
        let _ = writeln!(text, "latency   {}", self.latency);
        let quantiles = QUANTILES.iter().map(|(of, name, _)| (*name, tally.times.quantile(*of)));
        for (name, time) in quantiles.chain([("max", tally.times.max())]) {
            let _ = write!(text, "  {name} {}", time.map(text::time).unwrap_or_default());
        }
        let _ = write!(text, "\n\n{}\n", text::chart(&tally.times.rows()));
        self.rest(&mut text);
        text
    }

    /// What stands below the figures, a line each.
    fn rest(&self, text: &mut String) {
        let Driven { tally, window, cpu, kept, .. } = &self.driven;
        if let Some(kept) = kept {
            let unsent = kept.unsent.count();
            let _ = match kept.behind {
                Duration::ZERO => writeln!(text, "schedule  kept to the end"),
                behind => writeln!(
                    text,
                    "schedule  {} behind at the end: {} batches were due and never sent; their waiting is in the latency",
                    text::time(behind),
                    text::count(unsent),
                ),
            };
        }
        if tally.late > 0 {
            let _ = writeln!(
                text,
                "late      {} of the {} ended after the time: in the latency, not in the throughput",
                text::count(tally.late),
                self.things,
            );
        }
        let checked = self
            .checked
            .iter()
            .filter_map(|(name, number)| Some((name.replace('_', " "), text::count((*number)?))))
            .map(|(name, number)| format!("{number} {name}"));
        let unchecked = if self.failed.is_some() { ", not compared with the log" } else { "" };
        let _ = writeln!(
            text,
            "records   {} measured; {}{unchecked}",
            text::count(tally.records),
            checked.collect::<Vec<_>>().join(", ")
        );
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if let Some(cpu) = cpu {
            let share = cpu.as_secs_f64() / window.len().as_secs_f64().max(f64::MIN_POSITIVE);
            let _ = writeln!(text, "client    {share:.2} of {cores} processors used by this process");
        }
        let features: Vec<_> =
            self.facts.features.iter().map(|(name, level)| format!("{name} {level}")).collect();
        let versions = [("Produce", self.facts.produce_version), ("Fetch", self.facts.fetch_version)];
        let versions = versions.iter().filter_map(|(name, version)| Some(format!("{name} v{}", (*version)?)));
        let facts: Vec<_> = versions.chain(features).collect();
        let _ = writeln!(text, "broker    {} ({})", self.facts.address, facts.join(", "));
        // Its own topic is named after nothing else.
        let told = self.settings.iter().filter(|(name, _)| *name != "topic_made_for_this");
        let settings = told.map(|(name, value)| {
            format!(
                "{} {}",
                name.replace('_', " "),
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            )
        });
        let _ = writeln!(text, "settings  {}", settings.collect::<Vec<_>>().join(", "));
    }

    /// For programs.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        let Driven { tally, window, interrupted, cpu, kept, .. } = &self.driven;
        let seconds = window.len().as_secs_f64();
        let rate = |n: u64| if seconds > 0.0 { json!(per_second(n, seconds)) } else { Value::Null };
        let mut latency = json!({
            "what": self.latency,
            "count": tally.times.count(),
            "late": tally.late,
            "min": micros(tally.times.min()),
            "mean": micros(tally.times.mean()),
            "max": micros(tally.times.max()),
        });
        for (of, _, name) in QUANTILES {
            latency[name] = json!(micros(tally.times.quantile(of)));
        }
        let rows = tally.times.rows();
        let rows = rows.iter().map(
            |row| json!({ "from": micros(Some(row.from)), "to": micros(Some(row.to)), "count": row.count }),
        );
        latency["histogram"] = rows.collect();
        let pairs = |pairs: &[(&'static str, Value)]| -> Value {
            Value::Object(pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        let checked: Vec<_> = self.checked.iter().map(|(name, number)| (*name, json!(number))).collect();
        table::json(&json!({
            "mode": self.mode,
            "interrupted": interrupted,
            "failed": self.failed.as_ref().map(ToString::to_string),
            "seconds": seconds,
            "records": tally.records,
            "bytes": tally.bytes,
            self.things: tally.requests,
            "records_per_second": rate(tally.records),
            "bytes_per_second": rate(tally.bytes),
            format!("{}_per_second", self.things): rate(tally.requests),
            "latency_us": latency,
            "schedule": kept.as_ref().map(|kept| json!({
                "behind_us": micros(Some(kept.behind)),
                "unsent": kept.unsent.count(),
            })),
            "checked": pairs(&checked),
            "client": {
                "version": env!("CARGO_PKG_VERSION"),
                "cpu_seconds": cpu.map(|cpu| cpu.as_secs_f64()),
                "processors": std::thread::available_parallelism().map_or(1, usize::from),
            },
            "broker": {
                "address": self.facts.address,
                "features": self.facts.features,
                "produce_version": self.facts.produce_version,
                "fetch_version": self.facts.fetch_version,
            },
            "settings": pairs(&self.settings),
        }))
    }
}

/// Microseconds, with the nanoseconds behind the point.
fn micros(time: Option<Duration>) -> Option<f64> {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    time.map(|time| text::ratio(nanos(time), 1_000))
}

/// So many in a second, rounded; 0 where nothing was measured.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a positive float; a cast keeps within bounds"
)]
fn per_second(n: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (n as f64 / seconds).round() as u64 } else { 0 }
}
