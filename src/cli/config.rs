//! `streamd config`: what is set and by whom, whether it is right, and what could be set.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::json;

use super::output::print;
use super::serve;
use super::settings::{SettingsArgs, check_reserve};
use crate::config::keys::{self, Key, Scope, Status};
use crate::config::load::Loaded;
use crate::config::reference;

/// Show or check the settings that a broker would run with
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print each value with its source
    Show(ShowArgs),
    /// Find mistakes; exit code 1 if there are any
    Check(SettingsArgs),
    /// Print all keys with their defaults
    Reference(ReferenceArgs),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Also print what has no effect in this version
    #[arg(long)]
    all: bool,
    /// table or json
    #[arg(short, long, value_enum, default_value_t = ShowFormat::Table)]
    output: ShowFormat,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ShowFormat {
    Table,
    Json,
}

#[derive(Debug, clap::Args)]
struct ReferenceArgs {
    /// toml: a broker.toml with every key; markdown: a page with every key
    #[arg(long, value_enum, default_value_t = ReferenceFormat::Toml)]
    format: ReferenceFormat,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ReferenceFormat {
    Toml,
    Markdown,
}

/// Runs `streamd config …`; `before` are the flags that stood before it.
pub(super) fn run(args: Args, before: serve::Args) -> anyhow::Result<()> {
    match args.verb {
        Verb::Show(args) => {
            let loaded = args.settings.under(before.only_settings()?)?.load()?;
            let rows = rows(&loaded, args.all);
            match args.output {
                ShowFormat::Table => print(&table(&rows)),
                ShowFormat::Json => print(&json_of(&rows)?),
            }
        }
        Verb::Check(settings) => check(&settings.under(before.only_settings()?)?),
        Verb::Reference(args) => match args.format {
            ReferenceFormat::Toml => print(&reference::toml()),
            ReferenceFormat::Markdown => print(&reference::markdown()),
        },
    }
}

fn check(settings: &SettingsArgs) -> anyhow::Result<()> {
    let loaded = settings.load()?;
    check_reserve(&loaded.config)?;
    let mut text = String::new();
    for warning in &loaded.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let profile = loaded.config.profile;
    let _ = match settings.file() {
        Some(file) => writeln!(text, "{}: settings are valid ({profile} profile)", file.display()),
        None => writeln!(
            text,
            "settings are valid ({profile} profile), but no file was read: these are defaults, variables and flags. \
             Name a file with --config FILE"
        ),
    };
    print(&text)
}

/// One line of `config show`.
struct Row {
    name: &'static str,
    value: Option<String>,
    source: String,
}

/// streamd's keys, then Kafka's: those that do something or are set, or all. An alias stands under the name that it
/// is an alias of.
fn rows(loaded: &Loaded, all: bool) -> Vec<Row> {
    let settings = &loaded.config.settings;
    let is_shown = |key: &&Key| {
        let is_alias = keys::canonical(key.name) != key.name;
        let works = key.status == Status::Effective && key.listed;
        !is_alias && (key.scope == Scope::Own || all || works || settings.chosen(key.name).is_some())
    };
    let mut kafka: Vec<_> = keys::broker().filter(is_shown).collect();
    kafka.sort_unstable_by_key(|key| key.name);
    let row = |key: &'static Key| {
        let (value, origin) = settings.value(key);
        let value = value.map(|text| if key.sensitive() { "(hidden)".to_owned() } else { text.to_owned() });
        Row { name: key.name, value, source: origin.to_string() }
    };
    keys::own().filter(is_shown).chain(kafka).map(row).collect()
}

fn table(rows: &[Row]) -> String {
    let value = |row: &Row| row.value.clone().unwrap_or_else(|| "-".to_owned());
    let name_width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let value_width = rows.iter().map(|row| value(row).len()).filter(|width| *width <= 40).max().unwrap_or(0);
    let mut text = format!("{:name_width$}  {:value_width$}  SOURCE\n", "KEY", "VALUE");
    for row in rows {
        let _ = writeln!(text, "{:name_width$}  {:value_width$}  {}", row.name, value(row), row.source);
    }
    text
}

fn json_of(rows: &[Row]) -> anyhow::Result<String> {
    let entries: Vec<_> =
        rows.iter().map(|row| json!({ "key": row.name, "value": row.value, "source": row.source })).collect();
    let mut text = serde_json::to_string_pretty(&entries).context("cannot write JSON")?;
    text.push('\n');
    Ok(text)
}
