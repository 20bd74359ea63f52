//! Compressed messages, on a connection and by themselves, against the naive inflater.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| framewright_testkit::fuzz::inflate::check(data));
