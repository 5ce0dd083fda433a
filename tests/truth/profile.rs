//! The settings that brokers run with, the same for Kafka and for streamd.

/// One broker per profile runs the scripts of that profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Profile {
    /// Defaults, but for the replication factors of internal topics and the wait for more members.
    Plain,
    /// Small limits, switches turned off and other defaults for topics.
    Strict,
    /// Transactions, their ids and producers' states that end soon.
    Hasty,
}

impl Profile {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Strict, Self::Hasty];

    /// The same properties in streamd's own file.
    pub(crate) fn toml(self) -> String {
        let plain = |value: &str| value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok();
        let line = |(name, value): &(&str, &str)| match plain(value) {
            true => format!("\"{name}\" = {value}\n"),
            false => format!("\"{name}\" = \"{value}\"\n"),
        };
        "[kafka]\n".to_owned() + &self.properties().iter().map(line).collect::<String>()
    }

    /// Broker properties by their Kafka names.
    pub(crate) fn properties(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Plain => &[
                ("node.id", "1"),
                ("offsets.topic.replication.factor", "1"),
                ("group.initial.rebalance.delay.ms", "0"),
            ],
            Self::Strict => &[
                ("node.id", "1"),
                ("offsets.topic.replication.factor", "1"),
                ("group.initial.rebalance.delay.ms", "1000"),
                ("group.max.size", "2"),
                ("group.min.session.timeout.ms", "1000"),
                ("group.max.session.timeout.ms", "20000"),
                ("offset.metadata.max.bytes", "10"),
                ("auto.create.topics.enable", "false"),
                ("delete.topic.enable", "false"),
                ("num.partitions", "3"),
                ("message.max.bytes", "2000"),
                ("log.message.timestamp.type", "LogAppendTime"),
                ("log.retention.ms", "3600000"),
                ("compression.type", "gzip"),
                ("max.request.partition.size.limit", "3"),
                ("socket.request.max.bytes", "1000000"),
                ("transaction.partition.verification.enable", "false"),
            ],
            Self::Hasty => &[
                ("node.id", "1"),
                ("offsets.topic.replication.factor", "1"),
                ("group.initial.rebalance.delay.ms", "0"),
                ("transaction.max.timeout.ms", "60000"),
                ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200"),
                ("transaction.remove.expired.transaction.cleanup.interval.ms", "200"),
                ("transactional.id.expiration.ms", "2500"),
                ("producer.id.expiration.ms", "4000"),
                ("producer.id.expiration.check.interval.ms", "200"),
            ],
        }
    }
}
