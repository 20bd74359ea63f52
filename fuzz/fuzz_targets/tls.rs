//! What a TLS peer sends, cut in any way, in both roles.

#![no_main]

#[path = "../../crates/driver/tests/tls/fuzz.rs"]
#[allow(dead_code, reason = "shared with the driver's tests")]
mod fuzz;
#[path = "../../crates/driver/tests/tls/glass.rs"]
#[allow(dead_code, reason = "shared with the driver's tests")]
mod glass;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::check(data));
