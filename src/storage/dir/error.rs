//! Why a data directory cannot be used, in the words that people are shown.

use std::io;
use std::path::{Path, PathBuf};

/// The start ends here. Each text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The system does not let us write.
    #[error(
        "data_dir {} is owned by {owner} ({mode:04o}) and I run as uid {uid}. {}",
        path.display(), advice(path, *uid, *ours, *volume)
    )]
    NotWritable {
        /// The directory, or the one above it in which it cannot be made.
        path: PathBuf,
        /// Its owner's name, or `uid` and a number.
        owner: String,
        /// Its permission bits.
        mode: u32,
        /// Ours.
        uid: u32,
        /// Whether we are the owner.
        ours: bool,
        /// Whether it seems to be mounted into a container that we run in.
        volume: bool,
    },
    /// The file system is mounted read-only.
    #[error("data_dir {} is on a read-only file system. Mount it read-write, or choose another data_dir.", path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error("data_dir {} is not a directory. Remove it, or choose another data_dir.", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Another process has it.
    #[error(
        "data_dir {} is locked by {holder}. Stop that one, or keep this one's data elsewhere: --data-dir DIR.",
        path.display()
    )]
    Locked {
        /// The directory, from the root on.
        path: PathBuf,
        /// Who, and since when if known: `streamd pid 77 since 09:14`.
        holder: String,
    },
    /// A later release wrote it.
    #[error(
        "data_dir {} was written by a later streamd, {theirs} (format {format}); this is {ours} (up to {newest}). Nothing \
         was changed: start that release, or a later one.",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The release that wrote it.
        theirs: String,
        /// Its format.
        format: u32,
        /// This release.
        ours: String,
        /// The newest format that this release knows.
        newest: u32,
    },
    /// Apache Kafka wrote it.
    #[error("found Apache Kafka segments (meta.properties, {}). Nothing was changed. Choose another data_dir, and bring them over: streamd import kafka {}", count(*topics), path.display())]
    Kafka {
        /// The directory.
        path: PathBuf,
        /// Topics in it.
        topics: usize,
    },
    /// The setting names another cluster.
    #[error(
        "CLUSTER_ID={wanted} but this data belongs to {found}. Unset it, or start with an empty data_dir."
    )]
    ClusterId {
        /// The setting.
        wanted: String,
        /// The directory's.
        found: String,
    },
    /// The setting cannot be a cluster id.
    #[error(
        "CLUSTER_ID={wanted:?} cannot be a cluster id: use 1 to 100 printable characters without blanks, or unset it."
    )]
    BadClusterId {
        /// The setting.
        wanted: String,
    },
    /// The setting names another node.
    #[error(
        "node_id = {wanted} but this data belongs to node {found}. Set node_id = {found}, or start with an empty data_dir."
    )]
    NodeId {
        /// The setting.
        wanted: i32,
        /// The directory's.
        found: i32,
    },
    /// There are partitions, and nothing says whose.
    #[error(
        "data_dir {} holds {} but no meta.properties, so nothing says whose it is. Put the file back, or start with an empty data_dir.",
        path.display(), count(*topics)
    )]
    NoIdentity {
        /// The directory.
        path: PathBuf,
        /// Topics in it.
        topics: usize,
    },
    /// `meta.properties` makes no sense.
    #[error("{} is damaged: {why}. Put it right or restore it; nothing was changed.", path.display())]
    BadIdentity {
        /// The file.
        path: PathBuf,
        /// In which way.
        why: String,
    },
    /// Anything else that the system says.
    #[error("data_dir: cannot {action} {}: {error}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What came of it.
        error: io::Error,
    },
}

fn advice(path: &Path, uid: u32, ours: bool, volume: bool) -> String {
    let path = path.display();
    match (ours, volume) {
        (true, _) => format!("Run: chmod u+rwx {path}"),
        // The owner is changed on the host.
        (false, true) => format!("Run: chown {uid} on the host's path of {path}, or add user: \"0\"."),
        (false, false) => format!("Run: chown {uid} {path}"),
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 topic".into() } else { format!("{n} topics") }
}
