//! `streamd serve`: settings, log, broker, signals, drain.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::announce::{self, Facts};
use super::exit::Ended;
use super::output::print;
use super::reload::Reload;
use super::settings::{SettingsArgs, check_reserve};
use super::signals::{Asked, Signals};
use super::start::{self, Running};
use crate::broker::Descriptors;
use crate::config::load::Loaded;
use crate::config::{Config, LogFormat};
use crate::telemetry::{self, Format};
use crate::types::Clock;

/// Threads for calls that block: recovery, reads that miss the page cache, checks that take long, appends to a disk that
/// hardly writes any more. Made when they are needed; with none left the workers would have to wait. So reads and appends
/// take no more than a part of them each (`broker::read_cold`, `storage::flush::Unsynced`).
const BLOCKING_THREADS_MAX: usize = 512;

/// Signals within this time are one.
const ONE_SIGNAL: std::time::Duration = std::time::Duration::from_millis(100);

/// Run the broker
#[derive(Debug, Default, PartialEq, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
    /// Keep nothing: a fresh directory that is deleted at exit
    #[arg(long)]
    ephemeral: bool,
    /// Write the bound addresses to this file, as JSON, once clients are served
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
}

impl Args {
    /// These flags, and those that stood before the verb.
    pub(super) fn under(self, before: Self) -> Result<Self, Ended> {
        if self.ports_file.is_some() && before.ports_file.is_some() {
            return Err(Ended::Usage("--ports-file is given twice.".to_owned()));
        }
        Ok(Self {
            settings: self.settings.under(before.settings)?,
            ephemeral: self.ephemeral || before.ephemeral,
            ports_file: self.ports_file.or(before.ports_file),
        })
    }

    /// The flags that say where settings come from, if no others are given: what `streamd config` takes.
    pub(super) fn only_settings(self) -> Result<SettingsArgs, Ended> {
        if self.ephemeral || self.ports_file.is_some() {
            let text = "--ephemeral and --ports-file are for a broker that runs.";
            return Err(Ended::Usage(text.to_owned()));
        }
        Ok(self.settings)
    }
}

/// Runs a broker until a signal stops it.
pub(super) fn run(mut args: Args, clock: &Clock) -> anyhow::Result<()> {
    let scratch = args.ephemeral.then(|| Scratch::make(clock)).transpose()?;
    if let Some(scratch) = &scratch {
        if args.settings.has_data_dir() {
            return Err(Ended::Usage("--ephemeral and --data-dir contradict each other.".to_owned()).into());
        }
        args.settings.set_data_dir(scratch.0.clone());
    }
    let loaded = args.settings.load()?;
    check_reserve(&loaded.config)?;
    let format = log_format(&loaded.config);
    let filter = telemetry::init(format, &loaded.config.log.level)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let descriptors = raise_open_files()?;
    if descriptors.are_few() {
        let Descriptors { limit, files_max, connections_max, .. } = descriptors;
        tracing::warn!(
            "this process may have {limit} files open: {files_max} for log segments, {connections_max} for connections. \
             More connections are refused, and with more partitions in use files are opened again and again. {RAISE}"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("streamd")
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("cannot start the threads")?;
    let said = Said { format, ports_file: args.ports_file, ephemeral: scratch.is_some() };
    let reload = Reload { args: args.settings, filter, level: loaded.config.log.level.clone() };
    runtime.block_on(Box::pin(serve(loaded, &said, reload, clock)))
}

/// How a start is announced.
struct Said {
    format: Format,
    ports_file: Option<PathBuf>,
    ephemeral: bool,
}

async fn serve(loaded: Loaded, said: &Said, mut reload: Reload, clock: &Clock) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let starting = Box::pin(start::start(loaded.config.clone(), clock.clone()));
    let running = tokio::select! {
        running = starting => running?,
        asked = signals.next() => {
            tracing::info!("{} while starting: stopped", asked.name());
            return Ok(());
        }
    };
    announce(&loaded, said, clock, &running)?;
    loop {
        let asked = tokio::select! {
            asked = signals.any() => asked,
            () = running.lost() => break,
        };
        match asked {
            Some(asked) => {
                tracing::info!("{}: stopping. Once more stops at once", asked.name());
                break;
            }
            None => reload.again(&loaded.config),
        }
    }
    let began = clock.monotonic();
    let stopped = tokio::select! {
        stopped = Box::pin(running.stop()) => stopped,
        again = second(&mut signals, clock) => {
            tracing::error!("{} again: stopped before everything was written; the next start recovers", again.name());
            std::process::exit(again.exit_code());
        }
    };
    let took = clock.monotonic().saturating_sub(began).as_millis();
    let stopped = stopped.map_err(|fault| {
        tracing::error!("stopped in {took} ms: {fault}");
        Ended::Logged
    })?;
    if stopped.recovered {
        tracing::info!(logs = stopped.logs, "stopped in {took} ms");
    } else {
        tracing::warn!(
            logs = stopped.logs,
            "stopped in {took} ms, before every log was recovered: the next start goes on with that"
        );
    }
    Ok(())
}

/// The next signal that somebody meant: some supervisors signal a process and then its group, at the same instant.
async fn second(signals: &mut Signals, clock: &Clock) -> Asked {
    let first = clock.monotonic();
    loop {
        let again = signals.next().await;
        if clock.monotonic().saturating_sub(first) >= ONE_SIGNAL {
            return again;
        }
    }
}

fn announce(loaded: &Loaded, said: &Said, clock: &Clock, running: &Running) -> anyhow::Result<()> {
    let facts = Facts {
        config: &loaded.config,
        cluster_id: &running.cluster_id,
        is_new: running.is_new,
        ephemeral: said.ephemeral,
        bound: &running.bound,
        free_bytes: announce::free_bytes(&loaded.config.data_dir),
        took: clock.monotonic(),
    };
    facts.warn_of_open_listeners();
    if let Some(path) = &said.ports_file {
        announce::write_ports_file(path, &running.cluster_id, &running.bound)?;
    }
    match said.format {
        Format::Json => facts.log(),
        Format::Text { .. } => print(&facts.banner())?,
    }
    if loaded.kafka_env {
        print(&announce::kafkas_ready_line(loaded.config.node_id))?;
    }
    Ok(())
}

fn log_format(config: &Config) -> Format {
    let terminal = std::io::stderr().is_terminal();
    match config.log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Auto if !terminal => Format::Json,
        _ => Format::Text { colour: terminal && std::env::var_os("NO_COLOR").is_none() },
    }
}

/// A broker needs a descriptor for each connection and each segment in use; soft limits are made for shells.
///
/// # Errors
/// There are too few of them to run with.
fn raise_open_files() -> anyhow::Result<Descriptors> {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!("cannot raise the limit of open files: {error}"),
    }
    let descriptors = Descriptors::of_process();
    if descriptors.are_too_few() {
        let (limit, least) = (descriptors.limit, Descriptors::LEAST);
        bail!(
            "this process may have only {limit} files open; streamd needs {least} to run and thousands to run well. {RAISE}"
        );
    }
    Ok(descriptors)
}

/// What to do about a low limit of open files.
const RAISE: &str = "Raise the hard limit (ulimit -Hn, LimitNOFILE= of the systemd unit, docker run --ulimit nofile=65536:65536)";

/// A directory that is deleted with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn make(clock: &Clock) -> anyhow::Result<Self> {
        let name = format!("streamd-{}-{}", std::process::id(), clock.now_ms());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => warn_of_leftover(&self.0, &error),
            _ => {}
        }
    }
}

fn warn_of_leftover(path: &Path, error: &std::io::Error) {
    tracing::warn!("cannot delete {}: {error}", path.display());
}
