//! The flag `--acks`: who must have a record before it counts as written.

use crate::client::producer::Acks;

/// Its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum AcksName {
    /// All replicas that keep up
    #[value(alias = "-1")]
    All,
    /// The leader
    #[value(name = "1", alias = "leader")]
    Leader,
    /// Nobody: the broker does not answer
    #[value(name = "0", alias = "none")]
    None,
}

impl AcksName {
    /// As the client has it.
    pub(super) fn acks(self) -> Acks {
        match self {
            Self::All => Acks::All,
            Self::Leader => Acks::Leader,
            Self::None => Acks::None,
        }
    }

    /// As it is typed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Leader => "1",
            Self::None => "0",
        }
    }
}
