//! `streamd repair`: finds all damage of a partition, and gives it up when it is told to.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use super::exit::Ended;
use super::offline::Offline;
use super::output::print;
use super::settings::SettingsArgs;
use super::table;
use crate::catalog::TopicImage;
use crate::catalog::names::CLUSTER_METADATA;
use crate::config::TopicSettings;
use crate::storage::layout::{DirKind, parse_dir, partition_dir};
use crate::storage::log::{Damage, OpenError, Opened, Replayed, repair_command};
use crate::storage::repair::{Loss, begin_anew, give_up, verify};
use crate::types::{Clock, TopicPartition};

/// Give up what is damaged in a partition, with the broker stopped
///
/// Reads the partition whole, with its checksums, and shows what is damaged. With --yes the damaged records are given
/// up: their offsets stay used, readers pass over them, and the damaged bytes are kept in files beside the segments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The partition, as its directory is named: TOPIC-N
    #[arg(value_name = "TOPIC-N")]
    partition: String,
    /// Give up what is damaged
    #[arg(long)]
    yes: bool,
    /// text or json
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

/// Runs `streamd repair`; `before` are the settings' flags that stood before it.
pub(super) fn run(args: Args, before: SettingsArgs, clock: &Clock) -> anyhow::Result<()> {
    let (topic, partition) = match parse_dir(&args.partition) {
        Some(name) if name.kind == DirKind::Live => (name.topic.to_owned(), name.partition),
        _ => {
            let text = format!("\"{}\" is no partition: write TOPIC-N, as in orders-0.", args.partition);
            return Err(Ended::Usage(text).into());
        }
    };
    if topic == CLUSTER_METADATA {
        let text = "the catalog cannot be repaired by giving records up: topics could vanish with them. Restore \
                    __cluster_metadata-0 from a copy.";
        return Err(Ended::Refused(text.to_owned()).into());
    }
    let config = args.settings.under(before)?.load()?.config;
    let offline = Offline::open(&config, clock)?;
    let Some(row) = offline.catalog.topic(&topic).filter(|row| partition < row.partitions) else {
        return Err(Ended::Refused(format!("{}: there is no such partition.", args.partition)).into());
    };
    let id = TopicPartition { topic: row.id, partition };
    let settings = TopicSettings::clone(&TopicImage::resolve(&row.overrides, &config.topic_defaults));
    let name = Arc::clone(&row.name);
    let found =
        offline.open_log(&name, id, settings, offline.rows.get(&id).cloned(), &mut |_| Replayed::Sound);
    let shown = Shown { name: &args.partition, output: args.output, data: &config.data_dir };
    let opened = match found {
        Err(OpenError::FilesGone { dir }) => {
            let Some(row) = offline.rows.get(&id) else { return Err(OpenError::FilesGone { dir }.into()) };
            return gone(&offline, &shown, row, args.yes);
        }
        other => other?,
    };
    let damage = verify(&opened).with_context(|| format!("cannot read {}", args.partition))?;
    if damage.is_empty() {
        let told = shown.nothing(&opened);
        drop(opened);
        offline.leave_in_order()?;
        return told;
    }
    if !args.yes {
        drop(opened);
        offline.leave_in_order()?;
        shown.found(&damage)?;
        return Err(shown.ask());
    }
    let log = Arc::clone(&opened.log);
    drop(opened);
    let losses = give_up(&log, &offline.manifest).context("the repair is not complete: run it again")?;
    offline.leave_in_order()?;
    shown.lost(&losses)
}

/// The partition's directory is not there at all.
fn gone(
    offline: &Offline,
    shown: &Shown<'_>,
    row: &crate::storage::manifest::PartitionRow,
    yes: bool,
) -> anyhow::Result<()> {
    let dir = offline.dir.path().join(partition_dir(&row.topic, row.id.partition));
    let bytes: u64 = row.segments.iter().map(|segment| segment.bytes).sum();
    let (first, next) = (row.log_start, row.checkpoint.offset);
    if yes {
        begin_anew(&dir, row, &offline.manifest)?;
        offline.leave_in_order()?;
    }
    print(&match shown.output {
        Output::Json => table::json(&json!({
            "partition": shown.name, "gone": true, "given_up": yes, "first_offset": first, "next_offset": next,
            "bytes": bytes,
        }))?,
        Output::Text if yes => format!(
            "{}: gave up all of it, offsets {first} to {}, {bytes} bytes; it begins anew at offset {next}\n",
            shown.name,
            next - 1
        ),
        Output::Text => {
            format!("{}: its files are gone: offsets {first} to {}, {bytes} bytes\n", shown.name, next - 1)
        }
    })?;
    if yes { Ok(()) } else { Err(shown.ask()) }
}

/// How findings are told.
struct Shown<'a> {
    name: &'a str,
    output: Output,
    /// The data directory.
    data: &'a Path,
}

impl Shown<'_> {
    fn nothing(&self, opened: &Opened) -> anyhow::Result<()> {
        let (start, end, mended) = (opened.reader.start(), opened.reader.end(), opened.log.mended());
        print(&match self.output {
            Output::Json => {
                table::json(&json!({ "partition": self.name, "damage": [], "batches_put_right": mended }))?
            }
            Output::Text => {
                let more = match mended {
                    0 => String::new(),
                    1 => "; the front of 1 batch was put right, and no record is lost".to_owned(),
                    _ => format!("; the fronts of {mended} batches were put right, and no record is lost"),
                };
                format!(
                    "{}: offsets {start} to {end} were read whole, and nothing is damaged{more}\n",
                    self.name
                )
            }
        })
    }

    fn found(&self, damage: &[Damage]) -> anyhow::Result<()> {
        print(&match self.output {
            Output::Json => {
                let rows: Vec<_> = damage.iter().map(damage_json).collect();
                table::json(&json!({ "partition": self.name, "damage": rows }))?
            }
            Output::Text => {
                let mut text = format!("{}: {} damaged\n", self.name, stretches(damage.len()));
                for one in damage {
                    let _ = writeln!(text, "  {}", words(one));
                }
                text
            }
        })
    }

    fn ask(&self) -> anyhow::Error {
        Ended::Refused(format!(
            "nothing was given up. Restore the files from a copy, or give these records up: {}",
            repair_command(self.name, self.data)
        ))
        .into()
    }

    fn lost(&self, losses: &[Loss]) -> anyhow::Result<()> {
        print(&match self.output {
            Output::Json => {
                let row = |loss: &Loss| {
                    let mut row = damage_json(&loss.damage);
                    row["bytes"] = loss.bytes.into();
                    row["kept"] = loss.aside.as_ref().map(|path| path.display().to_string()).into();
                    row
                };
                let rows: Vec<_> = losses.iter().map(row).collect();
                table::json(&json!({ "partition": self.name, "given_up": rows }))?
            }
            Output::Text => {
                let offsets: i64 = losses.iter().map(|loss| loss.damage.next - loss.damage.first).sum();
                let bytes: u64 = losses.iter().map(|loss| loss.bytes).sum();
                let mut text = format!(
                    "{}: gave up {offsets} offsets and {bytes} bytes; readers pass over them\n",
                    self.name
                );
                for loss in losses {
                    let _ = write!(text, "  {}", words(&loss.damage));
                    let _ = match &loss.aside {
                        Some(path) => {
                            writeln!(text, "; its {} bytes are kept in {}", loss.bytes, path.display())
                        }
                        None => writeln!(text),
                    };
                }
                text
            }
        })
    }
}

fn stretches(count: usize) -> String {
    if count == 1 { "1 stretch is".to_owned() } else { format!("{count} stretches are") }
}

/// One damaged stretch, for people.
fn words(damage: &Damage) -> String {
    let to = damage.end.map_or_else(|| "its end".to_owned(), |end| end.to_string());
    let offsets = match damage.next - damage.first {
        0 => "no offsets".to_owned(),
        1 => format!("offset {}", damage.first),
        _ => format!("offsets {} to {}", damage.first, damage.next - 1),
    };
    format!("{offsets}: {}, bytes {} to {to}: {}", damage.file.display(), damage.position, damage.why)
}

fn damage_json(damage: &Damage) -> serde_json::Value {
    json!({
        "first_offset": damage.first,
        "next_offset": damage.next,
        "file": damage.file.display().to_string(),
        "position": damage.position,
        "end": damage.end,
        "why": damage.why,
    })
}
