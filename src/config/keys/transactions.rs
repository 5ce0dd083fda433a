//! Kafka broker properties: producers and transactions.

use super::{Key, Kind, Scope, Status, Update, Valid};

rows! { pub(super) TRANSACTIONS: Broker;
    "producer.id.expiration.ms": Int = "86400000", in AtLeast(1), Cluster, Effective;
        "The sequence numbers of an idempotent producer are forgotten when it has been silent for this long."
    "producer.id.expiration.check.interval.ms": Int = "600000", in AtLeast(1), ReadOnly, Effective hidden;
        "How often silent producers are looked for."
    "transaction.max.timeout.ms": Int = "900000", in AtLeast(1), ReadOnly, Effective;
        "The longest transaction time-out that a producer may ask for."
    "transactional.id.expiration.ms": Int = "604800000", in AtLeast(1), ReadOnly, Effective;
        "A transactional id that is not used for this long is forgotten."
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": Int = "10000",
        in AtLeast(1), ReadOnly, Reported;
        "How often Apache Kafka looks for transactions past their time-out. Here each ends when it is due."
    "transaction.remove.expired.transaction.cleanup.interval.ms": Int = "3600000",
        in AtLeast(1), ReadOnly, Effective;
        "How often transactional ids that are not used are looked for."
    "transaction.partition.verification.enable": Boolean = "true", in Any, Cluster, Effective;
        "Whether a partition checks with the coordinator that its transaction is open."
    "transaction.two.phase.commit.enable": Boolean = "false", in Any, ReadOnly, Refused;
        "Whether producers may keep a transaction open without a time-out. They may not in this version."
    "transaction.state.log.num.partitions": Int = "50", in Between(1, 10_000), ReadOnly, Effective;
        "Partitions of the transaction topic. Used once, when the topic is made."
    "transaction.state.log.replication.factor": Short = "3", in AtLeast(1), ReadOnly, Reported;
        "Replicas of the transaction topic. Capped at the one broker there is."
    "transaction.state.log.min.isr": Int = "2", in AtLeast(1), ReadOnly, Reported;
        "min.insync.replicas of the transaction topic. Capped at the one replica there is."
    "transaction.state.log.segment.bytes": Int = "104857600", in AtLeast(1), ReadOnly, Effective;
        "The segment size of the transaction topic."
    "transaction.state.log.load.buffer.size": Int = "5242880", in AtLeast(1), ReadOnly, Reported;
        "The read size when Apache Kafka loads transactions."
    "add.partitions.to.txn.retry.backoff.ms": Int = "20", in AtLeast(1), ReadOnly, Reported;
        "How long to wait before adding a partition to a transaction is tried again."
    "add.partitions.to.txn.retry.backoff.max.ms": Int = "100", in AtLeast(0), ReadOnly, Reported;
        "How long adding a partition to a transaction is tried."
}
