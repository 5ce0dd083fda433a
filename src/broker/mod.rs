//! The broker put together: start order, parts, effects, housekeeping, stop.
