#![no_main]
//! See `moat_fuzz::expressions`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| moat_fuzz::expressions(bytes));
