//! The inner loop of the static embedder, one text of it compiled for each instruction set: no fused multiply-add and one order
//! of sums, so that all give the same bits.
#![allow(unsafe_code)]

use sparecall_core::cpu::{self, Level};

use super::file::{DIM, Parts};

/// Partial sums of the squares.
const LANES: usize = 16;

/// The unit sum of the rows of `ids` and the bias. False, and zeros, where it has no direction.
pub(super) fn sum(parts: &Parts<'_>, ids: &[u32], out: &mut [f32; DIM]) -> bool {
    match cpu::level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level says that the processor has AVX-512 F, BW, VL and DQ.
        Level::Avx512Vbmi | Level::Avx512 => unsafe { sum_avx512(parts, ids, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level says that the processor has AVX2.
        Level::Avx2 => unsafe { sum_avx2(parts, ids, out) },
        _ => sum_any(parts, ids, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn sum_avx512(parts: &Parts<'_>, ids: &[u32], out: &mut [f32; DIM]) -> bool {
    sum_any(parts, ids, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(parts: &Parts<'_>, ids: &[u32], out: &mut [f32; DIM]) -> bool {
    sum_any(parts, ids, out)
}

#[inline(always)]
#[allow(clippy::inline_always)] // it takes on the instruction set of whoever calls it
fn sum_any(parts: &Parts<'_>, ids: &[u32], out: &mut [f32; DIM]) -> bool {
    *out = parts.bias;
    for id in ids {
        let scale = parts.scale(*id);
        for (sum, number) in out.iter_mut().zip(parts.row(*id)) {
            *sum += scale * f32::from(number.cast_signed());
        }
    }
    let mut lanes = [0.0; LANES];
    for chunk in out.as_chunks::<LANES>().0 {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane += number * number;
        }
    }
    let length = lanes.iter().sum::<f32>().sqrt();
    let unit = length > 0.0 && length.is_finite();
    let share = if unit { length.recip() } else { 0.0 };
    for number in &mut *out {
        *number *= share;
    }
    unit
}
