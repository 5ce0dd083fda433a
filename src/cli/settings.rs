//! The flags that say where settings come from, shared by `serve` and `config`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::exit::Ended;
use crate::config::load::{Flag, Loaded, SourceFile, Sources, load};
use crate::config::{Amount, Config, memory, units};

/// Where settings come from.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub(super) struct SettingsArgs {
    /// The config file: broker.toml, or Kafka's server.properties
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take the dev profile: sync once a second, keep committed offsets for ever
    #[arg(long)]
    dev: bool,
    /// The port for clients; 0 takes a free one
    #[arg(short, long)]
    port: Option<u16>,
    /// The directory that holds everything
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Set one key; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// Refuses a reserve that no space that anybody frees would ever satisfy: only the file system tells.
pub(super) fn check_reserve(config: &Config) -> Result<(), Ended> {
    let dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let Some(stat) = dir.ancestors().find_map(|dir| rustix::fs::statvfs(dir).ok()) else { return Ok(()) };
    let total = stat.f_blocks.saturating_mul(stat.f_frsize);
    match config.disk.reserve {
        Amount::Bytes(reserve) if reserve >= total && total > 0 => {
            let chosen = config.settings.chosen("disk.reserve");
            let origin = chosen.map_or_else(String::new, |chosen| format!("{}: ", chosen.origin));
            Err(Ended::Refused(format!(
                "{origin}disk.reserve = {}: the file system of {} has {} in all, so nothing could ever be written.",
                config.disk.reserve,
                config.data_dir.display(),
                units::show_rounded(total)
            )))
        }
        _ => Ok(()),
    }
}

impl SettingsArgs {
    /// Reads the file and the environment and layers all settings.
    pub(super) fn load(&self) -> anyhow::Result<Loaded> {
        let file = self.config.as_ref().map(|path| {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the config file {name}"))?;
            Ok::<_, anyhow::Error>(SourceFile { name, text })
        });
        let sources = Sources {
            file: file.transpose()?,
            env: std::env::vars_os()
                .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
                .collect(),
            flags: self.flags()?,
            port: self.port,
            machine_memory_bytes: memory::detect(),
        };
        Ok(load(&sources)?)
    }

    /// These flags, and those that stood before the verb: `streamd --config F config check` means what
    /// `streamd config check --config F` means.
    pub(super) fn under(self, before: Self) -> Result<Self, Ended> {
        let twice = [
            ("--config", self.config.is_some() && before.config.is_some()),
            ("--port", self.port.is_some() && before.port.is_some()),
            ("--data-dir", self.data_dir.is_some() && before.data_dir.is_some()),
        ];
        if let Some((flag, _)) = twice.iter().find(|(_, twice)| *twice) {
            return Err(Ended::Usage(format!("{flag} is given twice: before the command and behind it.")));
        }
        Ok(Self {
            config: self.config.or(before.config),
            dev: self.dev || before.dev,
            port: self.port.or(before.port),
            data_dir: self.data_dir.or(before.data_dir),
            set: before.set.into_iter().chain(self.set).collect(),
        })
    }

    /// The config file that is read, if there is one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Uses this directory, whatever else is said.
    pub(super) fn set_data_dir(&mut self, dir: PathBuf) {
        self.data_dir = Some(dir);
    }

    /// Whether `--data-dir` is given.
    pub(super) fn has_data_dir(&self) -> bool {
        self.data_dir.is_some()
    }

    fn flags(&self) -> anyhow::Result<Vec<Flag>> {
        let mut flags = Vec::new();
        if self.dev {
            flags.push(Flag {
                shown: "--dev".to_owned(),
                name: "profile".to_owned(),
                text: "dev".to_owned(),
            });
        }
        for (name, text) in &self.set {
            let shown = format!("--set {name}={text}");
            flags.push(Flag { shown, name: name.clone(), text: text.clone() });
        }
        if let Some(dir) = &self.data_dir {
            let text = dir.to_str().context("--data-dir must be UTF-8")?.to_owned();
            flags.push(Flag { shown: "--data-dir".to_owned(), name: "data_dir".to_owned(), text });
        }
        Ok(flags)
    }
}

/// Splits `key=value`.
fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}
