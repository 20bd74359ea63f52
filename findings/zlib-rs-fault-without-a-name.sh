#!/bin/sh
# zlib-rs names a fault in compressed data only where it has little room to write.
#
# With room for 64 bytes the error has zlib's message for the fault. With room for 4,096 bytes, and as much to
# read, the data are refused just the same, but the message is "repeated call with bad state". The zlib in C
# gives the message of the fault in both. Who tells faults apart by their message has to inflate again with
# little room.
#
# Seen with: zlib-rs 0.6.8 and libz-sys 1.1.31 (zlib 1.3.1), both through flate2 1.1.10.
# Fails if: the messages of either are others.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat > "$folder/src/main.rs" <<'RUST'
use flate2::{Decompress, FlushDecompress};

fn main() {
    // A stored block of 600 octets, then a block with fixed codes: a match of length 3 at distance 32,768.
    let mut data = vec![0x00, 0x58, 0x02, 0xa7, 0xfd];
    data.extend([b'x'; 600]);
    let (mut bits, mut count) = (0u64, 0);
    let mut put = |value: u64, len: u32| {
        bits |= value << count;
        count += len;
    };
    put(1, 1); // last block
    put(1, 2); // fixed codes
    put(0b100_0000, 7); // length 3: the code 0000001, its first bit first
    put(0b10111, 5); // distance code 29, its first bit first
    put(8191, 13); // the largest distance
    data.extend(bits.to_le_bytes());
    data.extend([0; 600]);
    for room in [64, 4096] {
        let mut inflate = Decompress::new(false);
        let mut out = vec![0; room];
        let mut at = 0;
        let error = loop {
            let before = (inflate.total_in(), inflate.total_out());
            match inflate.decompress(&data[at..], &mut out, FlushDecompress::None) {
                Ok(_) if before == (inflate.total_in(), inflate.total_out()) => panic!("no fault found"),
                Ok(_) => at = inflate.total_in() as usize,
                Err(error) => break error,
            }
        };
        println!("{room}: {}", error.message().unwrap_or("(none)"));
    }
}
RUST
run() {
    printf '[package]\nname = "zlibs"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n%s\n' "$1" > "$folder/Cargo.toml"
    (cd "$folder" && cargo run -q)
}
rust=$(run 'flate2 = { version = "=1.1.10", default-features = false, features = ["zlib-rs"] }
zlib-rs = "=0.6.8"')
c=$(run 'flate2 = { version = "=1.1.10", default-features = false, features = ["zlib"] }
libz-sys = { version = "=1.1.31", features = ["static"] }')
printf 'zlib-rs\n%s\nzlib\n%s\n' "$rust" "$c"
said='invalid distance too far back'
[ "$rust" = "64: $said
4096: repeated call with bad state" ]
[ "$c" = "64: $said
4096: $said" ]
