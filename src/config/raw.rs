//! Settings as written: a name, a text, and where they stand. No meaning yet.

use std::fmt;
use std::sync::Arc;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The `dev` profile has its own default.
    DevProfile,
    /// The default is another with a file than without.
    WithFile(bool),
    /// A line of a file.
    File {
        /// The file's name, as given.
        file: Arc<str>,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// An environment variable.
    Env(String),
    /// A flag, as written.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::DevProfile => f.write_str("dev profile"),
            Self::WithFile(true) => f.write_str("default with a config file"),
            Self::WithFile(false) => f.write_str("default without a config file"),
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Which of two settings of the same thing counts: the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// `broker.toml` or `server.properties`.
    File,
    /// `KAFKA_…`, as Apache's and Confluent's images spell it.
    EnvKafka,
    /// `KAFKA_CFG_…`, as Bitnami's images spell it.
    EnvBitnami,
    /// `STREAMD_…`.
    EnvOwn,
    /// The command line.
    Flag,
}

/// One setting as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Its name there, tables joined with dots.
    pub(super) name: String,
    /// Its value as text; the elements of a list are joined with commas.
    pub(super) text: String,
    /// Where it stands.
    pub(super) origin: Origin,
    /// What it may overrule.
    pub(super) layer: Layer,
}

/// One declared topic as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenTopic {
    /// Where it stands.
    pub(super) origin: Origin,
    /// `name`, `partitions`, and settings as `config.NAME`.
    pub(super) settings: Vec<Written>,
}

/// All that one source says.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Its settings.
    pub(super) settings: Vec<Written>,
    /// The topics that it declares.
    pub(super) topics: Vec<WrittenTopic>,
}

/// Something wrong in the settings, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong, and what to do.
    pub text: String,
}

impl Problem {
    /// A problem at this place.
    pub(super) fn new(origin: &Origin, text: impl Into<String>) -> Self {
        Self { origin: origin.clone(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default | Origin::DevProfile | Origin::WithFile(_) => f.write_str(&self.text),
            Origin::Env(name) => write!(f, "{name}: {}", self.text),
            origin => write!(f, "{origin}: {}", self.text),
        }
    }
}
