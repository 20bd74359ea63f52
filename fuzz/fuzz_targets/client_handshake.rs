//! The answer to a client's opening handshake.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| framewright_testkit::fuzz::response::check(data));
