//! What compressed messages make a receiver allocate, counted by the allocator: a test in a binary
//! of its own.

#![cfg(feature = "deflate")]

use framewright::deflate::{Codec, Decompressor, DeflateMemory, DeflateParams};
use framewright::{Config, Delivery, LimitExceeded, Role};
use framewright_testkit::app::Behaviour;
use framewright_testkit::deflate::Deflater;
use framewright_testkit::endpoint::{Endpoint, Seen};
use framewright_testkit::script;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The most octets that were allocated at one time in all of `run`, beyond those before it.
fn most_allocated(run: impl FnOnce()) -> usize {
    let _profiler = dhat::Profiler::builder().testing().build();
    run();
    dhat::HeapStats::get().max_bytes
}

fn endpoint(config: Config) -> Endpoint {
    let codec = Codec::new(DeflateMemory::new(usize::MAX));
    let params = DeflateParams::default();
    Endpoint::deflating(Role::Server, config, params, 1, Behaviour::Silent).with_codec(codec)
}

/// A bomb as a client sends it: zeros, 1,030 of them for an octet. In pieces, as from a socket.
fn bomb() -> Vec<Vec<u8>> {
    let mut stream = script::bytes(Role::Client, "binary rsv1 !fin mask=00000000");
    let payload = Deflater::new(6).part(&vec![0; 8 << 20]);
    let header = script::bytes(Role::Client, &format!("cont !fin mask=00000000 len={}", payload.len()));
    for _ in 0..16 {
        stream.extend([&header[..], &payload].concat());
    }
    stream.chunks(16 << 10).map(<[u8]>::to_vec).collect()
}

/// One function: the counts are of the whole process.
#[test]
fn a_bomb_of_128_mib_costs_no_more_than_the_limit() {
    let bomb = bomb();
    let length: usize = bomb.iter().map(Vec::len).sum();
    assert!(length < 160 << 10, "{length} octets");

    let limit = 1 << 20;
    let most = most_allocated(|| {
        let mut endpoint = endpoint(Config { max_message: limit as u64, ..Config::default() });
        bomb.iter().for_each(|piece| endpoint.feed(piece));
        let cause = endpoint.closure().cause;
        let announced = limit as u64 + 1;
        let expected = LimitExceeded::MessageTooLarge { announced, limit: limit as u64 };
        assert_eq!(cause, Some(framewright::Error::Limit(expected)));
    });
    // The message doubles in size as it is inflated, so that one and a half of it is there when it
    // is moved.
    let besides = Decompressor::MAX_SIZE + (64 << 10);
    assert!(most <= limit + limit / 2 + besides, "{most} octets in whole messages");

    // In chunks, which the application drops.
    let most = most_allocated(|| {
        let mut endpoint =
            endpoint(Config { delivery: Delivery::Chunks, max_message: u64::MAX, ..Config::default() });
        for piece in &bomb {
            endpoint.rx.extend_from_slice(piece);
            let codec = endpoint.codec.take().expect("it comes back");
            assert!(endpoint.connection.driver().lend_codec(codec).is_none());
            loop {
                let mut count = 0;
                while let Some(event) = endpoint.connection.next_event(endpoint.now, &mut endpoint.rx) {
                    assert!(matches!(Seen::from(event), Seen::Chunk { text: false, .. }));
                    count += 1;
                }
                if !endpoint.connection.driver_view().has_inflate_work() {
                    break;
                }
                assert!(count > 0);
                let codec = endpoint.connection.driver().reclaim_codec().expect("it was lent");
                assert!(endpoint.connection.driver().lend_codec(codec).is_none());
            }
            endpoint.codec = endpoint.connection.driver().reclaim_codec();
        }
        assert_eq!(endpoint.connection.stats().bytes_received, 128 << 20);
    });
    // A piece of 64 KiB, and this test's copy of it.
    assert!(most <= besides + (128 << 10), "{most} octets in chunks");
}
