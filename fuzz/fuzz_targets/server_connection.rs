//! A connection as a server, fed in pieces of any size.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| framewright_testkit::fuzz::connection::check(data));
