//! Names of topics that mean something to the catalog: Kafka's own, and those that collide.

/// The catalog's own log: a name that nobody can use.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";
/// Committed offsets and groups.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// Share groups.
const SHARE_GROUP_STATE: &str = "__share_group_state";

/// Whether Kafka keeps a topic of this name for itself.
pub fn is_internal(name: &str) -> bool {
    [CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE].contains(&name)
}

/// Whether only the part of the broker that will need the topic may make it: made by hand it would have the wrong
/// settings for good.
pub fn is_reserved(name: &str) -> bool {
    name == SHARE_GROUP_STATE
}

/// What a name with `.` or `_` shares with those that it collides with: in names of metrics the two are one. `None`
/// for a name with neither, which collides with nothing.
pub fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_and_underscores_collide() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_eq!(collision_key("abc"), None);
    }
}
