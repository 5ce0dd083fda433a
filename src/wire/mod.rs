//! The Kafka protocol's bytes: frames, headers, request cursor, response encoding. Pure: no sockets.
