//! The layers: defaults, profile, file, environment, flags. Reading files and variables is the caller's; this is pure.

use std::fmt;

use super::Profile;
use super::keys::Key;
use super::raw::{Layer, Origin, Problem, Written};
use super::settings::{self, Settings, WithoutEffect};
use super::{Config, assemble, env, properties, rules, toml};

/// Everything that settings may come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The config file.
    pub file: Option<SourceFile>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// Settings on the command line, in order.
    pub flags: Vec<Flag>,
    /// `--port`: instead of the first listener's port.
    pub port: Option<u16>,
    /// What `memory.limit = "auto"` means.
    pub machine_memory_bytes: u64,
}

/// A config file: `broker.toml`, or Kafka's `server.properties` by its ending.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its name as given, for errors.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// One setting on the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as written, for errors: `--set num.partitions=3`.
    pub shown: String,
    /// The setting's name.
    pub name: String,
    /// Its value.
    pub text: String,
}

impl Flag {
    /// The flag as errors and `config show` name it: without a secret.
    fn origin(&self) -> String {
        let is_secret = settings::find(&self.name).is_some_and(Key::sensitive);
        if is_secret && !self.text.is_empty() {
            self.shown.replace(&self.text, "(hidden)")
        } else {
            self.shown.clone()
        }
    }
}

/// A valid config, and what its reader should hear.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// Things that are no errors but may surprise.
    pub warnings: Vec<String>,
    /// Whether `KAFKA_…` variables were used: then somebody may wait for Kafka's log lines.
    pub kafka_env: bool,
}

/// The settings cannot be used: everything that is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// Layers all sources and says what they come to.
pub fn load(sources: &Sources) -> Result<Loaded, LoadError> {
    let mut problems = Vec::new();
    let file = match &sources.file {
        Some(file) if settings::is_properties(&file.name) => properties::read(&file.name, &file.text),
        Some(file) => toml::read(&file.name, &file.text),
        None => Ok(super::raw::Said::default()),
    };
    let file = file.unwrap_or_else(|errors| {
        problems.extend(errors);
        super::raw::Said::default()
    });
    let from_env = env::read(&sources.env, &mut problems);
    let flags = sources.flags.iter().map(|flag| Written {
        name: flag.name.clone(),
        text: flag.text.clone(),
        origin: Origin::Flag(flag.origin()),
        layer: Layer::Flag,
    });
    let written = file.settings.into_iter().chain(from_env.said.settings).chain(flags).collect();
    let default_profile = if sources.file.is_some() { Profile::Prod } else { Profile::Dev };
    let mut settings = Settings::new(default_profile);
    let WithoutEffect { idle, unknown } = settings.choose(written, &mut problems);
    match settings.chosen("profile").map(|chosen| chosen.text.as_str()) {
        Some("dev") => settings.set_profile(Profile::Dev),
        Some(_) => settings.set_profile(Profile::Prod),
        None => {}
    }
    // Another port does not put listeners right that are wrong: those stay, and are told with their place.
    if let Some(port) = sources.port
        && assemble::wanted(&settings).resolve().is_ok()
    {
        settings.set_port(port);
    }
    let topics = file.topics.into_iter().chain(from_env.said.topics).collect();
    let config = assemble::config(settings, topics, sources.machine_memory_bytes, &mut problems);
    if !problems.is_empty() {
        problems.sort_by_key(|problem| place(&problem.origin));
        return Err(LoadError { problems });
    }
    let mut warnings = unknown;
    warnings.extend(rules::warnings(&config));
    if !idle.is_empty() {
        warnings.push(format!("accepted without effect: {}", idle.join(", ")));
    }
    if !from_env.unknown.is_empty() {
        warnings.push(format!("variables that mean nothing to streamd: {}", from_env.unknown.join(", ")));
    }
    Ok(Loaded { config, warnings, kafka_env: from_env.kafka })
}

/// Sorts problems as their reader goes through them: the file from top to bottom, variables, flags.
fn place(origin: &Origin) -> (u8, usize, usize) {
    match origin {
        Origin::File { line, column, .. } => (0, *line, *column),
        Origin::Env(_) => (1, 0, 0),
        Origin::Flag(_) => (2, 0, 0),
        Origin::Default | Origin::DevProfile | Origin::WithFile(_) => (3, 0, 0),
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
