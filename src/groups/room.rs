//! How much a command may write, so that room is reserved in the log before it is decided on.

use super::command::{Command, CommitTopic, JoinGroup, SyncGroup};
use super::members::protocol_bytes;

/// A record's key and value around what varies: numbers, lengths, topic name and the frame in its batch.
const RECORD_BYTES: usize = 512;
/// What the members of a group that the command does not name may add to its record. Groups past this are rare; the
/// room that every log keeps ahead covers them.
const GROUP_BYTES: usize = 64 << 10;

/// Bytes of records that deciding on this command may write, as far as the command alone tells.
pub(super) fn of(command: &Command) -> u64 {
    let bytes = match command {
        Command::Join(request) => join(request),
        Command::Sync(request) => sync(request),
        Command::Commit(request) => commit(&request.group, &request.topics),
        Command::TxnOffsetCommit(request) => commit(&request.group, &request.topics),
        Command::EndTransaction(_) => RECORD_BYTES,
        Command::Leave(request) => RECORD_BYTES + request.group.len(),
        Command::DeleteGroup { .. } => GROUP_BYTES,
        Command::DeleteOffsets(request) => {
            let partitions: usize = request.topics.iter().map(|(_, partitions)| partitions.len()).sum();
            partitions * (RECORD_BYTES + request.group.len())
        }
        Command::Heartbeat(_)
        | Command::Fetch(_)
        | Command::Describe { .. }
        | Command::List(_)
        | Command::TopicsDeleted { .. } => 0,
    };
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A join writes when a static member takes its place again, and when it ends a rebalance that leaves nobody.
fn join(request: &JoinGroup) -> usize {
    let others = if request.instance_id.is_some() { GROUP_BYTES } else { 0 };
    RECORD_BYTES + request.group.len() + protocol_bytes(&request.protocols) + others
}

/// Only the leader's sync writes; the others bring no assignments.
fn sync(request: &SyncGroup) -> usize {
    if request.assignments.is_empty() {
        return 0;
    }
    let assigned =
        request.assignments.iter().map(|(member, bytes)| RECORD_BYTES + member.len() + bytes.len());
    GROUP_BYTES + assigned.sum::<usize>()
}

fn commit(group: &str, topics: &[CommitTopic]) -> usize {
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let metadata = |text: Option<&str>| text.map_or(0, str::len);
    partitions.map(|asked| RECORD_BYTES + group.len() + metadata(asked.metadata.as_deref())).sum()
}
