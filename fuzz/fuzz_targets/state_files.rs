#![no_main]
//! See `moat_fuzz::state_files`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| moat_fuzz::state_files(bytes));
