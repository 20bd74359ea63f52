//! The negotiation of permessage-deflate, both sides.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| framewright_testkit::fuzz::negotiation::check(data));
