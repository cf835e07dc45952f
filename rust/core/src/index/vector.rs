//! One vector as the index uses it: checked, scaled to length 1, and as a byte a dimension with what that loses.

use super::kernels;
use crate::error::{Error, Result};

/// Rows of bytes and queries are padded to whole cache lines.
pub(super) const ALIGN: usize = 64;
/// What is added to an entry's integers to store them as unsigned bytes.
const OFFSET: u8 = 128;
/// Adding and subtracting it rounds an `f32` below 2²² to the nearest whole number.
const ROUND: f32 = 12_582_912.0;

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

/// A unit vector in whole steps of `scale`, each at most 127, handed to `put` with its index; the scale, and how far off
/// the steps are, rounded up.
fn steps(unit: &[f32], mut put: impl FnMut(usize, i8)) -> (f32, f32) {
    let largest = unit.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let scale = (largest / 127.0).max(f32::MIN_POSITIVE);
    let factor = 1.0 / scale;
    let mut square = [0.0f64; 4];
    for (at, &value) in unit.iter().enumerate() {
        let step = ((value * factor).clamp(-127.0, 127.0) + ROUND) - ROUND;
        let off = f64::from(value) - f64::from(scale) * f64::from(step);
        square[at % 4] += off * off;
        put(at, step as i8);
    }
    let off = square.iter().sum::<f64>().sqrt();
    (scale, (off * (1.0 + 1e-6) + 2e-7) as f32)
}

/// Appends a unit vector as offset bytes, padded; its scale and error.
pub(super) fn push_bytes(unit: &[f32], to: &mut Vec<u8>) -> (f32, f32) {
    let start = to.len();
    to.resize(start + stride(unit.len()), OFFSET);
    let bytes = &mut to[start..start + unit.len()];
    steps(unit, |at, step| bytes[at] = (step as u8).wrapping_add(OFFSET))
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
        let mut bytes = vec![0i8; stride(dim)];
        let (scale, error) = steps(&unit, |at, step| bytes[at] = step);
        let offset = i32::from(OFFSET) * bytes.iter().map(|&byte| i32::from(byte)).sum::<i32>();
        Ok(Self { raw: vector, length, unit, bytes, offset, scale: f64::from(scale), error: f64::from(error) })
    }
}
