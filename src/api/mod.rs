//! The Kafka APIs: one table, one file per API.
