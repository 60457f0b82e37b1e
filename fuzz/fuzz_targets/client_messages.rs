#![no_main]
//! See `moat_fuzz::client_messages`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| moat_fuzz::client_messages(bytes));
