//! Which version of an API to speak: the highest that both sides know.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::api_versions_response::ApiVersionsResponse;
use kafka_protocol::protocol::Request;

/// A highest version for some APIs, by key: to speak as an older client would.
pub type Ceilings = &'static [(i16, i16)];

/// The highest versions of Kafka 2.1, the oldest broker that this client speaks with: Produce, Fetch, ListOffsets,
/// Metadata, OffsetCommit, OffsetFetch, FindCoordinator, JoinGroup, Heartbeat, LeaveGroup, SyncGroup, DescribeGroups,
/// ListGroups, CreateTopics, DeleteTopics, InitProducerId, DescribeConfigs.
pub const KAFKA_2_1: Ceilings = &[
    (0, 7),
    (1, 10),
    (2, 4),
    (3, 7),
    (8, 6),
    (9, 5),
    (10, 2),
    (11, 3),
    (12, 2),
    (13, 2),
    (14, 2),
    (15, 2),
    (16, 2),
    (19, 3),
    (20, 3),
    (22, 1),
    (32, 2),
];

/// What a broker offers.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions {
    offered: HashMap<i16, (i16, i16)>,
    ceilings: Ceilings,
    /// The levels that the cluster has agreed on (KIP-584), by name.
    features: BTreeMap<String, i16>,
}

/// No version of an API is spoken by both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoCommonVersion {
    /// What this client speaks.
    pub(super) wanted: (i16, i16),
    /// What the broker offers, if it knows the API.
    pub(super) offered: Option<(i16, i16)>,
}

impl Versions {
    /// What this answer offers.
    pub(super) fn new(answer: &ApiVersionsResponse, ceilings: Ceilings) -> Self {
        let row = |api: &kafka_protocol::messages::api_versions_response::ApiVersion| {
            (api.api_key, (api.min_version, api.max_version))
        };
        let features = answer.finalized_features.iter();
        Self {
            offered: answer.api_keys.iter().map(row).collect(),
            ceilings,
            features: features.map(|row| (row.name.to_string(), row.max_version_level)).collect(),
        }
    }

    /// The levels that the cluster has agreed on (KIP-584), by name.
    pub(super) fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// The version to speak.
    pub(super) fn pick<R: Request>(&self) -> Result<i16, NoCommonVersion> {
        let ceiling = self.ceilings.iter().find(|(key, _)| *key == R::KEY).map(|(_, max)| *max);
        let (min, max) = (R::VERSIONS.min, R::VERSIONS.max.min(ceiling.unwrap_or(i16::MAX)));
        let offered = self.offered.get(&R::KEY).copied();
        match offered {
            Some((low, high)) if low.max(min) <= high.min(max) => Ok(high.min(max)),
            _ => Err(NoCommonVersion { wanted: (min, max), offered }),
        }
    }

    /// Whether the broker knows the API at all.
    pub(super) fn knows<R: Request>(&self) -> bool {
        self.pick::<R>().is_ok()
    }
}

/// Kafka's name of an API, as in "Produce".
pub(super) fn api_name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|()| format!("API {key}"), |api| format!("{api:?}"))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest, MetadataRequest};
    use kafka_protocol::protocol::Message as _;

    use super::*;

    fn offering(rows: &[(i16, i16, i16)], ceilings: Ceilings) -> Versions {
        let row = |&(key, min, max): &(i16, i16, i16)| {
            ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
        };
        let answer = ApiVersionsResponse::default().with_api_keys(rows.iter().map(row).collect());
        Versions::new(&answer, ceilings)
    }

    #[test]
    fn the_highest_version_that_both_know_is_picked() {
        let versions = offering(&[(1, 4, 11), (2, 1, 99), (3, 0, 12)], &[(3, 7)]);
        assert_eq!(versions.pick::<FetchRequest>(), Ok(11), "the broker's maximum");
        assert_eq!(versions.pick::<ListOffsetsRequest>(), Ok(ListOffsetsRequest::VERSIONS.max), "ours");
        assert_eq!(versions.pick::<MetadataRequest>(), Ok(7), "the ceiling");
    }

    #[test]
    fn ranges_that_do_not_meet_are_told() {
        let versions = offering(&[(1, 0, 3)], &[]);
        let (min, max) = (FetchRequest::VERSIONS.min, FetchRequest::VERSIONS.max);
        let refused = NoCommonVersion { wanted: (min, max), offered: Some((0, 3)) };
        assert_eq!(versions.pick::<FetchRequest>(), Err(refused));
        assert_eq!(versions.pick::<MetadataRequest>().unwrap_err().offered, None);
        assert!(!versions.knows::<MetadataRequest>());
    }

    #[test]
    fn apis_are_named_as_kafka_names_them() {
        assert_eq!(api_name(0), "Produce");
        assert_eq!(api_name(12), "Heartbeat");
        assert_eq!(api_name(9_999), "API 9999");
    }
}
