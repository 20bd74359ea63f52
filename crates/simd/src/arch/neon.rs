//! Vectors of 128 bits, where the target has NEON, as all common AArch64 targets do: the baseline
//! there.

use core::arch::aarch64::{uint8x16_t, vdupq_n_u32, veorq_u8, vld1q_u8, vreinterpretq_u8_u32, vst1q_u8};

use super::advance;
use super::vector::masking_functions;

masking_functions!("neon", narrower = super::portable);

/// The octets of a vector.
const WIDTH: usize = 16;

type Vector = uint8x16_t;

/// A vector of the masking key, over and over.
#[inline]
#[target_feature(enable = "neon")]
fn splat(key: u32) -> Vector {
    vreinterpretq_u8_u32(vdupq_n_u32(key))
}

#[inline]
#[target_feature(enable = "neon")]
fn xor(vector: Vector, mask: Vector) -> Vector {
    veorq_u8(vector, mask)
}

#[inline]
#[target_feature(enable = "neon")]
fn load(octets: &[u8; WIDTH]) -> Vector {
    // SAFETY: the array is as long as the vector and readable; the instruction asks for no
    // alignment.
    unsafe { vld1q_u8(octets.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(octets: &mut [u8; WIDTH], vector: Vector) {
    // SAFETY: the array is as long as the vector and writable; the instruction asks for no
    // alignment.
    unsafe { vst1q_u8(octets.as_mut_ptr(), vector) }
}
