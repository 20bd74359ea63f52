//! Vectors of 512 bits, where the CPU has AVX-512F.

use core::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_storeu_si512, _mm512_xor_si512,
};

use super::advance;
use super::vector::masking_functions;

masking_functions!("avx512f", narrower = super::sse2);

/// The octets of a vector.
const WIDTH: usize = 64;

type Vector = __m512i;

/// A vector of the masking key, over and over.
#[inline]
#[target_feature(enable = "avx512f")]
fn splat(key: u32) -> Vector {
    _mm512_set1_epi32(key.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(vector: Vector, mask: Vector) -> Vector {
    _mm512_xor_si512(vector, mask)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(octets: &[u8; WIDTH]) -> Vector {
    // SAFETY: the array is as long as the vector and readable; the instruction asks for no
    // alignment.
    unsafe { _mm512_loadu_si512(octets.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(octets: &mut [u8; WIDTH], vector: Vector) {
    // SAFETY: the array is as long as the vector and writable; the instruction asks for no
    // alignment.
    unsafe { _mm512_storeu_si512(octets.as_mut_ptr().cast(), vector) }
}
