//! The four functions of a backend with vectors, written once for all of them.
//!
//! A backend is its vector's width and four primitives, `splat`, `load`, `store` and `xor`;
//! everything else, here, is safe code over slices and arrays, whose lengths the compiler knows.

/// Defines `apply_mask`, `copy_masked`, `apply_mask_short` and `copy_masked_short` for the target
/// feature `$feature`, out of what the invoking module defines: `WIDTH`, `Vector`, `splat`, `load`,
/// `store` and `xor`. What is shorter than one vector goes to the module `$narrower`.
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
            let between = between_ends(payload);
            let mask = splat(advance(key, between.start));
            let (quads, rest) = payload[between].as_chunks_mut::<QUAD>();
            for quad in quads {
                mask_vectors(quad, mask);
            }
            let (pairs, rest) = rest.as_chunks_mut::<PAIR>();
            if let Some(pair) = pairs.first_mut() {
                mask_vectors(pair, mask);
            }
            if let Some(octets) = rest.first_chunk_mut::<WIDTH>() {
                mask_vectors(octets, mask);
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
            let between = between_ends(target);
            let mask = splat(advance(key, between.start));
            let (to_quads, to_rest) = target[between.clone()].as_chunks_mut::<QUAD>();
            let (from_quads, from_rest) = source[between].as_chunks::<QUAD>();
            for (to, from) in to_quads.iter_mut().zip(from_quads) {
                copy_vectors(to, from, mask);
            }
            let (to_pairs, to_rest) = to_rest.as_chunks_mut::<PAIR>();
            let (from_pairs, from_rest) = from_rest.as_chunks::<PAIR>();
            if let (Some(to), Some(from)) = (to_pairs.first_mut(), from_pairs.first()) {
                copy_vectors(to, from, mask);
            }
            if let (Some(to), Some(from)) = (to_rest.first_chunk_mut(), from_rest.first_chunk::<WIDTH>()) {
                copy_vectors(to, from, mask);
            }
            set_last::<1, WIDTH>(target, last);
            set_first::<1, WIDTH>(target, first);
        }

        /// Masks at most [`SHORT`] octets in place.
        #[inline]
        #[target_feature(enable = $feature)]
        pub(crate) fn apply_mask_short(payload: &mut [u8], key: u32) {
            if payload.len() <= WIDTH {
                narrower::apply_mask_short(payload, key);
            } else if payload.len() <= PAIR {
                let Some((first, last)) = masked_ends::<1, WIDTH>(payload, key) else { return };
                set_last::<1, WIDTH>(payload, last);
                set_first::<1, WIDTH>(payload, first);
            } else {
                let Some((first, last)) = masked_ends::<2, PAIR>(payload, key) else { return };
                set_last::<2, PAIR>(payload, last);
                set_first::<2, PAIR>(payload, first);
            }
        }

        /// Copies at most [`SHORT`] octets of `source` onto `target`, of the same length, and masks
        /// them.
        #[inline]
        #[target_feature(enable = $feature)]
        pub(crate) fn copy_masked_short(target: &mut [u8], source: &[u8], key: u32) {
            if source.len() <= WIDTH {
                narrower::copy_masked_short(target, source, key);
            } else if source.len() <= PAIR {
                let Some((first, last)) = masked_ends::<1, WIDTH>(source, key) else { return };
                set_last::<1, WIDTH>(target, last);
                set_first::<1, WIDTH>(target, first);
            } else {
                let Some((first, last)) = masked_ends::<2, PAIR>(source, key) else { return };
                set_last::<2, PAIR>(target, last);
                set_first::<2, PAIR>(target, first);
            }
        }

        /// What lies between the first and the last vector of more than [`PAIR`] octets: begins at
        /// the first aligned octet after the very first octet; the whole vectors in it end before
        /// the last octet, but reach the last vector.
        #[inline]
        #[target_feature(enable = $feature)]
        fn between_ends(octets: &[u8]) -> core::ops::Range<usize> {
            WIDTH - octets.as_ptr().addr() % WIDTH..octets.len() - 1
        }

        #[inline]
        #[target_feature(enable = $feature)]
        fn mask_vectors<const OCTETS: usize>(octets: &mut [u8; OCTETS], mask: Vector) {
            for octets in octets.as_chunks_mut().0 {
                store(octets, xor(load(octets), mask));
            }
        }

        #[inline]
        #[target_feature(enable = $feature)]
        fn copy_vectors<const OCTETS: usize>(target: &mut [u8; OCTETS], source: &[u8; OCTETS], mask: Vector) {
            for (to, from) in target.as_chunks_mut().0.iter_mut().zip(source.as_chunks().0) {
                store(to, xor(load(from), mask));
            }
        }

        /// The first and the last `N` vectors of `source`, masked; `None` if it is shorter than
        /// that.
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
