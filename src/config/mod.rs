//! Settings as meant: typed, complete and valid.
//!
//! [`load`](load::load) reads what people wrote by the rows of [`keys`]; this file says what it came to. Everything
//! below the command line gets its part of [`Config`] and never looks at a file, a variable or a flag.

mod assemble;
mod declared;
mod describe;
mod durability;
mod env;
pub mod keys;
mod limits;
mod listen;
pub mod load;
pub mod memory;
mod names;
mod properties;
mod raw;
pub mod reference;
mod rules;
mod settings;
mod toml;
pub mod topic;
pub mod units;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use describe::{ConfigEntry, ConfigSynonym, Source};
pub use durability::{Amount, DiskLimits, Fsync};
pub use keys::Kind;
pub use limits::{
    CleanerRules, DeclaredTopic, FetchLimits, GroupLimits, LogFormat, LogOutput, NetworkLimits, OffsetRules,
    ProducerRules, ScrubRules, StorageRules, TopicRules, TransactionRules,
};
pub use listen::{Advertise, HostPort, Listener};
pub(crate) use names::nearest;
pub use raw::{Origin, Problem};
pub use settings::{Chosen, Settings};
pub use topic::{TopicDefaults, TopicSettings};

/// All settings of one broker.
#[derive(Debug, Clone)]
pub struct Config {
    /// The set of defaults in force.
    pub profile: Profile,
    /// The one directory that holds everything.
    pub data_dir: PathBuf,
    /// This broker's number.
    pub node_id: i32,
    /// The cluster id that the data must have; `None` takes the stored one or makes one at the first start.
    pub cluster_id: Option<String>,
    /// `broker.rack`, as metadata answers show it.
    pub rack: Option<String>,
    /// Where clients connect: at least one.
    pub listeners: Vec<Listener>,
    /// Bounds of the network layer.
    pub network: NetworkLimits,
    /// When appended bytes are synced and what acks wait for.
    pub fsync: Fsync,
    /// Bounds on the file system's use.
    pub disk: DiskLimits,
    /// What the process may use, in bytes: as set, or what the cgroup or the machine has.
    pub memory_limit_bytes: u64,
    /// What may be created, and with how many partitions.
    pub topics: TopicRules,
    /// What topics without overrides do.
    pub topic_defaults: TopicDefaults,
    /// Topics that exist once the broker is ready.
    pub declared_topics: Vec<DeclaredTopic>,
    /// Intervals and widths of the storage layer.
    pub storage: StorageRules,
    /// How compacted topics are cleaned.
    pub cleaner: CleanerRules,
    /// How logs are looked through for damage.
    pub scrub: ScrubRules,
    /// Bounds of Fetch.
    pub fetch: FetchLimits,
    /// Bounds of consumer groups.
    pub groups: GroupLimits,
    /// Committed offsets and their topic.
    pub offsets: OffsetRules,
    /// Idempotent producers.
    pub producers: ProducerRules,
    /// Transactions and their topic.
    pub transactions: TransactionRules,
    /// What is logged, and how.
    pub log: LogOutput,
    /// All settings with their origins, for whoever asks what is set and by whom.
    pub settings: Arc<Settings>,
    reported: Arc<BTreeMap<&'static str, String>>,
}

/// A set of defaults; never changes what a setting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A laptop, a test: fsync once a second, committed offsets never expire. The default without a config file.
    Dev,
    /// Everything else.
    Prod,
}

/// What `memory.limit = "auto"` is for [`Config::default`], which does not look at the machine.
const DEFAULT_MEMORY_BYTES: u64 = 1 << 30;

impl Default for Config {
    /// What an empty `broker.toml` means on a machine with a gigabyte: the `prod` profile and the table's defaults.
    fn default() -> Self {
        let mut problems = Vec::new();
        let config = assemble::config(Settings::default(), Vec::new(), DEFAULT_MEMORY_BYTES, &mut problems);
        debug_assert_eq!(problems, [], "the defaults are valid");
        config
    }
}

impl Config {
    /// What DescribeConfigs answers for this broker (S95), sorted by name.
    pub fn broker_entries(&self) -> Vec<ConfigEntry> {
        describe::broker_entries(&self.settings, &self.reported)
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dev => "dev",
            Self::Prod => "prod",
        })
    }
}

#[cfg(test)]
#[path = "property_tests.rs"]
mod property_tests;
