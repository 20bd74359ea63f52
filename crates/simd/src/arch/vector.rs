//! The four functions of a backend with vectors, written once for all of them.
//!
//! A backend is its vector's width and four primitives, `splat`, `load`, `store` and `xor`; everything else, here, is
//! safe code over slices and arrays, whose lengths the compiler knows.

/// Defines `apply_mask`, `copy_masked`, `apply_mask_short` and `copy_masked_short` for the target feature `$feature`,
/// out of what the invoking module defines: `WIDTH`, `Vector`, `splat`, `load`, `store` and `xor`. What is shorter than
/// one vector goes to the module `$narrower`.
macro_rules! masking_functions {
    ($feature:literal, narrower = $narrower:path) => {
        use $narrower as narrower;

        /// [`apply_mask_short`] and [`copy_masked_short`] take up to this many octets.
        pub(crate) const SHORT: usize = QUAD;

        /// The octets of two vectors, and of four.
        const PAIR: usize = 2 * WIDTH;
        const QUAD: usize = 4 * WIDTH;

        /// Masks a payload of any length in place.
        #[inline(never)]
        #[target_feature(enable = $feature)]
        pub(crate) fn apply_mask(payload: &mut [u8], key: u32) {
            if payload.len() <= SHORT {
                return apply_mask_short(payload, key);
            }
            let Some((first, last)) = masked_ends::<1, WIDTH>(payload, key) else { return };
            let skipped = to_alignment(payload);
            let mask = splat(advance(key, skipped));
            let (quads, rest) = payload[skipped..].as_chunks_mut::<QUAD>();
            for quad in quads {
                for octets in quad.as_chunks_mut().0 {
                    store(octets, xor(load(octets), mask));
                }
            }
            for octets in rest.as_chunks_mut().0 {
                store(octets, xor(load(octets), mask));
            }
            set_last::<1, WIDTH>(payload, last);
            set_first::<1, WIDTH>(payload, first);
        }

        /// Copies `source` onto `target`, of the same length, and masks it.
        #[inline(never)]
        #[target_feature(enable = $feature)]
        pub(crate) fn copy_masked(target: &mut [u8], source: &[u8], key: u32) {
            if source.len() <= SHORT {
                return copy_masked_short(target, source, key);
            }
            let Some((first, last)) = masked_ends::<1, WIDTH>(source, key) else { return };
            let skipped = to_alignment(target);
            let mask = splat(advance(key, skipped));
            let (to_quads, to_rest) = target[skipped..].as_chunks_mut::<QUAD>();
            let (from_quads, from_rest) = source[skipped..].as_chunks::<QUAD>();
            for (to, from) in to_quads.iter_mut().zip(from_quads) {
                for (to, from) in to.as_chunks_mut().0.iter_mut().zip(from.as_chunks().0) {
                    store(to, xor(load(from), mask));
                }
            }
            for (to, from) in to_rest.as_chunks_mut().0.iter_mut().zip(from_rest.as_chunks().0) {
                store(to, xor(load(from), mask));
            }
            set_last::<1, WIDTH>(target, last);
            set_first::<1, WIDTH>(target, first);
        }

        /// Masks at most [`SHORT`] octets in place.
        #[inline]
        #[target_feature(enable = $feature)]
        pub(crate) fn apply_mask_short(payload: &mut [u8], key: u32) {
            if payload.len() < WIDTH {
                narrower::apply_mask_short(payload, key);
            } else if let Some((first, last)) = masked_ends::<2, PAIR>(payload, key) {
                set_last::<2, PAIR>(payload, last);
                set_first::<2, PAIR>(payload, first);
            } else if let Some((first, last)) = masked_ends::<1, WIDTH>(payload, key) {
                set_last::<1, WIDTH>(payload, last);
                set_first::<1, WIDTH>(payload, first);
            }
        }

        /// Copies at most [`SHORT`] octets of `source` onto `target`, of the same length, and masks them.
        #[inline]
        #[target_feature(enable = $feature)]
        pub(crate) fn copy_masked_short(target: &mut [u8], source: &[u8], key: u32) {
            if source.len() < WIDTH {
                narrower::copy_masked_short(target, source, key);
            } else if let Some((first, last)) = masked_ends::<2, PAIR>(source, key) {
                set_last::<2, PAIR>(target, last);
                set_first::<2, PAIR>(target, first);
            } else if let Some((first, last)) = masked_ends::<1, WIDTH>(source, key) {
                set_last::<1, WIDTH>(target, last);
                set_first::<1, WIDTH>(target, first);
            }
        }

        /// How many octets come before the first aligned vector of `octets`: fewer than [`WIDTH`].
        #[inline]
        #[target_feature(enable = $feature)]
        fn to_alignment(octets: &[u8]) -> usize {
            octets.as_ptr().addr().wrapping_neg() % WIDTH
        }

        /// The first and the last `N` vectors of `source`, masked; `None` if it is shorter than that.
        #[inline]
        #[target_feature(enable = $feature)]
        fn masked_ends<const N: usize, const OCTETS: usize>(
            source: &[u8],
            key: u32,
        ) -> Option<([Vector; N], [Vector; N])> {
            let (first, last) = (source.first_chunk::<OCTETS>()?, source.last_chunk::<OCTETS>()?);
            // The last vectors start a multiple of 4 octets before the end.
            Some((masked(first, key), masked(last, advance(key, source.len()))))
        }

        /// The `N` vectors of so many octets, masked.
        #[inline]
        #[target_feature(enable = $feature)]
        fn masked<const N: usize, const OCTETS: usize>(source: &[u8; OCTETS], key: u32) -> [Vector; N] {
            const { assert!(OCTETS == N * WIDTH, "as many octets as the vectors have") };
            let mask = splat(key);
            let mut vectors = [mask; N];
            for (vector, octets) in vectors.iter_mut().zip(source.as_chunks().0) {
                *vector = xor(load(octets), mask);
            }
            vectors
        }

        /// Writes `vectors` onto the first octets of `target`.
        #[inline]
        #[target_feature(enable = $feature)]
        fn set_first<const N: usize, const OCTETS: usize>(target: &mut [u8], vectors: [Vector; N]) {
            if let Some(octets) = target.first_chunk_mut::<OCTETS>() {
                store_all(octets, vectors);
            }
        }

        /// Writes `vectors` onto the last octets of `target`.
        #[inline]
        #[target_feature(enable = $feature)]
        fn set_last<const N: usize, const OCTETS: usize>(target: &mut [u8], vectors: [Vector; N]) {
            if let Some(octets) = target.last_chunk_mut::<OCTETS>() {
                store_all(octets, vectors);
            }
        }

        #[inline]
        #[target_feature(enable = $feature)]
        fn store_all<const N: usize, const OCTETS: usize>(target: &mut [u8; OCTETS], vectors: [Vector; N]) {
            for (octets, vector) in target.as_chunks_mut().0.iter_mut().zip(vectors) {
                store(octets, vector);
            }
        }
    };
}

pub(crate) use masking_functions;
