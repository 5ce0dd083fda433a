//! Topic settings, by Kafka's names, in Kafka's order of names.

use super::{COMPRESSION, Key, Kind, Scope, Status, Update, Valid};

rows! { pub(super) TOPIC: Topic;
    "cleanup.policy": List = "delete", in OneOf(&["compact", "delete"]), Cluster, Effective,
        from ["log.cleanup.policy"];
        "What happens to old segments: delete drops them by time and size, compact keeps the last record of \
         each key. Both may be given; none keeps everything for ever."
    "compression.gzip.level": Int = "-1", in GzipLevel, Cluster, Effective, from ["compression.gzip.level"];
        "The gzip level used when the broker recompresses; -1 is the codec's own default."
    "compression.lz4.level": Int = "9", in Between(1, 17), Cluster, Reported, from ["compression.lz4.level"];
        "Checked and reported; where the broker recompresses with LZ4 it is with the fast compressor, as Kafka does at 9."
    "compression.type": String = "producer", in OneOf(COMPRESSION), Cluster, Effective,
        from ["compression.type"];
        "The codec that batches are stored with. producer keeps what the producer sent; any other value \
         recompresses batches that differ."
    "compression.zstd.level": Int = "3", in Between(-131_072, 22), Cluster, Effective,
        from ["compression.zstd.level"];
        "The Zstandard level used when the broker recompresses."
    "delete.retention.ms": Long = "86400000", in AtLeast(0), Cluster, Effective,
        from ["log.cleaner.delete.retention.ms"];
        "How long a compacted topic keeps the tombstone of a deleted key, so that late readers still see the \
         deletion."
    "file.delete.delay.ms": Long = "60000", in AtLeast(0), Cluster, Effective,
        from ["log.segment.delete.delay.ms"];
        "How long a dropped segment's files stay on disk after the topic no longer serves them."
    "flush.messages": Long = "9223372036854775807", in AtLeast(1), Cluster, Effective,
        from ["log.flush.interval.messages"];
        "Sync a partition after this many records. 1 makes every acknowledgement wait for the disk; larger \
         values sync in the background."
    "flush.ms": Long = "9223372036854775807", in AtLeast(0), Cluster, Effective,
        from ["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];
        "Sync a partition when its oldest unsynced record is this old."
    "follower.replication.throttled.replicas": List = "", in Replicas, Cluster, Reported;
        "Replicas whose replication is throttled on the follower side. One broker has no followers."
    "index.interval.bytes": Int = "4096", in AtLeast(0), Cluster, Effective,
        from ["log.index.interval.bytes"];
        "One entry goes into the offset index for about this many bytes of log."
    "internal.segment.bytes": Int = null, in AtLeast(14), Cluster, Effective hidden;
        "The segment size without a lower bound, for tests; overrides segment.bytes."
    "leader.replication.throttled.replicas": List = "", in Replicas, Cluster, Reported;
        "Replicas whose replication is throttled on the leader side. One broker has no followers."
    "local.retention.bytes": Long = "-2", in AtLeast(-2), Cluster, Reported,
        from ["log.local.retention.bytes"];
        "Bytes of a tiered partition that stay on local disk; -2 takes retention.bytes. There is no tiered \
         storage in this version."
    "local.retention.ms": Long = "-2", in AtLeast(-2), Cluster, Reported, from ["log.local.retention.ms"];
        "How long segments of a tiered partition stay on local disk; -2 takes retention.ms. There is no \
         tiered storage in this version."
    "max.compaction.lag.ms": Long = "9223372036854775807", in AtLeast(1), Cluster, Effective,
        from ["log.cleaner.max.compaction.lag.ms"];
        "A record becomes eligible for compaction at the latest after this long."
    "max.message.bytes": Int = "1048588", in AtLeast(0), Cluster, Effective, from ["message.max.bytes"];
        "The largest record batch accepted, in bytes as it arrives (after compression)."
    "message.downconversion.enable": Boolean = null, in Any, Cluster, Reported hidden;
        "Removed in Kafka 4.0. Accepted so that old tools that set it keep working; it does nothing."
    "message.format.version": String = null, in Any, Cluster, Reported hidden;
        "Removed in Kafka 4.0. Accepted so that old tools that set it keep working; records are always \
         stored in format 2."
    "message.timestamp.after.max.ms": Long = "3600000", in AtLeast(0), Cluster, Effective,
        from ["log.message.timestamp.after.max.ms"];
        "How far a record's timestamp may lie ahead of the broker's clock. Not used with LogAppendTime."
    "message.timestamp.before.max.ms": Long = "9223372036854775807", in AtLeast(0), Cluster, Effective,
        from ["log.message.timestamp.before.max.ms"];
        "How far a record's timestamp may lie behind the broker's clock. Not used with LogAppendTime."
    "message.timestamp.difference.max.ms": Long = null, in AtLeast(0), Cluster, Effective hidden;
        "Removed in Kafka 4.0 in favour of message.timestamp.before.max.ms and \
         message.timestamp.after.max.ms. Sets both where they are not set themselves."
    "message.timestamp.type": String = "CreateTime", in OneOf(&["CreateTime", "LogAppendTime"]), Cluster, Effective,
        from ["log.message.timestamp.type"];
        "Whose time a record carries: the producer's (CreateTime) or the broker's at append (LogAppendTime)."
    "min.cleanable.dirty.ratio": Double = "0.5", in Between(0, 1), Cluster, Effective,
        from ["log.cleaner.min.cleanable.ratio"];
        "A compacted log is cleaned when at least this share of it has not been cleaned yet."
    "min.compaction.lag.ms": Long = "0", in AtLeast(0), Cluster, Effective,
        from ["log.cleaner.min.compaction.lag.ms"];
        "A record is not compacted away before it is this old."
    "min.insync.replicas": Int = "1", in AtLeast(1), Cluster, Reported, from ["min.insync.replicas"];
        "How many replicas must have a record before acks=all succeeds. Capped at the one replica there is."
    "preallocate": Boolean = "false", in Any, Cluster, Effective, from ["log.preallocate"];
        "Reserve a segment's whole size when it is made, not as it grows."
    "remote.log.copy.disable": Boolean = "false", in Any, Cluster, Reported;
        "Stops copying a tiered topic to remote storage. There is no tiered storage in this version."
    "remote.log.delete.on.disable": Boolean = "false", in Any, Cluster, Reported;
        "Whether turning tiered storage off also deletes the remote copy. There is no tiered storage in this \
         version."
    "remote.storage.enable": Boolean = "false", in Any, Cluster, Refused;
        "Whether segments are copied to remote storage. There is no tiered storage in this version, so true \
         is refused."
    "retention.bytes": Long = "-1", in Any, Cluster, Effective, from ["log.retention.bytes"];
        "Old segments of a partition are dropped while the rest holds at least this many bytes; -1 is \
         unlimited. Counted per partition."
    "retention.ms": Long = "604800000", in AtLeast(-1), Cluster, Effective,
        from ["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
        "A segment is dropped when its newest record is this old; -1 keeps it for ever."
    "segment.bytes": Int = "1073741824", in AtLeast(14), Cluster, Effective, from ["log.segment.bytes"];
        "A segment is closed and a new one begun at this size. Only closed segments are dropped or \
         compacted."
    "segment.index.bytes": Int = "10485760", in AtLeast(4), Cluster, Effective,
        from ["log.index.size.max.bytes"];
        "The most that one segment's offset index may take; a full index closes the segment."
    "segment.jitter.ms": Long = "0", in AtLeast(0), Cluster, Effective,
        from ["log.roll.jitter.ms", "log.roll.jitter.hours"];
        "Segments close up to this much earlier than segment.ms, by chance, so that partitions do not all \
         roll at once."
    "segment.ms": Long = "604800000", in AtLeast(1), Cluster, Effective,
        from ["log.roll.ms", "log.roll.hours"];
        "A segment is closed at the latest after this long, even if it is not full and nobody writes."
    "unclean.leader.election.enable": Boolean = "false", in Any, Cluster, Reported,
        from ["unclean.leader.election.enable"];
        "Whether a replica that lags may lead. One broker has one replica."
}
