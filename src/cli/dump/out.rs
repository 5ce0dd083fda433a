//! Where a dump goes: lines of text or of JSON, as they come.

use std::io::{self, BufWriter, Stdout, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::storage::log::Damage;

/// The output, and how much damage went through it.
pub(super) struct Out {
    to: BufWriter<Stdout>,
    json: bool,
    /// Whether only files and damage are shown.
    brief: bool,
    damaged: usize,
    files: usize,
}

impl Out {
    pub(super) fn new(json: bool, brief: bool) -> Self {
        Self { to: BufWriter::with_capacity(64 << 10, io::stdout()), json, brief, damaged: 0, files: 0 }
    }

    /// How many files were shown.
    pub(super) fn files(&self) -> usize {
        self.files
    }

    /// A file begins.
    pub(super) fn file(&mut self, path: &Path, kind: &str) -> anyhow::Result<()> {
        self.files += 1;
        let shown = path.display().to_string();
        self.line(|| shown.clone(), || json!({ "file": shown.clone(), "kind": kind }))
    }

    /// Something that a file holds; not shown when only damage is looked for.
    pub(super) fn item(
        &mut self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> Value,
    ) -> anyhow::Result<()> {
        if self.brief {
            return Ok(());
        }
        self.line(|| format!("  {}", text()), json)
    }

    /// What a file comes to.
    pub(super) fn sum(&mut self, text: &str, json: Value) -> anyhow::Result<()> {
        self.line(|| format!("  {text}"), || json!({ "sum": json }))
    }

    /// A damaged stretch of a segment.
    pub(super) fn damage(&mut self, damage: &Damage, mendable: bool) -> anyhow::Result<()> {
        self.damaged += 1;
        let (first, next) = (damage.first, damage.next);
        let offsets = match next - first {
            0 => format!("behind offset {}", first - 1),
            1 => format!("offset {first}"),
            _ => format!("offsets {first} to {}", next - 1),
        };
        let to = damage.end.map_or_else(|| "the file's end".to_owned(), |end| end.to_string());
        self.line(
            || {
                let more = if mendable { format!(". Only its front, outside the checksum. {MENDED}") } else { String::new() };
                format!("  DAMAGED bytes {} to {to}, {offsets}: {}{more}", damage.position, damage.why)
            },
            || {
                json!({ "damage": {
                    "position": damage.position, "end": damage.end, "first_offset": first, "next_offset": next,
                    "why": damage.why, "mendable": mendable,
                } })
            },
        )
    }

    /// Damage of a file that has no offsets of its own.
    pub(super) fn wrong(&mut self, what: &str) -> anyhow::Result<()> {
        self.damaged += 1;
        self.line(|| format!("  DAMAGED {what}"), || json!({ "damage": { "why": what } }))
    }

    /// A file is wrong that no record depends on. No damage.
    pub(super) fn help(&mut self, what: &str) -> anyhow::Result<()> {
        const HELP: &str = "no record depends on it, and it is made again from the log when it is needed";
        self.line(|| format!("  WRONG {what} ({HELP})"), || json!({ "wrong": { "why": what } }))
    }

    /// Ends the output. How many damaged places there were.
    pub(super) fn finish(mut self) -> anyhow::Result<usize> {
        self.to.flush()?;
        Ok(self.damaged)
    }

    fn line(&mut self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> anyhow::Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.to, &json()).map_err(io::Error::from)?;
            self.to.write_all(b"\n")?;
        } else {
            writeln!(self.to, "{}", text())?;
        }
        Ok(())
    }
}

/// What becomes of what can be put right.
pub(super) const MENDED: &str =
    "No record is lost: the broker puts it right when it comes by, and so does streamd repair";

/// A number of things: `1 entry`, `2 entries`.
pub(super) fn many(count: impl Into<i128>, one: &str, more: &str) -> String {
    let count = count.into();
    format!("{count} {}", if count == 1 { one } else { more })
}

fn kind(error: &anyhow::Error) -> Option<io::ErrorKind> {
    error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

/// Whether nobody reads the output any more.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    kind(error) == Some(io::ErrorKind::BrokenPipe)
}

/// Whether a file has gone meanwhile.
pub(super) fn is_gone(error: &anyhow::Error) -> bool {
    kind(error) == Some(io::ErrorKind::NotFound)
}
