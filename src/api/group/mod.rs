//! APIs of consumer groups and their committed offsets.

pub mod delete;
pub mod describe;
pub mod find_coordinator;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod sync_group;

use std::sync::Arc;

use super::Api;
use crate::groups::{Command, Reply, TopicKey};
use crate::types::TopicId;
use crate::wire::StrBytes;

/// Asks the shard that owns a group.
pub(in crate::api) async fn ask(api: &Api, group: &str, command: Command) -> Reply {
    match api.broker.group_shard(group).await {
        Ok(shard) => shard.call(command).await,
        Err(error) => Reply::Refused(error),
    }
}

/// A text that outlives its request's frame.
fn shared(text: &StrBytes) -> Arc<str> {
    Arc::from(&**text)
}

/// As [`shared`], for a text that may be missing.
pub(in crate::api) fn shared_if_any(text: Option<&StrBytes>) -> Option<Arc<str>> {
    text.map(shared)
}

/// How a request names a topic, by what its version has.
fn topic_key(by_id: bool, name: &StrBytes, id: TopicId) -> TopicKey {
    if by_id { TopicKey::Id(id) } else { TopicKey::Name(shared(name)) }
}

/// A text for an answer.
fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
