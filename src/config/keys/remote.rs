//! Kafka broker properties: tiered storage.

use super::{Key, Kind, Scope, Status, Update, Valid};

rows! { pub(super) REMOTE: Broker;
    "remote.log.storage.system.enable": Boolean = "false", in Any, ReadOnly, Refused;
        "Whether tiered storage is on. There is none in this version."
    "remote.fetch.max.wait.ms": Int = "500", in AtLeast(1), Cluster, Reported;
        "How long a Fetch waits for remote storage."
    "remote.list.offsets.request.timeout.ms": Long = "30000", in AtLeast(1), Cluster, Reported;
        "How long ListOffsets waits for remote storage."
    "remote.log.index.file.cache.total.size.bytes": Long = "1073741824", in AtLeast(1), Cluster, Reported;
        "Local cache for indexes of remote segments."
    "remote.log.index.file.cache.ttl.ms": Long = "900000", in AtLeast(-1), ReadOnly, Reported hidden;
        "How long an unused index of a remote segment is cached."
    "remote.log.manager.copier.thread.pool.size": Int = "10", in AtLeast(1), Cluster, Reported;
        "Threads that copy segments to remote storage."
    "remote.log.manager.copy.max.bytes.per.second": Long = "9223372036854775807",
        in AtLeast(1), Cluster, Reported;
        "How much is copied to remote storage each second."
    "remote.log.manager.copy.quota.window.num": Int = "11", in AtLeast(1), ReadOnly, Reported;
        "Samples kept for the quota on copying to remote storage."
    "remote.log.manager.copy.quota.window.size.seconds": Int = "1", in AtLeast(1), ReadOnly, Reported;
        "The time one sample of the quota on copying covers."
    "remote.log.manager.expiration.thread.pool.size": Int = "10", in AtLeast(1), Cluster, Reported;
        "Threads that drop expired remote segments."
    "remote.log.manager.fetch.max.bytes.per.second": Long = "9223372036854775807",
        in AtLeast(1), Cluster, Reported;
        "How much is read from remote storage each second."
    "remote.log.manager.fetch.quota.window.num": Int = "11", in AtLeast(1), ReadOnly, Reported;
        "Samples kept for the quota on reading remote storage."
    "remote.log.manager.fetch.quota.window.size.seconds": Int = "1", in AtLeast(1), ReadOnly, Reported;
        "The time one sample of the quota on reading covers."
    "remote.log.manager.follower.thread.pool.size": Int = "2", in AtLeast(1), Cluster, Reported;
        "Threads for remote work on follower partitions."
    "remote.log.manager.task.interval.ms": Long = "30000", in AtLeast(1), ReadOnly, Reported;
        "How often remote work is looked for."
    "remote.log.manager.task.retry.backoff.max.ms": Long = "30000", in AtLeast(1), ReadOnly, Reported hidden;
        "The longest pause before failed remote work is tried again."
    "remote.log.manager.task.retry.backoff.ms": Long = "500", in AtLeast(1), ReadOnly, Reported hidden;
        "The first pause before failed remote work is tried again."
    "remote.log.manager.task.retry.jitter": Double = "0.2", in Between(0, 1), ReadOnly, Reported hidden;
        "By how much that pause varies."
    "remote.log.manager.thread.pool.size": Int = "2", in AtLeast(1), ReadOnly, Reported;
        "Threads for remote work, in the older form."
    "remote.log.metadata.custom.metadata.max.bytes": Int = "128", in AtLeast(0), ReadOnly, Reported;
        "The largest note that a remote storage plug-in keeps with a segment."
    "remote.log.metadata.manager.class.name": String = "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager",
        in Any, ReadOnly, Reported;
        "The Java class that keeps the list of remote segments."
    "remote.log.metadata.manager.class.path": String = null, in Any, ReadOnly, Reported;
        "Where that Java class is loaded from."
    "remote.log.metadata.manager.impl.prefix": String = "rlmm.config.", in Any, ReadOnly, Reported;
        "The prefix of that Java class's own settings."
    "remote.log.metadata.manager.listener.name": String = null, in Any, ReadOnly, Reported;
        "The listener that the Java class uses."
    "remote.log.reader.max.pending.tasks": Int = "100", in AtLeast(1), ReadOnly, Reported;
        "Reads of remote storage that may wait."
    "remote.log.reader.threads": Int = "10", in AtLeast(1), Cluster, Reported;
        "Threads that read remote storage."
    "remote.log.storage.manager.class.name": String = null, in Any, ReadOnly, Reported;
        "The Java class that talks to remote storage."
    "remote.log.storage.manager.class.path": String = null, in Any, ReadOnly, Reported;
        "Where that Java class is loaded from."
    "remote.log.storage.manager.impl.prefix": String = "rsm.config.", in Any, ReadOnly, Reported;
        "The prefix of that Java class's own settings."
}
