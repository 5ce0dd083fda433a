//! APIs for administration: settings and the cluster itself.

pub mod alter_configs;
mod altered;
pub mod cluster;
pub mod configs;
pub mod incremental_alter_configs;
pub mod log_dirs;
