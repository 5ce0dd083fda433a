//! APIs that set up a connection.

pub mod api_versions;
