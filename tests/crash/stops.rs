//! Stops and starts.
