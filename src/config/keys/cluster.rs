//! Kafka broker properties: controllers, the metadata log, replication.

use super::{Key, Kind, Scope, Status, Update, Valid};

rows! { pub(super) CLUSTER: Broker;
    "process.roles": List = "broker,controller", in OneOf(&["broker", "controller"]), ReadOnly, Effective;
        "What this process is. streamd is always broker and controller in one; a list without broker is \
         refused."
    "controller.listener.names": List = null, in Any, ReadOnly, Effective;
        "Listeners for controllers in Apache Kafka. streamd needs none: these are not opened."
    "controller.quorum.voters": List = "", in Any, ReadOnly, Effective;
        "The controllers, as id@host:port. Only this node may be named."
    "controller.quorum.bootstrap.servers": List = "", in Any, ReadOnly, Reported;
        "Where to find the controllers. streamd is its own."
    "controller.quorum.append.linger.ms": Int = "25", in AtLeast(0), ReadOnly, Reported;
        "How long Apache Kafka's controller gathers writes."
    "controller.quorum.auto.join.enable": Boolean = "false", in Any, ReadOnly, Reported;
        "Whether a controller joins the quorum by itself."
    "controller.quorum.election.backoff.max.ms": Int = "1000", in AtLeast(0), ReadOnly, Reported;
        "The longest pause between two elections."
    "controller.quorum.election.timeout.ms": Int = "1000", in AtLeast(0), ReadOnly, Reported;
        "How long a controller waits before it calls an election."
    "controller.quorum.fetch.max.bytes": Int = "1048576", in AtLeast(1), ReadOnly, Reported;
        "The most a controller fetches at once."
    "controller.quorum.fetch.snapshot.max.bytes": Int = "1048576", in AtLeast(1), ReadOnly, Reported;
        "The most of a snapshot that a controller fetches at once."
    "controller.quorum.fetch.timeout.ms": Int = "2000", in AtLeast(0), ReadOnly, Reported;
        "How long a controller waits for its leader."
    "controller.quorum.request.timeout.ms": Int = "2000", in AtLeast(0), ReadOnly, Reported;
        "How long a controller waits for an answer."
    "controller.quorum.retry.backoff.ms": Int = "20", in AtLeast(0), ReadOnly, Reported;
        "The pause before a controller asks again."
    "controller.socket.timeout.ms": Int = "30000", in Any, ReadOnly, Reported;
        "Socket time-out between broker and controller."
    "controller.performance.always.log.threshold.ms": Long = "2000", in AtLeast(0), ReadOnly, Reported hidden;
        "Controller events slower than this are logged."
    "controller.performance.sample.period.ms": Long = "60000", in AtLeast(100), ReadOnly, Reported hidden;
        "How often the controller logs its speed."
    "controlled.shutdown.enable": Boolean = "true", in Any, ReadOnly, Reported;
        "Whether leadership moves away before a stop. One broker has nowhere to move it."
    "auto.leader.rebalance.enable": Boolean = "true", in Any, ReadOnly, Reported;
        "Whether leadership is balanced over brokers."
    "leader.imbalance.check.interval.seconds": Long = "300", in AtLeast(1), ReadOnly, Reported;
        "How often the balance of leaders is checked."
    "broker.heartbeat.interval.ms": Int = "2000", in Any, ReadOnly, Reported;
        "How often a broker reports to its controller."
    "broker.session.timeout.ms": Int = "9000", in Any, ReadOnly, Reported;
        "How long a broker may be silent before it counts as gone."
    "initial.broker.registration.timeout.ms": Int = "60000", in Any, ReadOnly, Reported;
        "How long a broker tries to register at its controller."
    "metadata.log.dir": String = null, in Any, ReadOnly, Reported;
        "Where cluster metadata is kept. streamd keeps it in the data directory."
    "metadata.log.max.record.bytes.between.snapshots": Long = "20971520", in AtLeast(1), ReadOnly, Reported;
        "Bytes of metadata changes between two snapshots."
    "metadata.log.max.snapshot.interval.ms": Long = "3600000", in AtLeast(0), ReadOnly, Reported;
        "The longest time between two metadata snapshots."
    "metadata.log.segment.bytes": Int = "1073741824", in AtLeast(8_388_608), ReadOnly, Reported;
        "The segment size of the metadata log."
    "metadata.log.segment.ms": Long = "604800000", in Any, ReadOnly, Reported;
        "The longest time before a metadata segment is closed."
    "metadata.max.idle.interval.ms": Int = "500", in AtLeast(0), ReadOnly, Reported;
        "How often an idle controller writes a no-op record."
    "metadata.max.retention.bytes": Long = "104857600", in Any, ReadOnly, Reported;
        "How many bytes of metadata log and snapshots are kept."
    "metadata.max.retention.ms": Long = "604800000", in Any, ReadOnly, Reported;
        "How long metadata log and snapshots are kept."
    "internal.metadata.delete.delay.millis": Long = "60000", in Any, ReadOnly, Reported hidden;
        "How long dropped metadata files stay."
    "internal.metadata.log.segment.bytes": Int = null, in Any, ReadOnly, Reported hidden;
        "The metadata segment size without a lower bound, for tests."
    "internal.metadata.max.batch.size.in.bytes": Int = "8388608", in Any, ReadOnly, Reported hidden;
        "The largest metadata batch."
    "num.replica.fetchers": Int = "1", in AtLeast(1), Cluster, Reported;
        "Threads that copy from each leader."
    "num.replica.alter.log.dirs.threads": Int = null, in Any, ReadOnly, Reported;
        "Threads that move replicas between data directories."
    "replica.fetch.backoff.ms": Int = "1000", in AtLeast(0), ReadOnly, Reported;
        "The pause before a follower fetches again after an error."
    "replica.fetch.max.bytes": Int = "1048576", in AtLeast(0), ReadOnly, Reported;
        "Bytes that a follower fetches for each partition."
    "replica.fetch.min.bytes": Int = "1", in Any, ReadOnly, Reported;
        "The least that a follower's fetch waits for."
    "replica.fetch.response.max.bytes": Int = "10485760", in AtLeast(0), ReadOnly, Reported;
        "Bytes that a follower fetches at once."
    "replica.fetch.wait.max.ms": Int = "500", in Any, ReadOnly, Reported;
        "How long a follower's fetch waits."
    "replica.high.watermark.checkpoint.interval.ms": Long = "5000", in Any, ReadOnly, Reported;
        "How often Apache Kafka saves high watermarks."
    "replica.lag.time.max.ms": Long = "30000", in Any, ReadOnly, Reported;
        "A follower that lags for longer than this leaves the in-sync set."
    "replica.selector.class": String = null, in Any, ReadOnly, Reported;
        "A Java class that chooses the replica to read from."
    "replica.socket.receive.buffer.bytes": Int = "65536", in Any, ReadOnly, Reported;
        "The receive buffer of replication sockets."
    "replica.socket.timeout.ms": Int = "30000", in Any, ReadOnly, Reported;
        "Socket time-out of replication."
    "replication.quota.window.num": Int = "11", in AtLeast(1), ReadOnly, Reported;
        "Samples kept for replication quotas."
    "replication.quota.window.size.seconds": Int = "1", in AtLeast(1), ReadOnly, Reported;
        "The time one sample of a replication quota covers."
    "alter.log.dirs.replication.quota.window.num": Int = "11", in AtLeast(1), ReadOnly, Reported;
        "Samples kept for the quota on moving replicas between directories."
    "alter.log.dirs.replication.quota.window.size.seconds": Int = "1", in AtLeast(1), ReadOnly, Reported;
        "The time one sample of the quota on moving replicas covers."
    "follower.fetch.last.tiered.offset.enable": Boolean = "false", in Any, Cluster, Reported;
        "Whether a new follower begins at the last tiered offset."
}
