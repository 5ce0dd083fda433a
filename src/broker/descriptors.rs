//! How the descriptors that the process may have are shared out: files of logs, connections, and the broker's own.
//!
//! A connection or a segment too many must not take the descriptor that a sync, the manifest or a group needs.

/// A share of the descriptors for each purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// What the process may have in all.
    pub limit: usize,
    /// Segments and their indexes.
    pub files_max: usize,
    /// Segments and indexes of the broker's own topics, which nobody else takes from them.
    pub own_files_max: usize,
    /// Connections.
    pub connections_max: usize,
}

impl Descriptors {
    /// The shares of this process.
    pub fn of_process() -> Self {
        let limit = rlimit::Resource::NOFILE.get_soft().unwrap_or(COMMON_LIMIT);
        Self::of(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    fn of(limit: usize) -> Self {
        let own_files_max = (limit / 16).clamp(OWN_FILES_MIN, OWN_FILES_MAX);
        let rest = limit.saturating_sub(OTHERS_MAX + own_files_max);
        Self { limit, files_max: rest / 2, own_files_max, connections_max: rest / 2 }
    }

    /// Whether there are too few to run at all.
    pub fn are_too_few(&self) -> bool {
        self.limit < Self::LEAST
    }

    /// Whether an ordinary broker soon runs out of them.
    pub fn are_few(&self) -> bool {
        self.limit < FEW
    }

    /// With fewer a broker does not start.
    pub const LEAST: usize = 128;
}

/// What most systems begin with.
const COMMON_LIMIT: u64 = 1024;
/// The data directory, the manifest, listeners, the runtime, and what is opened for a moment: small files that are put in
/// place, directories that are synced.
const OTHERS_MAX: usize = 48;
const OWN_FILES_MIN: usize = 16;
/// More than all shards of `__consumer_offsets` need at once.
const OWN_FILES_MAX: usize = 512;
const FEW: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_out_leaves_enough_for_all_else() {
        for limit in [0, 1, 64, 128, 256, 1024, 4096, 65_536, 1 << 20, usize::MAX] {
            let of = Descriptors::of(limit);
            let given = of.files_max + of.connections_max;
            assert!(given == 0 || limit - given >= OTHERS_MAX + of.own_files_max, "{of:?}");
            assert!(of.are_too_few() || (of.files_max >= 32 && of.connections_max >= 32), "{of:?}");
        }
        let common = Descriptors::of(1024);
        assert_eq!((common.files_max, common.connections_max), (456, 456));
        assert!(common.are_few() && !Descriptors::of(65_536).are_few());
    }
}
