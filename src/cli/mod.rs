//! The command tree.
