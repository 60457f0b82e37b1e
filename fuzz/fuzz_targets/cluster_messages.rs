#![no_main]
//! See `moat_fuzz::cluster_messages`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| moat_fuzz::cluster_messages(bytes));
