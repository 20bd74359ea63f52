//! Vectors of 128 bits, which every x86-64 CPU has: the baseline there, in use without a look at
//! the CPU.

use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_set1_epi32, _mm_storeu_si128, _mm_xor_si128};

use super::advance;
use super::vector::masking_functions;

masking_functions!("sse2", narrower = super::portable);

/// The octets of a vector.
const WIDTH: usize = 16;

type Vector = __m128i;

/// A vector of the masking key, over and over.
#[inline]
#[target_feature(enable = "sse2")]
fn splat(key: u32) -> Vector {
    _mm_set1_epi32(key.cast_signed())
}

#[inline]
#[target_feature(enable = "sse2")]
fn xor(vector: Vector, mask: Vector) -> Vector {
    _mm_xor_si128(vector, mask)
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(octets: &[u8; WIDTH]) -> Vector {
    // SAFETY: the array is as long as the vector and readable; the instruction asks for no
    // alignment.
    unsafe { _mm_loadu_si128(octets.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn store(octets: &mut [u8; WIDTH], vector: Vector) {
    // SAFETY: the array is as long as the vector and writable; the instruction asks for no
    // alignment.
    unsafe { _mm_storeu_si128(octets.as_mut_ptr().cast(), vector) }
}
