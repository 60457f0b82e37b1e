#![no_main]
//! See `moat_fuzz::paths`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| moat_fuzz::paths(bytes));
