//! Kafka broker properties: consumer groups, committed offsets, share and streams groups.

use super::{Key, Kind, Scope, Status, Update, Valid};

rows! { pub(super) GROUPS: Broker;
    "group.min.session.timeout.ms": Int = "6000", in AtLeast(0), ReadOnly, Effective;
        "The shortest session time-out that a member of a classic group may ask for."
    "group.max.session.timeout.ms": Int = "1800000", in AtLeast(1), ReadOnly, Effective;
        "The longest session time-out that a member of a classic group may ask for."
    "group.initial.rebalance.delay.ms": Int = "3000", in AtLeast(0), ReadOnly, Effective;
        "The longest that an empty classic group waits for more members before its first generation. A lone \
         first member does not wait."
    "group.max.size": Int = "2147483647", in AtLeast(1), ReadOnly, Effective;
        "Members of one classic group; one more is refused."
    "offset.metadata.max.bytes": Int = "4096", in AtLeast(0), ReadOnly, Effective;
        "The longest text that may go with a committed offset."
    "offsets.retention.minutes": Int = "10080", in AtLeast(1), ReadOnly, Effective;
        "Offsets of a group without members expire after this long. The dev profile keeps them for ever \
         (2147483647)."
    "offsets.retention.check.interval.ms": Long = "600000", in AtLeast(1), ReadOnly, Effective;
        "How often expired offsets are looked for."
    "offsets.commit.timeout.ms": Int = "5000", in AtLeast(1), ReadOnly, Effective;
        "How long a commit may wait to be written before it is answered with COORDINATOR_NOT_AVAILABLE, so that \
         the client commits again."
    "offsets.load.buffer.size": Int = "5242880", in AtLeast(1), ReadOnly, Reported;
        "The read size when Apache Kafka loads offsets."
    "offsets.topic.num.partitions": Int = "50", in Between(1, 10_000), ReadOnly, Effective;
        "Partitions of the offsets topic. Used once, when the topic is made."
    "offsets.topic.replication.factor": Short = "3", in AtLeast(1), ReadOnly, Reported;
        "Replicas of the offsets topic. Capped at the one broker there is."
    "offsets.topic.segment.bytes": Int = "104857600", in AtLeast(1), ReadOnly, Effective;
        "The segment size of the offsets topic."
    "offsets.topic.compression.codec": Int = "0", in Any, ReadOnly, Reported;
        "The codec of the offsets topic, as a number. Its batches are small and stored as they are."
    "group.coordinator.rebalance.protocols": List = "classic,consumer,streams",
        in OneOf(&["consumer", "classic", "share", "streams"]), ReadOnly, Reported;
        "The group protocols offered. This version offers classic."
    "group.coordinator.threads": Int = "4", in AtLeast(1), ReadOnly, Reported;
        "Threads of Apache Kafka's group coordinator."
    "group.coordinator.background.threads": Int = "2", in AtLeast(1), ReadOnly, Reported;
        "Background threads of Apache Kafka's group coordinator."
    "group.coordinator.append.linger.ms": Int = "-1", in AtLeast(-1), ReadOnly, Reported;
        "How long Apache Kafka's group coordinator gathers writes. Nothing lingers here."
    "group.coordinator.cached.buffer.max.bytes": Int = "1048588", in AtLeast(524_288), Cluster, Reported;
        "The largest write buffer that Apache Kafka's group coordinator keeps."
    "group.consumer.session.timeout.ms": Int = "45000", in AtLeast(1), ReadOnly, Reported;
        "Session time-out of groups of the consumer protocol."
    "group.consumer.min.session.timeout.ms": Int = "45000", in AtLeast(1), ReadOnly, Reported;
        "The least value of consumer.session.timeout.ms for a group."
    "group.consumer.max.session.timeout.ms": Int = "60000", in AtLeast(1), ReadOnly, Reported;
        "The largest value of consumer.session.timeout.ms for a group."
    "group.consumer.heartbeat.interval.ms": Int = "5000", in AtLeast(1), ReadOnly, Reported;
        "Heartbeat interval of groups of the consumer protocol."
    "group.consumer.min.heartbeat.interval.ms": Int = "5000", in AtLeast(1), ReadOnly, Reported;
        "The least value of consumer.heartbeat.interval.ms for a group."
    "group.consumer.max.heartbeat.interval.ms": Int = "15000", in AtLeast(1), ReadOnly, Reported;
        "The largest value of consumer.heartbeat.interval.ms for a group."
    "group.consumer.assignment.interval.ms": Int = "1000", in AtLeast(0), Cluster, Reported;
        "The least time between two assignments of a consumer group."
    "group.consumer.min.assignment.interval.ms": Int = "0", in AtLeast(0), ReadOnly, Reported;
        "The least value of consumer.assignment.interval.ms for a group."
    "group.consumer.max.assignment.interval.ms": Int = "15000", in AtLeast(0), ReadOnly, Reported;
        "The largest value of consumer.assignment.interval.ms for a group."
    "group.consumer.max.size": Int = "2147483647", in AtLeast(1), ReadOnly, Reported;
        "Members of one group of the consumer protocol."
    "group.consumer.assignors": List = "uniform,range", in Any, ReadOnly, Reported;
        "Assignors of the consumer protocol; the first is the default."
    "group.consumer.migration.policy": String = "bidirectional",
        in OneOfAnyCase(&["disabled", "downgrade", "upgrade", "bidirectional"]), ReadOnly, Reported;
        "Whether groups may move between the classic and the consumer protocol."
    "group.consumer.regex.refresh.interval.ms": Int = "600000", in AtLeast(10_000), ReadOnly, Reported hidden;
        "How often subscriptions by regular expression are evaluated again."
    "group.share.session.timeout.ms": Int = "45000", in AtLeast(1), ReadOnly, Reported;
        "Session time-out of share groups."
    "group.share.min.session.timeout.ms": Int = "45000", in AtLeast(1), ReadOnly, Reported;
        "The least value of share.session.timeout.ms for a group."
    "group.share.max.session.timeout.ms": Int = "60000", in AtLeast(1), ReadOnly, Reported;
        "The largest value of share.session.timeout.ms for a group."
    "group.share.heartbeat.interval.ms": Int = "5000", in AtLeast(1), ReadOnly, Reported;
        "Heartbeat interval of share groups."
    "group.share.min.heartbeat.interval.ms": Int = "5000", in AtLeast(1), ReadOnly, Reported;
        "The least value of share.heartbeat.interval.ms for a group."
    "group.share.max.heartbeat.interval.ms": Int = "15000", in AtLeast(1), ReadOnly, Reported;
        "The largest value of share.heartbeat.interval.ms for a group."
    "group.share.assignment.interval.ms": Int = "1000", in AtLeast(0), Cluster, Reported;
        "The least time between two assignments of a share group."
    "group.share.min.assignment.interval.ms": Int = "0", in AtLeast(0), ReadOnly, Reported;
        "The least value of share.assignment.interval.ms for a group."
    "group.share.max.assignment.interval.ms": Int = "15000", in AtLeast(0), ReadOnly, Reported;
        "The largest value of share.assignment.interval.ms for a group."
    "group.share.max.size": Int = "200", in Between(1, 1_000), ReadOnly, Reported;
        "Members of one share group."
    "group.share.assignors": List = "simple", in Any, ReadOnly, Reported;
        "Assignors of share groups."
    "group.share.delivery.count.limit": Int = "5", in Between(2, 10), ReadOnly, Reported;
        "How often a record is offered to a share group before it is given up."
    "group.share.min.delivery.count.limit": Int = "2", in Between(2, 5), ReadOnly, Reported;
        "The least value of share.delivery.count.limit for a group."
    "group.share.max.delivery.count.limit": Int = "10", in Between(5, 25), ReadOnly, Reported;
        "The largest value of share.delivery.count.limit for a group."
    "group.share.record.lock.duration.ms": Int = "30000", in Between(1_000, 3_600_000), ReadOnly, Reported;
        "How long a share consumer holds a record before it is offered again."
    "group.share.min.record.lock.duration.ms": Int = "15000", in Between(1_000, 30_000), ReadOnly, Reported;
        "The least value of share.record.lock.duration.ms for a group."
    "group.share.max.record.lock.duration.ms": Int = "60000",
        in Between(30_000, 3_600_000), ReadOnly, Reported;
        "The largest value of share.record.lock.duration.ms for a group."
    "group.share.partition.max.record.locks": Int = "2000", in Between(100, 10_000), ReadOnly, Reported;
        "Records of one partition that a share group holds at the same time."
    "group.share.min.partition.max.record.locks": Int = "100", in Between(100, 2_000), ReadOnly, Reported;
        "The least value of share.partition.max.record.locks for a group."
    "group.share.max.partition.max.record.locks": Int = "4000", in Between(2_000, 10_000), ReadOnly, Reported;
        "The largest value of share.partition.max.record.locks for a group."
    "group.share.max.share.sessions": Int = "2000", in AtLeast(1), ReadOnly, Reported;
        "Share sessions open at the same time."
    "group.share.initialize.retry.interval.ms": Int = "30000", in AtLeast(1), ReadOnly, Reported hidden;
        "How often the set-up of a share partition is tried again."
    "group.share.persister.class.name": String = "org.apache.kafka.server.share.persister.DefaultStatePersister",
        in Any, ReadOnly, Refused hidden;
        "A Java class that stores share state. Java plug-ins cannot run here."
    "share.coordinator.append.linger.ms": Int = "-1", in AtLeast(-1), ReadOnly, Reported;
        "How long Apache Kafka's share coordinator gathers writes."
    "share.coordinator.cached.buffer.max.bytes": Int = "1048588", in AtLeast(524_288), Cluster, Reported;
        "The largest write buffer that Apache Kafka's share coordinator keeps."
    "share.coordinator.cold.partition.snapshot.interval.ms": Int = "300000",
        in AtLeast(1), ReadOnly, Reported hidden;
        "How often share state that does not change is written again."
    "share.coordinator.load.buffer.size": Int = "5242880", in AtLeast(1), ReadOnly, Reported;
        "The read size when Apache Kafka loads share state."
    "share.coordinator.snapshot.update.records.per.snapshot": Int = "500",
        in Between(0, 500), ReadOnly, Reported;
        "Updates of share state between two snapshots."
    "share.coordinator.state.topic.compression.codec": Int = "0", in Any, ReadOnly, Reported;
        "The codec of the share state topic, as a number."
    "share.coordinator.state.topic.min.isr": Short = "2", in AtLeast(1), ReadOnly, Reported;
        "min.insync.replicas of the share state topic."
    "share.coordinator.state.topic.num.partitions": Int = "50", in AtLeast(1), ReadOnly, Reported;
        "Partitions of the share state topic."
    "share.coordinator.state.topic.prune.interval.ms": Int = "300000",
        in AtLeast(1), ReadOnly, Reported hidden;
        "How often old share state is dropped."
    "share.coordinator.state.topic.replication.factor": Short = "3", in AtLeast(1), ReadOnly, Reported;
        "Replicas of the share state topic."
    "share.coordinator.state.topic.segment.bytes": Int = "104857600", in AtLeast(1), ReadOnly, Reported;
        "The segment size of the share state topic."
    "share.coordinator.threads": Int = "1", in AtLeast(1), ReadOnly, Reported;
        "Threads of Apache Kafka's share coordinator."
    "share.coordinator.write.timeout.ms": Int = "5000", in AtLeast(1), ReadOnly, Reported;
        "How long a write of share state may take."
    "group.streams.session.timeout.ms": Int = "45000", in AtLeast(1), ReadOnly, Reported;
        "Session time-out of streams groups."
    "group.streams.min.session.timeout.ms": Int = "45000", in AtLeast(1), ReadOnly, Reported;
        "The least value of streams.session.timeout.ms for a group."
    "group.streams.max.session.timeout.ms": Int = "60000", in AtLeast(1), ReadOnly, Reported;
        "The largest value of streams.session.timeout.ms for a group."
    "group.streams.heartbeat.interval.ms": Int = "5000", in AtLeast(1), ReadOnly, Reported;
        "Heartbeat interval of streams groups."
    "group.streams.min.heartbeat.interval.ms": Int = "5000", in AtLeast(1), ReadOnly, Reported;
        "The least value of streams.heartbeat.interval.ms for a group."
    "group.streams.max.heartbeat.interval.ms": Int = "15000", in AtLeast(1), ReadOnly, Reported;
        "The largest value of streams.heartbeat.interval.ms for a group."
    "group.streams.assignment.interval.ms": Int = "1000", in AtLeast(0), Cluster, Reported;
        "The least time between two assignments of a streams group."
    "group.streams.min.assignment.interval.ms": Int = "0", in AtLeast(0), ReadOnly, Reported;
        "The least value of streams.assignment.interval.ms for a group."
    "group.streams.max.assignment.interval.ms": Int = "15000", in AtLeast(0), ReadOnly, Reported;
        "The largest value of streams.assignment.interval.ms for a group."
    "group.streams.max.size": Int = "2147483647", in AtLeast(1), ReadOnly, Reported;
        "Members of one streams group."
    "group.streams.num.standby.replicas": Int = "0", in AtLeast(0), ReadOnly, Reported;
        "Standby copies of each task of a streams group."
    "group.streams.max.standby.replicas": Int = "2", in AtLeast(0), ReadOnly, Reported;
        "The largest value of streams.num.standby.replicas for a group."
    "group.streams.initial.rebalance.delay.ms": Int = "3000", in AtLeast(0), ReadOnly, Reported;
        "How long an empty streams group waits for more members."
}
