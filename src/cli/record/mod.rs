//! Records as text: what `consume` prints and `produce` reads.

pub(super) mod delimited;
pub(super) mod json;
pub(super) mod read;
pub(super) mod show;
pub(super) mod template;
