//! Fuzzes the recovery of a segment file.

#![no_main]

#[path = "../../tests/fuzz/logs.rs"]
#[allow(dead_code, reason = "each fuzzer runs one of them")]
mod logs;

libfuzzer_sys::fuzz_target!(|input: &[u8]| logs::recovery(input));
