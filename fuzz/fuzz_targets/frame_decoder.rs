//! The frame decoder against the naive decoder.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| framewright_testkit::fuzz::frame::check(data));
