//! Masking beside the masking functions that other crates make public: `cargo bench --bench mask`,
//! or with `-- --sweep` a table of every length up to 1100 and some above.
//!
//! Those of tungstenite and tokio-websockets are private. The one of tungstenite is the one of
//! fastwebsockets, to the letter; what tokio-websockets makes of it is part of the decoding that is
//! measured beside this.

#![forbid(unsafe_code)]

// One home for how it is measured: the bench of the main workspace.
#[path = "../../../benches/mask/contest.rs"]
mod contest;

use contest::{Contestant, KEY};
use std::hint::black_box;

fn main() {
    contest::run(&[
        contest::OURS,
        Contestant {
            name: "fastwebsockets",
            pass: |payloads| payloads.for_each(|payload| fastwebsockets::unmask(payload, black_box(KEY))),
        },
        Contestant {
            name: "sockudo-ws",
            pass: |payloads| {
                payloads.for_each(|payload| sockudo_ws::simd::apply_mask(payload, black_box(KEY)));
            },
        },
        Contestant {
            name: "yawc",
            pass: |payloads| payloads.for_each(|payload| yawc::mask::apply_mask(payload, black_box(KEY))),
        },
    ]);
}
