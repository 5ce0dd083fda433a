//! APIs for administration: settings and the cluster itself.

pub mod cluster;
pub mod configs;
