//! The head of a vector: its coordinates along the directions in which the data varies most, and their 2-bit codes.
//!
//! The directions come from subspace iteration over a sample and are then mixed by a random rotation, so that all
//! coordinates vary alike. How good they are decides what a search costs, never what it finds: `bound.rs` needs only that
//! they are nearly orthonormal, which is measured.

use super::bound::{Range, Sums};
use super::kernels::{self, QUAD};

/// Steps of subspace iteration: the spectrum of embeddings falls slowly, and more steps gain nothing measurable.
const STEPS: usize = 3;
/// Where a coordinate, in standard deviations from its mean, passes from one code to the next, and what each code stands
/// for: the quantiser of least squared error for the normal distribution (Max, 1960).
const BORDER: f32 = 0.981_6;
const LEVELS: [f32; 4] = [-1.510, -0.452_8, 0.452_8, 1.510];
/// The bound holds for directions no further from orthonormal.
const MAX_SKEW: f64 = 0.1;

/// A fitted head.
#[derive(Debug)]
pub(super) struct Projection {
    pub(super) dim: usize,
    /// Coordinates in the head, a multiple of 16.
    pub(super) head: usize,
    /// `dim x head`: a column for each direction.
    pub(super) weights: Vec<f32>,
    pub(super) means: Vec<f32>,
    pub(super) deviations: Vec<f32>,
    /// What each code of each coordinate stands for.
    pub(super) levels: Vec<[f32; 4]>,
    /// How far the directions are from orthonormal: the Frobenius norm of `P Pᵀ - I`.
    pub(super) skew: f64,
    /// What the two stored bytes of an entry's distances span.
    pub(super) near: Range,
    pub(super) rest: Range,
}

impl Projection {
    /// Fits a head to `sample`, rows of unit length; the same sample gives the same head.
    pub(super) fn fit(dim: usize, head: usize, sample: &[f32]) -> Self {
        assert!(head.is_multiple_of(QUAD) && head <= dim && !sample.is_empty());
        let rows = sample.len() / dim;
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut directions: Vec<f32> = (0..dim * head).map(|_| random.spread()).collect();
        let turned = transpose(sample, dim);
        let matmul = kernels::get().matmul;
        for _ in 0..STEPS {
            let mut coordinates = vec![0.0; rows * head];
            matmul(sample, &directions, head, &mut coordinates);
            matmul(&turned, &coordinates, head, &mut directions);
            let columns = orthonormal(transpose(&directions, head), dim, &mut random);
            directions = transpose(&columns, dim);
        }
        let mixing = orthonormal((0..head * head).map(|_| random.spread()).collect(), head, &mut random);
        let mut mixed = vec![0.0; dim * head];
        matmul(&directions, &mixing, head, &mut mixed);
        // Once more, for the rounding of the product.
        let columns = orthonormal(transpose(&mixed, head), dim, &mut random);
        let mut fitted = Self {
            dim,
            head,
            skew: skew(&columns, dim),
            weights: transpose(&columns, dim),
            means: vec![0.0; head],
            deviations: vec![1.0; head],
            levels: Vec::new(),
            near: Range::default(),
            rest: Range::default(),
        };
        fitted.measure(sample);
        fitted
    }

    /// A head that was fitted before; None where it could not have been.
    pub(super) fn restore(
        dim: usize,
        weights: Vec<f32>,
        means: Vec<f32>,
        deviations: Vec<f32>,
        [near, rest]: [Range; 2],
    ) -> Option<Self> {
        let head = means.len();
        let skew = skew(&transpose(&weights, head), dim);
        let sound = skew <= MAX_SKEW
            && means.iter().all(|mean| mean.abs() <= 2.0)
            && deviations.iter().all(|&deviation| deviation > 0.0 && deviation <= 2.0)
            && [near, rest].iter().all(|range| range.low.abs() <= 10.0 && range.step > 0.0 && range.step <= 10.0);
        let mut restored = Self { dim, head, weights, means, deviations, levels: Vec::new(), skew, near, rest };
        restored.set_levels();
        sound.then_some(restored)
    }

    fn set_levels(&mut self) {
        let of = |(&mean, &deviation): (&f32, &f32)| LEVELS.map(|level| mean + deviation * level);
        self.levels = self.means.iter().zip(&self.deviations).map(of).collect();
    }

    /// The heads of unit vectors, one after another.
    pub(super) fn apply(&self, units: &[f32]) -> Vec<f32> {
        let mut heads = vec![0.0; units.len() / self.dim * self.head];
        (kernels::get().matmul)(units, &self.weights, self.head, &mut heads);
        heads
    }

    /// The code of each coordinate of a head, and the level it stands for.
    pub(super) fn encode(&self, head: &[f32], codes: &mut [u8], levels: &mut [f32]) {
        let normal = self.means.iter().zip(&self.deviations);
        for (((&value, (&mean, &deviation)), code), level) in head.iter().zip(normal).zip(codes).zip(levels) {
            let (away, border) = (value - mean, BORDER * deviation);
            let (low, up, high) = (away > -border, away > 0.0, away > border);
            *code = u8::from(low) + u8::from(up) + u8::from(high);
            // As `set_levels` has them, but without looking them up: coordinates go side by side.
            let near = if up { LEVELS[2] } else { LEVELS[1] };
            let far = if up { LEVELS[3] } else { LEVELS[0] };
            *level = mean + deviation * if low == high { far } else { near };
        }
    }

    /// Means, deviations, levels and the ranges of the distances, from the sample.
    fn measure(&mut self, sample: &[f32]) {
        let heads = self.apply(sample);
        let rows = heads.len() / self.head;
        let (mut sums, mut squares) = (vec![0.0f64; self.head], vec![0.0f64; self.head]);
        for head in heads.chunks_exact(self.head) {
            for ((sum, square), &value) in sums.iter_mut().zip(&mut squares).zip(head) {
                *sum += f64::from(value);
                *square += f64::from(value) * f64::from(value);
            }
        }
        for at in 0..self.head {
            let mean = sums[at] / rows as f64;
            self.means[at] = mean as f32;
            self.deviations[at] = (squares[at] / rows as f64 - mean * mean).max(0.0).sqrt().max(1e-5) as f32;
        }
        self.set_levels();
        let (mut near, mut rest) = (Range::NOTHING, Range::NOTHING);
        let (mut codes, mut levels) = (vec![0; self.head], vec![0.0; self.head]);
        for head in heads.chunks_exact(self.head) {
            self.encode(head, &mut codes, &mut levels);
            let (a, b) = Sums::new(head, &levels).distances(self);
            near.cover(a);
            rest.cover(b);
        }
        (self.near, self.rest) = (near.widened(), rest.widened());
    }
}

/// Rows of `width` become columns.
fn transpose(from: &[f32], width: usize) -> Vec<f32> {
    let height = from.len() / width;
    let mut to = vec![0.0; from.len()];
    for (row, values) in from.chunks_exact(width).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            to[column * height + row] = value;
        }
    }
    to
}

/// Rows made orthonormal by Gram and Schmidt, twice over; one that depends on those before gives way to a random one.
fn orthonormal(rows: Vec<f32>, width: usize, random: &mut Random) -> Vec<f32> {
    let exact = kernels::get().exact;
    let mut done = rows;
    for at in 0..done.len() / width {
        let (before, rest) = done.split_at_mut(at * width);
        let row = &mut rest[..width];
        loop {
            let length = exact(row, row).sqrt();
            scale(row, length);
            for _ in 0..2 {
                for other in before.chunks_exact(width) {
                    let along = exact(other, row) as f32;
                    for (value, &other) in row.iter_mut().zip(other) {
                        *value -= along * other;
                    }
                }
            }
            let left = exact(row, row).sqrt();
            scale(row, left);
            // After two passes what is left of an independent row is nearly all of it; of a dependent one, noise.
            if length > 0.0 && left > 1e-3 {
                break;
            }
            row.fill_with(|| random.spread());
        }
    }
    done
}

fn scale(row: &mut [f32], length: f64) {
    let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
    for value in row {
        *value = (f64::from(*value) * factor) as f32;
    }
}

/// The Frobenius norm of `rows rowsᵀ - I`.
fn skew(rows: &[f32], width: usize) -> f64 {
    let exact = kernels::get().exact;
    let count = rows.len() / width;
    let mut sum = 0.0;
    for a in 0..count {
        for b in 0..=a {
            let product = exact(&rows[a * width..][..width], &rows[b * width..][..width]);
            let error = product - f64::from(u8::from(a == b));
            sum += error * error * if a == b { 1.0 } else { 2.0 };
        }
    }
    sum.sqrt() * 1.001 + 1e-12
}

/// `SplitMix64` (Steele, Lea, Flood, 2014): directions need no better.
struct Random(u64);

impl Random {
    /// About normal: four uniform values summed.
    fn spread(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut bits = self.0;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            sum += ((bits ^ (bits >> 31)) >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_and_its_level_are_one() {
        let mut random = Random(1);
        let (dim, head) = (64, 32);
        let sample: Vec<f32> = (0..200 * dim).map(|_| random.spread()).collect();
        let projection = Projection::fit(dim, head, &sample);
        let (mut codes, mut levels) = (vec![0; head], vec![0.0; head]);
        let of = |(at, value): (usize, f32)| projection.means[at] + value * projection.deviations[at];
        for border in [-BORDER, 0.0, BORDER, -100.0, 100.0, -0.5, 0.5, 1.2, -1.2] {
            let head: Vec<f32> = (0..head).map(|at| of((at, border))).collect();
            projection.encode(&head, &mut codes, &mut levels);
            for (at, (&code, &level)) in codes.iter().zip(&levels).enumerate() {
                assert!((level - projection.levels[at][usize::from(code)]).abs() == 0.0, "{border} {code}");
                assert!(border.abs() < 1.0 || usize::from(code) == if border < 0.0 { 0 } else { 3 });
            }
        }
    }
}
