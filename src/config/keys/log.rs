//! Kafka broker properties: data directory, topics, segments, retention, flushing, compaction.

use super::{COMPRESSION, Key, Kind, Scope, Status, Update, Valid};

rows! { pub(super) LOG: Broker;
    "log.dir": List = "/tmp/kafka-logs", in Any, ReadOnly, Effective;
        "The data directory, if log.dirs is not set. Same as data_dir, whose default is used here."
    "log.dirs": List = null, in Any, ReadOnly, Effective;
        "The data directory. Same as data_dir; exactly one."
    "cordoned.log.dirs": List = "", in Any, PerBroker, Reported;
        "Data directories that take no new partitions."
    "log.dir.failure.timeout.ms": Long = "30000", in AtLeast(1), ReadOnly, Reported;
        "How long a broker stays up when it cannot report a failed data directory."
    "num.partitions": Int = "1", in Between(1, 10_000), ReadOnly, Effective;
        "Partitions of a topic that is created without a count."
    "default.replication.factor": Int = "1", in Any, ReadOnly, Reported;
        "Replicas of a topic that is created without a count. Capped at the one broker there is, so that a \
         cluster's settings work here."
    "auto.create.topics.enable": Boolean = "true", in Any, ReadOnly, Effective;
        "Whether asking for a topic that does not exist creates it."
    "delete.topic.enable": Boolean = "true", in Any, ReadOnly, Effective;
        "Whether topics may be deleted."
    "create.topic.policy.class.name": Class = null, in Any, ReadOnly, Refused;
        "A Java class that judges new topics. Java plug-ins cannot run here."
    "alter.config.policy.class.name": Class = null, in Any, ReadOnly, Refused;
        "A Java class that judges changed settings. Java plug-ins cannot run here."
    "min.insync.replicas": Int = "1", in AtLeast(1), Cluster, Reported;
        "How many replicas must have a record before acks=all succeeds. Capped at the one replica there is."
    "compression.type": String = "producer", in OneOf(COMPRESSION), Cluster, Effective;
        "The codec of stored batches, for topics without their own compression.type."
    "compression.gzip.level": Int = "-1", in GzipLevel, Cluster, Effective;
        "The gzip level, for topics without their own."
    "compression.lz4.level": Int = "9", in Between(1, 17), Cluster, Reported;
        "The LZ4 level, for topics without their own; see there."
    "compression.zstd.level": Int = "3", in Between(-131_072, 22), Cluster, Effective;
        "The Zstandard level, for topics without their own."
    "message.max.bytes": Int = "1048588", in AtLeast(0), Cluster, Effective;
        "The largest record batch accepted, for topics without their own max.message.bytes."
    "log.segment.bytes": Int = "1073741824", in AtLeast(14), Cluster, Effective;
        "The size at which segments are closed, for topics without their own segment.bytes."
    "log.roll.ms": Long = null, in Any, Cluster, Effective;
        "The age at which segments are closed, for topics without their own segment.ms. Wins over \
         log.roll.hours."
    "log.roll.hours": Int = "168", in AtLeast(1), ReadOnly, Effective;
        "As log.roll.ms, in hours."
    "log.roll.jitter.ms": Long = null, in Any, Cluster, Effective;
        "The jitter of log.roll.ms, for topics without their own segment.jitter.ms. Wins over \
         log.roll.jitter.hours."
    "log.roll.jitter.hours": Int = "0", in AtLeast(0), ReadOnly, Effective;
        "As log.roll.jitter.ms, in hours."
    "log.retention.ms": Long = null, in Any, Cluster, Effective;
        "How long records are kept, for topics without their own retention.ms; -1 is for ever. Wins over \
         minutes and hours."
    "log.retention.minutes": Int = null, in Any, ReadOnly, Effective;
        "As log.retention.ms, in minutes. Wins over log.retention.hours."
    "log.retention.hours": Int = "168", in Any, ReadOnly, Effective;
        "As log.retention.ms, in hours."
    "log.retention.bytes": Long = "-1", in Any, Cluster, Effective;
        "How many bytes a partition keeps, for topics without their own retention.bytes; -1 is unlimited."
    "log.retention.check.interval.ms": Long = "300000", in AtLeast(1), ReadOnly, Effective;
        "Segments are dropped when they are due; besides, every log is checked this often. Records that are \
         older than retention.ms when they come stay this long (or for retention.ms, if that is shorter)."
    "log.cleanup.policy": List = "delete", in OneOf(&["compact", "delete"]), Cluster, Effective;
        "What happens to old segments, for topics without their own cleanup.policy."
    "log.index.size.max.bytes": Int = "10485760", in AtLeast(4), Cluster, Effective;
        "The most one offset index takes, for topics without their own segment.index.bytes."
    "log.index.interval.bytes": Int = "4096", in AtLeast(0), Cluster, Effective;
        "The spacing of index entries, for topics without their own index.interval.bytes."
    "log.preallocate": Boolean = "false", in Any, Cluster, Effective;
        "Whether segments are reserved whole, for topics without their own preallocate."
    "log.segment.delete.delay.ms": Long = "60000", in AtLeast(0), Cluster, Effective;
        "How long dropped files stay, for topics without their own file.delete.delay.ms."
    "log.message.timestamp.type": String = "CreateTime",
        in OneOf(&["CreateTime", "LogAppendTime"]), Cluster, Effective;
        "Whose time records carry, for topics without their own message.timestamp.type."
    "log.message.timestamp.before.max.ms": Long = "9223372036854775807", in AtLeast(0), Cluster, Effective;
        "How old a record's time may be, for topics without their own message.timestamp.before.max.ms."
    "log.message.timestamp.after.max.ms": Long = "3600000", in AtLeast(0), Cluster, Effective;
        "How far ahead a record's time may be, for topics without their own message.timestamp.after.max.ms."
    "log.flush.interval.messages": Long = "9223372036854775807", in AtLeast(1), Cluster, Effective;
        "Sync after this many records, for topics without their own flush.messages."
    "log.flush.interval.ms": Long = null, in Any, Cluster, Effective;
        "Sync after this long, for topics without their own flush.ms. Wins over \
         log.flush.scheduler.interval.ms."
    "log.flush.scheduler.interval.ms": Long = "9223372036854775807", in Any, ReadOnly, Effective;
        "The value of log.flush.interval.ms where that is not set."
    "log.flush.offset.checkpoint.interval.ms": Int = "60000", in AtLeast(0), ReadOnly, Reported;
        "How often Apache Kafka writes its recovery point. Here checkpoints follow the bytes written."
    "log.flush.start.offset.checkpoint.interval.ms": Int = "60000", in AtLeast(0), ReadOnly, Reported;
        "How often Apache Kafka writes log start offsets. Here they are written when they change."
    "log.initial.task.delay.ms": Long = "30000", in AtLeast(0), ReadOnly, Reported hidden;
        "How long Apache Kafka waits before its first background tasks."
    "num.recovery.threads.per.data.dir": Int = "2", in AtLeast(1), Cluster, Effective;
        "Partitions that are recovered at the same time after an unclean stop."
    "log.cleaner.enable": Boolean = "true", in Any, ReadOnly, Effective;
        "Whether compacted topics are cleaned. If not, they grow for ever, and so do committed offsets."
    "log.cleaner.threads": Int = "1", in Between(0, 256), Cluster, Effective;
        "Threads that compact; each works on another partition. 0 is as log.cleaner.enable = false."
    "log.cleaner.dedupe.buffer.size": Long = "134217728", in AtLeast(1_048_576), Cluster, Effective;
        "Memory for the key maps of compaction, of all threads, while they run: 24 bytes for each key among the \
         records not cleaned yet. With more keys a cleaning takes several rounds. At least 1 MiB for each thread; at \
         most half of memory.limit, and an eighth of it where it is not set."
    "log.cleaner.io.buffer.size": Int = "524288", in AtLeast(0), Cluster, Effective;
        "Memory for reading during compaction, of all threads: at least 64 KiB for each, at most a sixteenth of \
         memory.limit. A larger batch takes its size all the same."
    "log.cleaner.io.buffer.load.factor": Double = "0.9", in Hundredths(1, 100), Cluster, Effective;
        "How full the key map of compaction may become."
    "log.cleaner.io.max.bytes.per.second": Double = "1.7976931348623157E308", in AtLeast(1024), Cluster, Effective;
        "How much compaction may read and write each second, all threads together."
    "log.cleaner.backoff.ms": Long = "15000", in AtLeast(0), Cluster, Effective;
        "How long the cleaner waits when there is nothing to do; 10 ms at least."
    "log.cleaner.delete.retention.ms": Long = "86400000", in AtLeast(0), Cluster, Effective;
        "How long tombstones are kept, for topics without their own delete.retention.ms."
    "log.cleaner.min.cleanable.ratio": Double = "0.5", in Between(0, 1), Cluster, Effective;
        "The share of uncleaned log that starts compaction, for topics without their own \
         min.cleanable.dirty.ratio."
    "log.cleaner.min.compaction.lag.ms": Long = "0", in AtLeast(0), Cluster, Effective;
        "The least age of compacted records, for topics without their own min.compaction.lag.ms."
    "log.cleaner.max.compaction.lag.ms": Long = "9223372036854775807", in AtLeast(1), Cluster, Effective;
        "The age at which records must be compacted, for topics without their own max.compaction.lag.ms."
    "log.local.retention.bytes": Long = "-2", in AtLeast(-2), Cluster, Reported;
        "Local bytes of tiered partitions, for topics without their own local.retention.bytes."
    "log.local.retention.ms": Long = "-2", in AtLeast(-2), Cluster, Reported;
        "Local time of tiered partitions, for topics without their own local.retention.ms."
    "unclean.leader.election.enable": Boolean = "false", in Any, Cluster, Reported;
        "Whether a replica that lags may lead. One broker has one replica."
    "unclean.leader.election.interval.ms": Long = "300000", in AtLeast(1), ReadOnly, Reported hidden;
        "How often partitions without a leader are looked for."
}
