//! Kafka broker properties: identity, listeners, sockets, requests, metrics, quotas.

use super::{Key, Kind, Scope, Status, Update, Valid};

rows! { pub(super) NETWORK: Broker;
    "node.id": Int = "1", in AtLeast(0), ReadOnly, Effective;
        "This broker's number in the cluster. Same as node_id."
    "broker.id": Int = "-1", in Any, ReadOnly, Effective;
        "The older name of node.id; -1 leaves the choice to node.id."
    "broker.rack": String = null, in Any, ReadOnly, Effective;
        "The rack or zone that metadata answers name for this broker."
    "listeners": List = "PLAINTEXT://:9092", in Any, PerBroker, Effective;
        "The addresses that clients connect to, as NAME://host:port. Same as listen.kafka; listeners named \
         in controller.listener.names are not opened."
    "advertised.listeners": List = null, in Any, ReadOnly, Effective;
        "The address that clients of each listener are told, as NAME://host:port. Same as listen.advertise."
    "listener.security.protocol.map": String = "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
        in Any, PerBroker, Effective;
        "Which protocol each listener name speaks, as NAME:PROTOCOL. Only PLAINTEXT is available in this \
         version."
    "inter.broker.listener.name": String = null, in Any, ReadOnly, Reported;
        "The listener that brokers use among themselves. One broker has no peers."
    "security.inter.broker.protocol": String = "PLAINTEXT",
        in OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), ReadOnly, Reported;
        "The protocol that brokers use among themselves. One broker has no peers."
    "early.start.listeners": List = null, in Any, ReadOnly, Reported;
        "Listeners that open before the authorizer is ready. All listeners open at once."
    "num.network.threads": Int = "3", in AtLeast(1), Cluster, Reported;
        "Threads that serve sockets in Apache Kafka. Here one thread per core serves everything."
    "num.io.threads": Int = "8", in AtLeast(1), Cluster, Reported;
        "Threads that handle requests in Apache Kafka. Here one thread per core serves everything."
    "background.threads": Int = "10", in AtLeast(1), Cluster, Reported;
        "Threads for background work in Apache Kafka. Sized by the machine here."
    "socket.send.buffer.bytes": Int = "102400", in AtLeast(-1), ReadOnly, Effective;
        "The send buffer of client sockets; -1 leaves it to the kernel, and so does not setting it."
    "socket.receive.buffer.bytes": Int = "102400", in AtLeast(-1), ReadOnly, Effective;
        "The receive buffer of client sockets; -1 leaves it to the kernel, and so does not setting it."
    "socket.request.max.bytes": Int = "104857600", in AtLeast(1), ReadOnly, Effective;
        "The largest Produce request accepted. Other requests have their own, smaller bound: \
         network.request_limit."
    "socket.listen.backlog.size": Int = "50", in AtLeast(1), ReadOnly, Effective;
        "Connections that the kernel completes before they are accepted. 1024 unless it is set."
    "socket.connection.setup.timeout.ms": Long = "10000", in Any, ReadOnly, Reported;
        "How long a connection to another broker may take to set up."
    "socket.connection.setup.timeout.max.ms": Long = "30000", in Any, ReadOnly, Reported;
        "The longest that the connection set-up time-out grows to."
    "max.connections": Int = "2147483647", in AtLeast(0), Cluster, Effective;
        "Connections open at the same time. More wait until one of them ends."
    "max.connections.per.ip": Int = "2147483647", in AtLeast(0), Cluster, Effective;
        "Connections open at the same time from one address."
    "max.connections.per.ip.overrides": String = "", in Any, Cluster, Effective;
        "Other limits for some addresses or host names, as host:count,host:count."
    "max.connection.creation.rate": Int = "2147483647", in AtLeast(0), Cluster, Reported;
        "New connections accepted each second."
    "connections.max.idle.ms": Long = "600000", in Any, ReadOnly, Effective;
        "A connection without a request for this long is closed, unless it is owed an answer."
    "connection.failed.authentication.delay.ms": Int = "100", in AtLeast(0), ReadOnly, Reported;
        "How long a failed authentication waits for its answer."
    "queued.max.requests": Int = "500", in AtLeast(1), ReadOnly, Reported;
        "Requests that wait for a thread in Apache Kafka. Bounded by bytes here: network.in_flight_total."
    "queued.max.request.bytes": Long = "-1", in Any, ReadOnly, Effective;
        "Request bytes held by all connections together; -1 takes network.in_flight_total."
    "request.timeout.ms": Int = "30000", in Any, ReadOnly, Reported;
        "How long Apache Kafka's brokers wait for an answer of the controller's. Here both are one process."
    "max.request.partition.size.limit": Int = "2000", in AtLeast(1), ReadOnly, Effective;
        "The most partitions in one answer to DescribeTopicPartitions."
    "fetch.max.bytes": Int = "57671680", in AtLeast(1_024), ReadOnly, Effective;
        "The most bytes in one Fetch answer, whatever the client allows."
    "max.incremental.fetch.session.cache.slots": Int = "1000", in AtLeast(0), ReadOnly, Effective;
        "Incremental fetch sessions kept at the same time."
    "fetch.purgatory.purge.interval.requests": Int = "1000", in Any, ReadOnly, Reported;
        "How often Apache Kafka cleans its list of waiting fetches."
    "producer.purgatory.purge.interval.requests": Int = "1000", in Any, ReadOnly, Reported;
        "How often Apache Kafka cleans its list of waiting produces."
    "delete.records.purgatory.purge.interval.requests": Int = "1", in Any, ReadOnly, Reported;
        "How often Apache Kafka cleans its list of waiting DeleteRecords."
    "share.fetch.purgatory.purge.interval.requests": Int = "1000", in Any, ReadOnly, Reported;
        "How often Apache Kafka cleans its list of waiting share fetches."
    "server.max.startup.time.ms": Long = "9223372036854775807", in AtLeast(0), ReadOnly, Reported hidden;
        "How long Apache Kafka may take to start."
    "unstable.api.versions.enable": Boolean = "false", in Any, ReadOnly, Reported hidden;
        "Whether unfinished API versions are offered. They are not."
    "unstable.feature.versions.enable": Boolean = "false", in Any, ReadOnly, Reported hidden;
        "Whether unfinished feature levels are offered. They are not."
    "metric.reporters": List = "org.apache.kafka.common.metrics.JmxReporter", in Any, Cluster, Reported;
        "Java classes that report metrics."
    "metrics.num.samples": Int = "2", in AtLeast(1), ReadOnly, Reported;
        "Samples kept for each Java metric."
    "metrics.recording.level": String = "INFO", in Any, ReadOnly, Reported;
        "How much the Java metrics record."
    "metrics.sample.window.ms": Long = "30000", in AtLeast(1), ReadOnly, Reported;
        "The time one Java metric sample covers."
    "kafka.metrics.polling.interval.secs": Int = "10", in AtLeast(1), ReadOnly, Reported;
        "How often Java metrics reporters poll."
    "kafka.metrics.reporters": List = "", in Any, ReadOnly, Reported;
        "Java classes that report metrics, in the older form."
    "telemetry.max.bytes": Int = "1048576", in AtLeast(1), ReadOnly, Reported;
        "The largest metrics push of a client."
    "quota.window.num": Int = "11", in AtLeast(1), ReadOnly, Reported;
        "Samples kept for client quotas."
    "quota.window.size.seconds": Int = "1", in AtLeast(1), ReadOnly, Reported;
        "The time one quota sample covers."
    "controller.quota.window.num": Int = "11", in AtLeast(1), ReadOnly, Reported;
        "Samples kept for the quota on topic changes."
    "controller.quota.window.size.seconds": Int = "1", in AtLeast(1), ReadOnly, Reported;
        "The time one sample of the quota on topic changes covers."
    "client.quota.callback.class": Class = null, in Any, ReadOnly, Refused;
        "A Java class that decides quotas. Java plug-ins cannot run here."
    "config.providers": List = "", in Any, Cluster, Refused;
        "Java classes that fetch settings from elsewhere. Java plug-ins cannot run here."
}
