//! Cluster metadata: topics, their ids, partition counts and settings, and blocks of producer ids. A state machine with
//! one shard over `__cluster_metadata-0`; readers see immutable images of it.

pub mod image;

pub use image::{CatalogImage, TopicImage};
