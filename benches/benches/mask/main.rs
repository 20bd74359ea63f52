//! Masking beside a plain loop that reads, changes and writes the same octets:
//!
//! ```sh
//! cargo bench -p framewright-benches --bench mask               # some lengths, by criterion
//! cargo bench -p framewright-benches --bench mask -- --sweep    # every length up to 1100 and some above, a table
//! ```
//!
//! The loop is compiled for the widest vectors that the CPU has, as masking is. Once it is a
//! function that is called for each payload and chosen by what the CPU has, as masking has to be;
//! and once, as the limit of what could be, it stands in the measured loop itself, with nothing to
//! call and to choose.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the sweep prints a table")]

mod contest;

use contest::{Contestant, KEY};
use fearless_simd::{Level, dispatch};
use std::hint::black_box;

fn main() {
    contest::run(&[
        contest::OURS,
        Contestant {
            name: "read-modify-write",
            pass: |payloads| {
                let level = Level::new();
                payloads.for_each(|payload| dispatch!(level, _ => read_modify_write(payload)));
            },
        },
        Contestant {
            name: "inlined read-modify-write",
            pass: |payloads| dispatch!(Level::new(), _ => payloads.for_each(read_modify_write)),
        },
    ]);
}

/// In blocks of 64 octets, and then what is left of them: that is faster than one loop over all
/// octets, by 1.1 to 2 times up to 1100 octets, because the compiler has no more than 63 octets to
/// go through in smaller steps.
#[inline(always)]
fn read_modify_write(payload: &mut [u8]) {
    let constant = black_box(KEY[0]);
    let (blocks, rest) = payload.as_chunks_mut::<64>();
    for block in blocks {
        for octet in block {
            *octet ^= constant;
        }
    }
    for octet in rest {
        *octet ^= constant;
    }
}
