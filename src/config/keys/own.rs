//! streamd's own settings, in the order in which `broker.toml` shows them.

use super::{Form as F, Key, Kind, Scope, Status, Update, Valid};

const KIB: i64 = 1 << 10;
const MIB: i64 = 1 << 20;

rows! { pub(super) OWN: Own;
    "profile": String = "prod", in OneOf(&["dev", "prod"]), ReadOnly, Effective;
        "The set of defaults: prod (with a config file) or dev (without one, or --dev). dev syncs once a \
         second and never expires committed offsets."
    "data_dir": String = "./streamd-data", in Any, ReadOnly, Effective;
        "The one directory that holds everything. Made if it is missing."
    "node_id": Int = "1", in AtLeast(0), ReadOnly, Effective;
        "This broker's number."
    "cluster_id": String = null, in Any, ReadOnly, Effective;
        "The cluster id that the data must have. Without it one is made at the first start and kept in data_dir."
    "listen.kafka": List = "0.0.0.0:9092", in Form(F::Listeners), ReadOnly, Effective;
        "Where clients connect: host:port, or several as plain://host:port. Port 0 takes a free one."
    "listen.admin": String = "", in Any, ReadOnly, Refused;
        "Where the admin API listens. There is none in this version: leave it empty."
    "listen.advertise": String = "auto", in Form(F::Advertise), ReadOnly, Effective;
        "The address that clients are told. auto answers each connection with the address it came in by; host:port \
         is told to all, a host alone with the port of its listener; NAME://host:port, one for each listener, as in advertised.listeners."
    "listen.advertise.internal": String = null, in Form(F::HostPort), ReadOnly, Effective;
        "Instead of listen.advertise: the address for clients on this machine or its subnet."
    "listen.advertise.external": String = null, in Form(F::HostPort), ReadOnly, Effective;
        "Instead of listen.advertise: the address for all other clients."
    "durability.fsync": String = "batch", in Form(F::Fsync), ReadOnly, Effective;
        "When acknowledged records are on disk. batch: acks=all waits for a sync that all partitions share. \
         always: acks=1 and offset commits wait as well. interval(1s): nobody waits, synced in the background. \
         never: synced when a segment closes and at stop."
    "disk.reserve": String = "5%", in Form(F::Amount(50)), ReadOnly, Effective;
        "Below this much free space, in bytes or percent of the file system, the broker is read-only: produces are \
         refused with an error that clients try again at, and all else works. Retention is run first. 0 turns it off."
    "disk.limit": String = null, in Form(F::Bytes(16 * MIB)), ReadOnly, Effective;
        "The most that data_dir may hold, space that is reserved for logs included. The last of it is kept for \
         compaction (a sixteenth, 1 GiB at most) and for metadata and committed offsets (a thirty-second, 64 MiB at \
         most); at what is left the broker is read-only, as with disk.reserve. No limit unless it is set."
    "disk.scrub_rate": String = "16 MiB", in Form(F::BytesOrOff(64 * KIB)), ReadOnly, Effective;
        "How much the scrub may read each second: every log is read now and then, so that damage shows before somebody \
         needs what is damaged. It takes a tenth of the disk's time at most, and leaves the page cache as it was. 0 turns \
         it off."
    "disk.scrub_interval": String = "7d", in Form(F::Time(100)), ReadOnly, Effective;
        "How long after a scrub has been through all logs the next one begins. The first begins at start."
    "memory.limit": String = "auto", in Form(F::BytesOrAuto(16 * MIB)), ReadOnly, Effective;
        "What the process may use; buffers and caches are sized by it. auto takes the cgroup's limit, or what the \
         machine has."
    "network.request_limit": String = "16 MiB", in Form(F::Bytes(64 * KIB)), ReadOnly, Effective;
        "The largest request other than Produce, whose bound is socket.request.max.bytes."
    "network.in_flight_connection": String = "8 MiB", in Form(F::Bytes(64 * KIB)), ReadOnly, Effective;
        "Request bytes of one connection that may wait for their answer; over it, the connection is not read. One \
         larger request passes alone."
    "network.in_flight_requests": Int = "1024", in Between(1, 1_000_000), ReadOnly, Effective;
        "Requests of one connection that may wait for their answer."
    "network.in_flight_total": String = "auto", in Form(F::BytesOrAuto(64 * KIB)), ReadOnly, Effective;
        "Memory for requests of all connections that are under way or wait for their answer; over it, connections are \
         not read, but for small requests and one larger one at a time. auto is a quarter of memory.limit, at \
         most 1 GiB."
    "defaults.topic.partitions": Int = "1", in Between(1, 10_000), ReadOnly, Effective;
        "Partitions of a topic that is created without a count. Same as num.partitions."
    "defaults.topic.auto_create": Boolean = "true", in Any, ReadOnly, Effective;
        "Whether asking for a topic that does not exist creates it. Same as auto.create.topics.enable."
    "log.format": String = "auto", in OneOf(&["auto", "text", "json"]), ReadOnly, Effective;
        "The form of log lines on standard error: text on a terminal and JSON otherwise (auto), or one of them."
    "log.level": String = "info", in Form(F::LogFilter), ReadOnly, Effective;
        "The least level that is logged: error, warn, info, debug or trace; or a filter such as \
         info,streamd::net=debug. Read again on SIGHUP."
}
