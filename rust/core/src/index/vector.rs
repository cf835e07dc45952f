//! One vector as the index uses it: checked, scaled to length 1, and as a byte a dimension with what that loses.

use super::kernels;
use crate::error::{Error, Result};

/// Rows of bytes and queries are padded to whole cache lines.
pub(super) const ALIGN: usize = 64;
/// What is added to an entry's integers to store them as unsigned bytes.
const OFFSET: u8 = 128;
/// Adding and subtracting it rounds an `f32` below 2²² to the nearest whole number.
const ROUND: f32 = 12_582_912.0;
/// How far rounding can set a unit vector of `f32` and steps of `f32` apart, generously.
pub(super) const ROUNDED: f32 = 4e-7;
/// Values worked on side by side.
const LANES: usize = 16;

/// The length of a row of bytes.
pub(super) fn stride(dim: usize) -> usize {
    dim.next_multiple_of(ALIGN)
}

/// The length of `vector`; refuses what has no direction.
pub(super) fn length(vector: &[f32], dim: usize, row: Option<usize>) -> Result<f64> {
    let wrong = |what: &str| {
        let value = row.map_or_else(|| what.to_owned(), |row| format!("{what} in row {row}"));
        let limit = format!("give {dim} finite numbers, not all zero; nothing was stored or searched");
        Err(Error::InvalidArgument { name: "vector", value, limit })
    };
    if vector.len() != dim {
        return wrong(&format!("of {} dimensions", vector.len()));
    }
    // Infinity and NaN survive the sum of squares; finite `f32` can neither overflow it nor vanish in it.
    match (kernels::get().exact)(vector, vector) {
        0.0 => wrong("all zero"),
        square if square.is_finite() => Ok(square.sqrt()),
        _ => wrong("with NaN or infinity"),
    }
}

/// Appends `vector` scaled to length 1.
pub(super) fn push_unit(vector: &[f32], length: f64, to: &mut Vec<f32>) {
    let factor = 1.0 / length;
    to.extend(vector.iter().map(|&value| (f64::from(value) * factor) as f32));
}

/// A unit vector in whole steps of `scale`, each at most 127 either way, written to `to` with `offset` added; the scale, and
/// how far off the steps are, rounded up.
fn steps(unit: &[f32], offset: u8, to: &mut [u8]) -> (f32, f32) {
    let mut largest = [0.0f32; LANES];
    for values in unit.chunks(LANES) {
        for (largest, value) in largest.iter_mut().zip(values) {
            *largest = largest.max(value.abs());
        }
    }
    let scale = (largest.into_iter().fold(0.0, f32::max) / 127.0).max(f32::MIN_POSITIVE);
    let factor = 1.0 / scale;
    let mut squares = [0.0f32; LANES];
    for (values, bytes) in unit.chunks(LANES).zip(to.chunks_mut(LANES)) {
        for ((square, &value), byte) in squares.iter_mut().zip(values).zip(bytes) {
            // The whole number stands in the last bits of the sum; at most 127 and a rounding, so never 128.
            let whole = value * factor + ROUND;
            let off = value - scale * (whole - ROUND);
            *square += off * off;
            *byte = (whole.to_bits() as u8).wrapping_add(offset);
        }
    }
    let off = squares.iter().sum::<f32>().sqrt();
    // Sums of squares are off by less than a thousandth for any dimension we take; a difference by 2⁻²³ of the value.
    (scale, off * 1.001 + ROUNDED)
}

/// A unit vector as offset bytes, padded; its scale and error.
pub(super) fn bytes(unit: &[f32]) -> (Vec<u8>, [f32; 2]) {
    let mut bytes = vec![OFFSET; stride(unit.len())];
    let (scale, error) = steps(unit, OFFSET, &mut bytes[..unit.len()]);
    (bytes, [scale, error])
}

/// Whether offset bytes are as near to a unit vector as their scale and error say, with room for the rounding here.
pub(super) fn is_near(unit: &[f32], bytes: &[u8], [scale, error]: [f32; 2]) -> bool {
    let mut squares = [0.0f32; LANES];
    for (values, bytes) in unit.chunks(LANES).zip(bytes.chunks(LANES)) {
        for ((square, &value), &byte) in squares.iter_mut().zip(values).zip(bytes) {
            let off = value - scale * whole(byte);
            *square += off * off;
        }
    }
    let off = squares.iter().sum::<f32>().sqrt();
    scale > 0.0 && scale.is_finite() && error.is_finite() && off * 1.000_5 + 2e-7 <= error
}

/// The whole number that a stored byte stands for.
pub(super) fn whole(byte: u8) -> f32 {
    f32::from(byte) - f32::from(OFFSET)
}

/// Scale and error of a vector that is exactly its whole numbers, of this length.
pub(super) fn exactly(length: f64) -> [f32; 2] {
    [(1.0 / length) as f32, ROUNDED]
}

/// The length of a vector of the whole numbers that such bytes stand for.
pub(super) fn whole_length(bytes: impl Iterator<Item = u8>) -> f64 {
    bytes.map(|byte| f64::from(whole(byte) * whole(byte))).sum::<f64>().sqrt()
}

/// A query, prepared.
pub struct Query {
    pub(super) raw: Vec<f32>,
    pub(super) length: f64,
    pub(super) unit: Vec<f32>,
    pub(super) bytes: Vec<i8>,
    /// What the offset of an entry's bytes adds to a product.
    pub(super) offset: i32,
    pub(super) scale: f64,
    pub(super) error: f64,
}

impl Query {
    /// Refuses a vector that has not `dim` finite values or is all zero; `row` is for the message.
    pub fn new(vector: Vec<f32>, dim: usize, row: Option<usize>) -> Result<Self> {
        let length = length(&vector, dim, row)?;
        let mut unit = Vec::with_capacity(dim);
        push_unit(&vector, length, &mut unit);
        let mut bytes = vec![0; stride(dim)];
        let (scale, error) = steps(&unit, 0, &mut bytes[..dim]);
        let bytes: Vec<i8> = bytes.into_iter().map(u8::cast_signed).collect();
        let offset = i32::from(OFFSET) * bytes.iter().map(|&byte| i32::from(byte)).sum::<i32>();
        Ok(Self { raw: vector, length, unit, bytes, offset, scale: f64::from(scale), error: f64::from(error) })
    }
}
