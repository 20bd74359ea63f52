//! Every backend that this machine has, against a naive oracle: the same seeds, lengths, phases and
//! alignments for all.

use proptest::prelude::*;

use crate::{apply_mask, arch, copy_masked};

/// What section 5.3 says, octet by octet.
fn oracle(source: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
    source.iter().enumerate().map(|(i, octet)| octet ^ key[(phase + i) % 4]).collect()
}

type ApplyMask = fn(&mut [u8], [u8; 4], usize);
type CopyMasked = fn(&mut [u8], &[u8], [u8; 4], usize);

/// The functions of a backend, all with the public signatures.
#[derive(Clone, Copy)]
struct Backend {
    name: &'static str,
    apply_mask: ApplyMask,
    copy_masked: CopyMasked,
    /// Up to this length, the other two functions are tried as well.
    short: usize,
    apply_mask_short: ApplyMask,
    copy_masked_short: CopyMasked,
}

/// A [`Backend`] of the module `arch::$module`, whose functions `$call` calls.
macro_rules! backend {
    ($module:ident, $call:ident) => {
        Backend {
            name: stringify!($module),
            apply_mask: |payload, key, phase| $call!(arch::$module::apply_mask(payload, start(key, phase))),
            copy_masked: |target, source, key, phase| {
                $call!(arch::$module::copy_masked(target, source, start(key, phase)));
            },
            short: arch::$module::SHORT,
            apply_mask_short: |payload, key, phase| {
                $call!(arch::$module::apply_mask_short(payload, start(key, phase)));
            },
            copy_masked_short: |target, source, key, phase| {
                $call!(arch::$module::copy_masked_short(target, source, start(key, phase)));
            },
        }
    };
}

macro_rules! safely {
    ($call:expr) => {
        $call
    };
}

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
macro_rules! with_feature {
    ($call:expr) => {
        // SAFETY: `backends` lists a backend only where the CPU has what it needs.
        unsafe { $call }
    };
}

/// The key as backends take it.
fn start(key: [u8; 4], phase: usize) -> u32 {
    arch::advance(u32::from_le_bytes(key), phase)
}

/// The backends that this machine can run, and the public functions, which choose one.
fn backends() -> Vec<Backend> {
    let chosen = Backend {
        name: "chosen",
        apply_mask: |payload, key, phase| {
            let length = payload.len();
            assert_eq!(apply_mask(payload, key, phase), (phase + length) % 4);
        },
        copy_masked: |target, source, key, phase| {
            assert_eq!(copy_masked(target, source, key, phase), (phase + source.len()) % 4);
        },
        ..backend!(chosen, safely)
    };
    #[cfg_attr(
        not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))),
        expect(unused_mut, reason = "there are no others")
    )]
    let mut backends = vec![chosen, backend!(portable, safely)];
    #[cfg(target_arch = "x86_64")]
    {
        backends.push(backend!(sse2, with_feature));
        if is_x86_feature_detected!("avx2") {
            backends.push(backend!(avx2, with_feature));
        }
        if is_x86_feature_detected!("avx512f") {
            backends.push(backend!(avx512, with_feature));
        }
    }
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    backends.push(backend!(neon, with_feature));
    backends
}

/// Octets of a small generator: no two neighbours, and no two vectors, are alike.
fn seeded(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Memory in which a payload lies `offset` octets after a multiple of 64, with octets around it
/// that must not change.
struct Arena {
    octets: Vec<u8>,
    origin: usize,
}

const BEFORE: usize = 64;
const AFTER: usize = 80;
const GUARD: u8 = 0xa5;

impl Arena {
    fn new(capacity: usize) -> Self {
        let octets = vec![GUARD; 64 + BEFORE + 64 + capacity + AFTER];
        let origin = octets.as_ptr().addr().wrapping_neg() % 64 + BEFORE;
        Self { octets, origin }
    }

    fn place(&mut self, offset: usize, source: &[u8]) -> &mut [u8] {
        let payload = &mut self.octets[self.origin + offset..][..source.len()];
        payload.copy_from_slice(source);
        payload
    }

    /// Compares the payload with `expected` and what is around it with the guard; makes it all
    /// guard again.
    fn check(&mut self, offset: usize, expected: &[u8], what: impl Fn() -> String) {
        let begin = self.origin + offset;
        let end = begin + expected.len();
        assert_eq!(&self.octets[begin..end], expected, "{}", what());
        self.octets[begin..end].fill(GUARD);
        let around = &self.octets[begin - BEFORE..end + AFTER - 16];
        assert!(around == &[GUARD; 2048][..around.len()], "{}: octets around it changed", what());
    }
}

/// All functions of `backend` for one length, at every offset and phase.
fn check_length(backend: Backend, arena: &mut Arena, length: usize) {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let source = seeded(0x9e37_79b9 + length as u64, length);
    let expected: [Vec<u8>; 4] = std::array::from_fn(|phase| oracle(&source, key, phase));
    for offset in 0..64 {
        for (phase, expected) in expected.iter().enumerate() {
            let what = |function: &str| {
                format!("{} {function}({length}) phase {phase} offset {offset}", backend.name)
            };
            (backend.apply_mask)(arena.place(offset, &source), key, phase);
            arena.check(offset, expected, || what("apply_mask"));
            (backend.copy_masked)(arena.place(offset, &vec![0; length]), &source, key, phase);
            arena.check(offset, expected, || what("copy_masked"));
            if length <= backend.short {
                (backend.apply_mask_short)(arena.place(offset, &source), key, phase);
                arena.check(offset, expected, || what("apply_mask_short"));
                (backend.copy_masked_short)(arena.place(offset, &vec![0; length]), &source, key, phase);
                arena.check(offset, expected, || what("copy_masked_short"));
            }
        }
    }
}

/// The table is large: it is walked by as many threads as there are backends.
#[test]
fn every_backend_masks_every_length_to_1100_at_every_offset_and_phase() {
    std::thread::scope(|scope| {
        for backend in backends() {
            scope.spawn(move || {
                let mut arena = Arena::new(1200);
                for length in 0..=1100 {
                    check_length(backend, &mut arena, length);
                }
            });
        }
    });
}

#[test]
fn masking_twice_gives_the_original() {
    let original = seeded(5, 1000);
    for length in [0, 1, 3, 4, 7, 20, 64, 65, 125, 126, 300, 1000] {
        let mut payload = original[..length].to_vec();
        apply_mask(&mut payload, [1, 2, 3, 4], 3);
        assert!(length == 0 || payload != original[..length]);
        apply_mask(&mut payload, [1, 2, 3, 4], 3);
        assert_eq!(payload, original[..length]);
    }
}

#[test]
fn pieces_are_masked_as_the_whole_at_every_split() {
    let key = [0x80, 0x01, 0xfe, 0x7f];
    for length in [0, 1, 5, 20, 64, 65, 127, 300, 700] {
        let source = seeded(7, length);
        let expected = oracle(&source, key, 0);
        for split in 0..=length {
            let mut payload = source.clone();
            let (first, second) = payload.split_at_mut(split);
            let phase = apply_mask(first, key, 0);
            assert_eq!(apply_mask(second, key, phase), length % 4);
            assert_eq!(payload, expected, "apply_mask, {length} octets split at {split}");

            let mut target = vec![0; length];
            let phase = copy_masked(&mut target[..split], &source[..split], key, 0);
            assert_eq!(copy_masked(&mut target[split..], &source[split..], key, phase), length % 4);
            assert_eq!(target, expected, "copy_masked, {length} octets split at {split}");
        }
    }
}

#[test]
fn a_phase_counts_modulo_4_however_large() {
    let mut payload = *b"abcdef";
    assert_eq!(apply_mask(&mut payload, [1, 2, 3, 4], usize::MAX), 1);
    assert_eq!(payload.as_slice(), oracle(b"abcdef", [1, 2, 3, 4], 3));
}

#[test]
fn a_key_of_zeros_changes_nothing() {
    let source = seeded(11, 500);
    let mut payload = source.clone();
    apply_mask(&mut payload, [0; 4], 2);
    assert_eq!(payload, source);
}

#[test]
#[should_panic(expected = "as long as its source")]
fn a_masked_copy_onto_a_longer_target_panics() {
    copy_masked(&mut [0; 21], &[0; 20], [1, 2, 3, 4], 0);
}

#[test]
#[should_panic(expected = "as long as its source")]
fn a_masked_copy_onto_a_shorter_target_panics() {
    copy_masked(&mut [0; 19], &[0; 20], [1, 2, 3, 4], 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn random_octets_are_masked_as_the_oracle_does(
        source in prop::collection::vec(any::<u8>(), 0..3000),
        key in any::<[u8; 4]>(),
        phase in 0_usize..4,
        skipped in 0_usize..64,
    ) {
        let source = &source[skipped.min(source.len())..];
        let expected = oracle(source, key, phase);
        for backend in backends() {
            let mut payload = source.to_vec();
            (backend.apply_mask)(&mut payload, key, phase);
            prop_assert_eq!(&payload, &expected, "apply_mask of {}", backend.name);
            let mut target = vec![0; source.len()];
            (backend.copy_masked)(&mut target, source, key, phase);
            prop_assert_eq!(&target, &expected, "copy_masked of {}", backend.name);
        }
    }

    #[test]
    fn random_pieces_are_masked_as_the_whole(
        source in prop::collection::vec(any::<u8>(), 0..1500),
        key in any::<[u8; 4]>(),
        pieces in prop::collection::vec(1_usize..200, 1..20),
    ) {
        let mut payload = source.clone();
        let (mut rest, mut phase) = (payload.as_mut_slice(), 0);
        for length in pieces {
            let (piece, others) = rest.split_at_mut(length.min(rest.len()));
            phase = apply_mask(piece, key, phase);
            rest = others;
        }
        apply_mask(rest, key, phase);
        prop_assert_eq!(payload, oracle(&source, key, 0));
    }
}
