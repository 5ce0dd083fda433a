//! Log setup: text on a terminal, JSON otherwise.
