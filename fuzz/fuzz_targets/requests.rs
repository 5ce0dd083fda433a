//! Fuzzes request headers and decoders: one frame.

#![no_main]

#[path = "../../tests/fuzz/targets.rs"]
#[allow(dead_code, reason = "each fuzzer runs one of them")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::requests(input));
