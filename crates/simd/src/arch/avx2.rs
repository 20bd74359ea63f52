//! Vectors of 256 bits, where the CPU has AVX2.

use core::arch::x86_64::{
    __m256i, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_storeu_si256, _mm256_xor_si256,
};

use super::advance;
use super::vector::masking_functions;

masking_functions!("avx2", narrower = super::sse2);

/// The octets of a vector.
const WIDTH: usize = 32;

type Vector = __m256i;

/// A vector of the masking key, over and over.
#[inline]
#[target_feature(enable = "avx2")]
fn splat(key: u32) -> Vector {
    _mm256_set1_epi32(key.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(vector: Vector, mask: Vector) -> Vector {
    _mm256_xor_si256(vector, mask)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(octets: &[u8; WIDTH]) -> Vector {
    // SAFETY: the array is as long as the vector and readable; the instruction asks for no
    // alignment.
    unsafe { _mm256_loadu_si256(octets.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(octets: &mut [u8; WIDTH], vector: Vector) {
    // SAFETY: the array is as long as the vector and writable; the instruction asks for no
    // alignment.
    unsafe { _mm256_storeu_si256(octets.as_mut_ptr().cast(), vector) }
}
