//! Consumer groups and their committed offsets: a pure state machine.
