#![no_main]
//! See `moat_fuzz::fetches`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| moat_fuzz::fetches(bytes));
