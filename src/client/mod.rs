//! A small Kafka client for the command line and the tests: any broker, not just ours.
