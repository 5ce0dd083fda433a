//! The produce-time checks, held against what Apache Kafka 4.3.1 answered and stored ([`kafka`]), and on their own.

#[path = "kafka/mod.rs"]
mod kafka;
