//! The machine by itself: each table of the module's documentation, row by row. Faults and chance are in `tests/sim`.

mod driver;
mod ending;
mod initialising;
mod passing;
