//! Many connections that share codecs in any order: what each sends is what its own peer can
//! inflate.

use framewright::deflate::{Codec, DeflateMemory, DeflateParams, Level, WindowBits};
use framewright::{Config, Connection, Message, Negotiated, Prepared, Role, Transmit};
use framewright_testkit::deflate::compressible;
use framewright_testkit::naive::inflate::Inflation;
use framewright_testkit::rng::SplitMix64;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

struct End {
    connection: Connection,
    inflation: Inflation,
    window: usize,
    wire: Vec<u8>,
    expected: Vec<Vec<u8>>,
    fragments: Option<Vec<u8>>,
    compressed: usize,
}

fn bits(rng: &mut SplitMix64, least: usize) -> WindowBits {
    WindowBits::new(u8::try_from(rng.between(least, 15)).unwrap()).unwrap()
}

fn end(rng: &mut SplitMix64, now: Instant) -> End {
    let params = DeflateParams {
        server_no_context_takeover: rng.one_in(4),
        client_no_context_takeover: rng.one_in(4),
        server_max_window_bits: bits(rng, 8),
        client_max_window_bits: bits(rng, 8),
    };
    let mut config = Config { high_water: usize::MAX, ..Config::default() };
    config.deflate.level = Level::new(u8::try_from(rng.between(1, 9)).unwrap()).unwrap();
    if rng.one_in(2) {
        config.deflate.level = Level::FASTEST;
    }
    config.deflate.threshold = rng.below(3);
    config.deflate.history = [0, 1, 100, 1024, 4096, 32768, usize::MAX][rng.below(7)];
    let inflation = Inflation::of(&params, Role::Server);
    let connection = Connection::server(Arc::new(config), Negotiated::new().with_deflate(params), now);
    End {
        connection,
        inflation,
        window: params.server_max_window_bits.size(),
        wire: Vec::new(),
        expected: Vec::new(),
        fragments: None,
        compressed: 0,
    }
}

impl End {
    fn flush(&mut self, now: Instant) {
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let Transmit::Bytes { octets, slices: used } = self.connection.poll_transmit(&mut slices) else {
                break;
            };
            for slice in &slices[..used] {
                self.wire.extend_from_slice(slice);
            }
            self.connection.transmitted(now, octets);
        }
    }

    fn check(&mut self) {
        let mut rest = &self.wire[..];
        let mut message = (Vec::new(), false);
        let mut index = 0;
        while !rest.is_empty() {
            let (fin, rsv1, opcode) = (rest[0] & 0x80 != 0, rest[0] & 0x40 != 0, rest[0] & 15);
            let (len, at) = match rest[1] {
                126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
                127 => (usize::try_from(u64::from_be_bytes(rest[2..10].try_into().unwrap())).unwrap(), 10),
                len => (usize::from(len), 2),
            };
            if opcode != 0 {
                message = (Vec::new(), rsv1);
            } else {
                assert!(!rsv1);
            }
            message.0.extend_from_slice(&rest[at..at + len]);
            rest = &rest[at + len..];
            if fin {
                let octets = if message.1 {
                    self.compressed += 1;
                    let inflated = self.inflation.complete(&message.0, 1 << 24);
                    assert!(inflated.is_whole(), "{:?}", inflated.end);
                    assert!(inflated.farthest <= self.window, "{} > {}", inflated.farthest, self.window);
                    self.inflation.remember(&inflated.octets);
                    inflated.octets
                } else {
                    std::mem::take(&mut message.0)
                };
                assert!(octets == self.expected[index], "message {index}");
                index += 1;
            }
        }
        assert_eq!(index, self.expected.len());
        self.wire.clear();
        self.expected.clear();
    }
}

fn payload(rng: &mut SplitMix64, pool: &[u8]) -> Vec<u8> {
    let len = match rng.below(6) {
        0 => rng.below(4),
        1 => rng.below(300),
        2 | 3 => rng.below(3000),
        4 => rng.below(20_000),
        _ => rng.below(80_000),
    };
    match rng.below(4) {
        0 => (0..len).map(|_| u8::try_from(rng.below(256)).unwrap()).collect(),
        1 => compressible(rng, len),
        _ => {
            let from = rng.below(pool.len() - len);
            pool[from..from + len].to_vec()
        }
    }
}

#[test]
fn whoever_is_lent_which_codec_in_between_each_peer_can_inflate_what_it_gets() {
    let seeds: u64 = 2;
    let mut all = (0, 0);
    for seed in 0..seeds {
        let mut rng = SplitMix64::new(seed);
        let rng = &mut rng;
        let now = Instant::now();
        let pool = compressible(rng, 200_000);
        let caps = [0, 100_000, 400_000, 1_000_000, usize::MAX];
        let memory = DeflateMemory::new(caps[rng.below(5)]);
        let other = DeflateMemory::new(caps[rng.below(5)]);
        let mut codecs: Vec<Box<Codec>> = (0..rng.between(1, 4))
            .map(|i| Box::new(Codec::new(Arc::clone(if i == 2 { &other } else { &memory }))))
            .collect();
        let mut ends: Vec<End> = (0..rng.between(1, 6)).map(|_| end(rng, now)).collect();
        for _ in 0..60 {
            let count = codecs.len();
            let which = rng.below(count);
            let index = rng.below(ends.len());
            // Out of the codecs one is lent, or none.
            let mut lent = None;
            if !rng.one_in(12) {
                let codec = codecs.swap_remove(which);
                if let Some(back) = ends[index].connection.driver().lend_codec(codec) {
                    codecs.push(back);
                } else {
                    lent = Some(());
                }
            }
            let end = &mut ends[index];
            for _ in 0..rng.between(1, 4) {
                let octets = payload(rng, &pool);
                if end.fragments.is_none() && rng.one_in(2) {
                    match rng.below(4) {
                        0 => end.connection.send_prepared(&Prepared::new(Message::Binary(&octets))).unwrap(),
                        1 => end.connection.send_uncompressed(Message::Binary(&octets)).unwrap(),
                        2 => end
                            .connection
                            .driver()
                            .send_with_writer(Message::Binary(&octets), &mut |_| 0)
                            .unwrap(),
                        _ => end.connection.send_binary(&octets).unwrap(),
                    }
                    end.expected.push(octets);
                } else {
                    let last = rng.one_in(2);
                    end.connection.send_fragment(Message::Binary(&octets), last).unwrap();
                    end.fragments.get_or_insert_default().extend_from_slice(&octets);
                    if last {
                        end.expected.push(end.fragments.take().unwrap());
                    }
                }
            }
            if let Some(codec) = end.connection.driver().reclaim_codec() {
                codecs.push(codec);
            }
            while codecs.len() > 3 {
                codecs.remove(0);
            }
            let _ = lent;
        }
        for end in &mut ends {
            if end.fragments.is_some() {
                end.connection.send_fragment(Message::Binary(b""), true).unwrap();
                end.expected.push(end.fragments.take().unwrap());
            }
            end.flush(now);
            all.1 += end.expected.len();
            end.check();
            all.0 += end.compressed;
        }
        drop((ends, codecs));
        assert_eq!((memory.stats().held, other.stats().held), (0, 0));
    }
    assert!(all.0 > all.1 / 3, "{} of {} messages were compressed", all.0, all.1);
}
