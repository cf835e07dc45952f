//! What is done to each number of a row, written once for every instruction set: inlined into functions that enable one, these
//! loops become its vector instructions. `FMA` says whether multiplying and adding are one instruction there.

#![allow(clippy::inline_always)] // inlined, or they would not have the instructions of the function they are in

use super::Norm;

/// Partial sums: enough for two vectors of the widest set.
const LANES: usize = 32;

#[inline(always)]
fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// e to the power of `x` within 2e-7 of itself; `x` is at most 88. The polynomial is that of Cephes' `expf`.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    /// Adding it leaves the nearest whole number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.max(-87.0);
    let shifted = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let x = multiply_add::<FMA>(whole, -0.693_359_4, x);
    let x = multiply_add::<FMA>(whole, 2.121_944_4e-4, x);
    let mut sum = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = multiply_add::<FMA>(sum, x, coefficient);
    }
    let sum = multiply_add::<FMA>(sum, x * x, x) + 1.0;
    sum * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// The error function is Abramowitz and Stegun's 7.1.26, within 1.5e-7.
#[inline(always)]
pub(super) fn gelu<const FMA: bool>(numbers: &mut [f32]) {
    for x in numbers {
        let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / multiply_add::<FMA>(z, 0.327_591_1, 1.0);
        let mut sum = 1.061_405_4;
        for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            sum = multiply_add::<FMA>(sum, t, coefficient);
        }
        // The share of the normal distribution beyond |x|.
        let beyond = 0.5 * sum * t * exp::<FMA>(-z * z);
        *x *= if *x > 0.0 { 1.0 - beyond } else { beyond };
    }
}

#[inline(always)]
pub(super) fn softmax<const FMA: bool>(row: &mut [f32]) {
    let highest = fold(row, f32::NEG_INFINITY, f32::max);
    for x in &mut *row {
        *x = exp::<FMA>(*x - highest);
    }
    let share = 1.0 / fold(row, 0.0, |sum, x| sum + x);
    for x in row {
        *x *= share;
    }
}

#[inline(always)]
pub(super) fn add_norm<const FMA: bool>(row: &mut [f32], more: &[f32], norm: &Norm) {
    for (x, more) in row.iter_mut().zip(more) {
        *x += more;
    }
    let size = row.len() as f32;
    let mean = fold(row, 0.0, |sum, x| sum + x) / size;
    for x in &mut *row {
        *x -= mean;
    }
    let variance = fold_squares::<FMA>(row) / size;
    let scale = 1.0 / (variance + norm.epsilon).sqrt();
    for ((x, weight), bias) in row.iter_mut().zip(&norm.weight).zip(&norm.bias) {
        *x = multiply_add::<FMA>(*x * scale, *weight, *bias);
    }
}

#[inline(always)]
fn fold_squares<const FMA: bool>(row: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = multiply_add::<FMA>(*x, *x, *lane);
        }
    }
    let rest = rest.iter().map(|x| x * x).sum::<f32>();
    lanes.iter().sum::<f32>() + rest
}

/// Folds a row in lanes, then the lanes.
#[inline(always)]
fn fold(row: &[f32], start: f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = join(*lane, *x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = join(*lane, *x);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}
