//! `streamd dump`: shows what the files of a data directory hold, and what is damaged. Works on Apache Kafka's too.

mod decoded;
mod out;
mod segment;
mod side;
mod vouched;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use self::out::Out;
use self::vouched::Vouched;
use super::exit::Ended;
use crate::storage::layout::{FileKind, parse_dir, parse_file};

/// Show what segments, indexes and the other files hold, and what is damaged
///
/// FILE is any file of a data directory of streamd or Apache Kafka; DIR a partition's directory or a whole data
/// directory. Nothing is locked or changed. Without --verify or --records batches are followed by their headers, and no
/// checksum is looked at. The exit code is 1 if damage was found. Of an index, a snapshot and other helps that are made
/// again from the log it is only said that they are wrong: no record depends on them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to show
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Check every checksum, leader epoch and index entry, and a directory against its manifest; show only what each file
    /// comes to and what is damaged
    #[arg(long)]
    verify: bool,
    /// Also show the records of each batch, whose checksums are then checked
    #[arg(short, long, conflicts_with = "verify")]
    records: bool,
    /// text, or json: one object a line
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Depth {
    verify: bool,
    records: bool,
}

/// Runs `streamd dump`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let depth = Depth { verify: args.verify, records: args.records };
    let mut out = Out::new(args.output == Output::Json, depth.verify);
    for path in &args.paths {
        let before = out.files();
        let shown = if path.is_dir() {
            let data = path.canonicalize().ok().and_then(|path| path.parent().map(Vouched::of));
            dir(path, data.filter(|_| depth.verify).as_ref(), depth, &mut out)
        } else {
            named_file(path, depth, &mut out)
        };
        if shown.is_ok() && out.files() == before {
            let text = format!("{} holds no file of a data directory.", path.display());
            return Err(Ended::Usage(text).into());
        }
        match shown {
            // Whoever read this has seen enough.
            Err(error) if out::is_closed(&error) => return Ok(()),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        }
    }
    match out.finish() {
        Err(error) if out::is_closed(&error) => Ok(()),
        Err(error) => Err(error),
        Ok(0) => Ok(()),
        Ok(1) => Err(Ended::Refused("1 damaged place was found.".to_owned()).into()),
        Ok(found) => Err(Ended::Refused(format!("{found} damaged places were found.")).into()),
    }
}

/// A file that was asked for by name: what was set aside of a segment (`.log.aside`) is shown, too.
fn named_file(path: &Path, depth: Depth, out: &mut Out) -> anyhow::Result<()> {
    fs::metadata(path)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let aside =
        name.split_once(".log.").map(|(base, _)| format!("{base}.log")).and_then(|name| parse_file(&name));
    match aside.filter(|_| parse_file(name).is_none()) {
        Some(parsed) => segment::show(path, parsed.offset, None, depth, out),
        None => match file(path, None, depth, out)? {
            true => Ok(()),
            false => Err(Ended::Usage("it is no file of a data directory.".to_owned()).into()),
        },
    }
}

/// A partition's directory, or a data directory with its partitions.
fn dir(path: &Path, within: Option<&Vouched>, depth: Depth, out: &mut Out) -> anyhow::Result<()> {
    let mut names: Vec<(PathBuf, bool)> = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        names.push((entry.path(), entry.file_type()?.is_dir()));
    }
    names.sort();
    let own = if depth.verify { Vouched::of(path) } else { Vouched::default() };
    let bases: Vec<i64> = names.iter().filter_map(|(path, _)| live_log(path)).collect();
    for (name, is_dir) in names {
        let is_partition =
            name.file_name().and_then(|name| name.to_str()).is_some_and(|n| parse_dir(n).is_some());
        match (is_dir, is_partition) {
            (true, true) => dir(&name, Some(&own).filter(|_| depth.verify), depth, out)?,
            (true, false) => {}
            (false, _) => {
                let next = live_log(&name).and_then(|base| bases.iter().copied().find(|other| *other > base));
                // What goes while it is looked at was on its way out.
                match file(&name, next, depth, out) {
                    Err(error) if out::is_gone(&error) => {}
                    other => drop(other?),
                }
            }
        }
    }
    match within {
        Some(within) => {
            own.check(out)?;
            within.check_partition(path, out)
        }
        None => Ok(()),
    }
}

/// The base offset of a live segment.
fn live_log(path: &Path) -> Option<i64> {
    let name = parse_file(path.file_name()?.to_str()?)?;
    (name.kind == FileKind::Log && name.state == crate::storage::layout::FileState::Live)
        .then_some(name.offset)
}

/// One file, if it is of a kind that is known; `next` is the base offset of the segment behind it.
fn file(path: &Path, next: Option<i64>, depth: Depth, out: &mut Out) -> anyhow::Result<bool> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match parse_file(name) {
        Some(parsed) => match parsed.kind {
            FileKind::Log => segment::show(path, parsed.offset, next, depth, out),
            FileKind::Index => side::offset_index(path, parsed.offset, depth, out),
            FileKind::TimeIndex => side::time_index(path, parsed.offset, depth, out),
            FileKind::TxnIndex => side::txn_index(path, depth, out),
            FileKind::Snapshot | FileKind::Producers => side::producers(path, depth, out),
        }
        .map(|()| true),
        // KRaft's snapshots of the metadata: batches from offset 0 on.
        None if name.ends_with(".checkpoint") => segment::show(path, 0, None, depth, out).map(|()| true),
        None => side::named(path, name, depth, out),
    }
}
