//! What an entry's codes prove about its similarity: the bound that lets a search skip it.
//!
//! Let `q` and `x` be a query and an entry scaled to length 1, `P` the `head x dim` matrix of directions, `E = P Pᵀ - I`
//! with Frobenius norm at most `skew`, and `R = Pᵀ (P Pᵀ)⁻¹ P` the orthogonal projection onto the space they span. Then
//!
//! ```text
//! q.x = q.Rx + (q - Rq).(x - Rx)                                              R is an orthogonal projection
//!     = Pq.(P Pᵀ)⁻¹ Px + (q - Rq).(x - Rx)
//!    <= Pq.Px + 2 skew + |q - Rq| |x - Rx|                                    |(P Pᵀ)⁻¹ - I| <= skew / (1 - skew), skew <= 0.1
//! ```
//!
//! The computed heads `q'`, `x'` differ from `Pq`, `Px` by at most `drift` in length: a sum of `dim` products of `f32`, in
//! any order, fused or not, is off by at most `dim 2⁻²⁴` of the sum of their magnitudes, which Cauchy and Schwarz hold to
//! the lengths of a direction and of a unit vector; `head` such coordinates make `sqrt(head) dim 2⁻²⁴`; scaling to length 1
//! in `f32` adds `2⁻²⁴`. So `Pq.Px <= q'.x' + 3 drift`. Let `c` be what the codes of `x'` stand for:
//!
//! ```text
//! q'.x' = q'.c + q'.(x' - c) <= q'.c + |q'| |x' - c|
//! |x - Rx|² = 1 - |Rx|² <= 1 - |Px|² / (1 + skew) <= 1 - |x'|² + skew |x'|² + 2 drift |x'|
//! q.x <= q'.c + |q'| near(x) + rest(q) rest(x) + 2 skew + 3 drift             near(x) = |x' - c|, rest(x) >= |x - Rx|
//! ```
//!
//! `near` and `rest` are stored with each entry in a byte each, rounded up; where they exceed the bytes' range the entry is
//! always verified. `q'.c` is a sum over pairs of coordinates of one of sixteen values; each is rounded **up** to a byte in
//! steps of about the widest pair's 254th, so that the sum of bytes is an upper bound of `q'.c` too. All of it is compared in
//! integers, with the threshold rounded down and the factors of the distances rounded up. Nothing is estimated: an entry
//! whose score stays below the threshold has a similarity below it, whatever the data.
//!
//! For what remains a sharper bound is computed, from four numbers stored beside. Let `u` be the length of `q'` along `c`,
//! `u = q'.c / |c|`. With `x'` split into `along` the direction of `c` and `across` it, and `q'` likewise,
//!
//! ```text
//! q'.x' <= along u + across sqrt(|q'|² - u²)                                   Cauchy and Schwarz across c
//! ```
//!
//! which grows with `u` up to `u = |q'| along / |x'|`, where it is `|q'| |x'|`, so that an upper bound of `u` serves.
//!
//! Entries that remain are verified with a byte a dimension. With `x = s X + e`, `q = r Q + f` for integer vectors `X`, `Q`,
//! `q.x = r Q.s X + f.(s X) + q.e <= r s Q.X + |f| (1 + |e|) + |e|`, `|e|` stored and rounded up. Only what remains after
//! that is decided, by the similarity as it is defined: products of the original `f32` values, exact in `f64`, summed in
//! `f64` in 32 lanes and one order, over the product of the two lengths (computed likewise), rounded to `f32`. It is the
//! same on every processor, and within 4e-8 of the true cosine; `MARGIN` covers that and the `f64` arithmetic above.

use super::kernels::{LINE, Line, QUAD_TABLES, Tables};
use super::likely::Likely;
use super::projection::Projection;

/// How far below a threshold the bounds still let pass: the rounding of a similarity to `f32` (3e-8) and of `f64` sums.
pub(super) const MARGIN: f64 = 1e-6;
/// Factors of the distances fit in 16 bits.
const MAX_FACTOR: f64 = 32_767.0;
/// Bits by which sums may be shifted left so that the distances' factors are whole numbers of a finer unit.
const MAX_SHIFT: u32 = 12;
/// Sums kept side by side.
const LANES: usize = 8;
/// In `f64` above 2⁵² there are whole numbers alone.
const WHOLE: f64 = 6_755_399_441_055_744.0;

/// What a stored byte spans: `low + step * byte`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) step: f64,
}

impl Range {
    /// Covers nothing yet; `step` holds the highest value until `widened`.
    pub(super) const NOTHING: Self = Self { low: f64::INFINITY, step: 0.0 };

    pub(super) fn cover(&mut self, value: f64) {
        (self.low, self.step) = (self.low.min(value), self.step.max(value));
    }

    /// From what a sample covers to a range with room for others like it.
    pub(super) fn widened(self) -> Self {
        let (low, high) = (self.low * 0.9, self.step * 1.1 + 1e-6);
        Self { low, step: (high - low) / 255.0 }
    }

    /// The lowest byte that stands for at least `value`; None where none does.
    pub(super) fn round_up(self, value: f64) -> Option<u8> {
        let byte = ((value - self.low) / self.step + 1e-9).ceil().max(0.0);
        (byte <= 255.0).then_some(byte as u8)
    }
}

/// How far a computed head may be from the true one.
fn drift(projection: &Projection) -> f64 {
    let unit = f64::from(f32::EPSILON) / 2.0;
    (projection.head as f64).sqrt() * (projection.dim as f64 + 2.0) * unit * 1.05 + 4.0 * unit
}

/// What a vector with this head may have outside it.
fn rest(projection: &Projection, square: f64) -> f64 {
    let length = square.sqrt();
    (1.0 - square + projection.skew * square + 2.0 * drift(projection) * length + 1e-9).max(0.0).sqrt()
}

/// Of an entry, what the sharper bound needs: `1 / |c|`, `along`, `across` and `rest`.
pub(super) type Sharp = [f32; 4];

/// Sums over an entry's head `x'` and what its codes `c` stand for: `|x'|²`, `|x' - c|²`, `x'.c` and `|c|²`.
pub(super) struct Sums {
    square: f64,
    error: f64,
    product: f64,
    length: f64,
}

impl Sums {
    /// Of a head and the levels that its codes stand for. In lanes, side by side: a writer holds the index meanwhile.
    pub(super) fn new(head: &[f32], levels: &[f32]) -> Self {
        let mut lanes = [[0.0; LANES]; 4];
        for (values, levels) in head.as_chunks::<LANES>().0.iter().zip(levels.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                let (value, level) = (f64::from(values[lane]), f64::from(levels[lane]));
                let away = value - level;
                lanes[0][lane] += value * value;
                lanes[1][lane] += away * away;
                lanes[2][lane] += value * level;
                lanes[3][lane] += level * level;
            }
        }
        let [square, error, product, length] = lanes.map(|lanes| lanes.into_iter().sum());
        Self { square, error, product, length }
    }

    /// `near` and `rest`.
    pub(super) fn distances(&self, projection: &Projection) -> (f64, f64) {
        (self.error.sqrt() * (1.0 + 1e-9), rest(projection, self.square))
    }

    pub(super) fn sharp(&self, projection: &Projection) -> Sharp {
        let up = |value: f64| (value * (1.0 + 1e-6) + 1e-6) as f32;
        let outside = up(rest(projection, self.square));
        let length = self.length.sqrt();
        if length < 1e-3 {
            // Hardly a direction: all of the head counts as across it.
            return [0.0, 0.0, up(self.square.sqrt()), outside];
        }
        let along = self.product / length;
        let across = (self.square - along * along).max(0.0).sqrt();
        [(1.0 / length) as f32, along as f32, up(across), outside]
    }
}

/// A query's side of the bound, for one projection.
pub(super) struct Screener {
    pub(super) tables: Tables,
    /// What sums of nothing stand for in `q'.c`.
    low: f64,
    /// `|q'|`, `rest(q)` and every allowance.
    head: f64,
    rest: f64,
    allowance: f64,
    /// What one step of a score is worth.
    unit: f64,
    /// What a score of 0 stands for, with every allowance.
    base: f64,
    /// What is expected instead, where entries may be missed.
    likely: Option<Likely>,
}

impl Screener {
    /// For a query with this head.
    pub(super) fn new(projection: &Projection, head: &[f32], likely: Option<Likely>) -> Self {
        let mut values = vec![0.0f64; projection.head / 2 * 16];
        let (mut base, mut widest, mut square) = (0.0, 0.0f64, 0.0);
        for (pair, values) in values.chunks_exact_mut(16).enumerate() {
            let (a, b) = (f64::from(head[2 * pair]), f64::from(head[2 * pair + 1]));
            square += a * a + b * b;
            let first = projection.levels[2 * pair].map(|level| a * f64::from(level));
            let second = projection.levels[2 * pair + 1].map(|level| b * f64::from(level));
            let low =
                first.into_iter().fold(f64::INFINITY, f64::min) + second.into_iter().fold(f64::INFINITY, f64::min);
            let mut high = 0.0f64;
            for (at, value) in values.iter_mut().enumerate() {
                *value = first[at & 3] + second[at >> 2] - low;
                high = high.max(*value);
            }
            base += low;
            widest = widest.max(high);
        }
        let step = (widest / 254.4).max(1e-6);
        let per_step = 1.0 / step;
        let mut sums = vec![Line([0; LINE]); projection.head / 16 * QUAD_TABLES / LINE];
        for (pair, values) in values.chunks_exact(16).enumerate() {
            // Pairs of a quad in turn: low nibble, high nibble, of four bytes.
            let (line, at) = (pair / 8 * QUAD_TABLES / LINE + pair % 2, pair % 8 / 2 * 16);
            for (sum, value) in sums[line].0[at..at + 16].iter_mut().zip(values) {
                // The nearest whole number to a half more is not below the value; it stands in the last bits of the sum.
                *sum = (value * per_step + (0.5 + WHOLE)).to_bits() as u8;
            }
        }
        let (length, outside) = (square.sqrt() * (1.0 + 1e-12), rest(projection, square));
        let (near, rest, more) =
            likely.map_or((length, outside, 0.0), |likely| (likely.near, likely.rest, likely.fixed));
        let finest = (projection.near.step * near).max(projection.rest.step * rest).max(1e-12);
        let shift = (0..=MAX_SHIFT).rev().find(|&shift| finest / step * f64::from(1u32 << shift) < MAX_FACTOR - 2.0);
        let shift = shift.unwrap_or(0);
        let unit = step / f64::from(1u32 << shift);
        let factor = |value: f64| (value / unit + 1e-9).ceil().min(MAX_FACTOR) as i16;
        let coefficients = [factor(projection.near.step * near), factor(projection.rest.step * rest)];
        let fixed = projection.near.low * near + projection.rest.low * rest + more;
        let allowance = 2.0 * projection.skew + 3.0 * drift(projection) + MARGIN;
        Self {
            tables: Tables { sums, shift, coefficients },
            low: base,
            head: length,
            rest: outside,
            allowance,
            unit,
            base: base + fixed + allowance,
            likely,
        }
    }

    /// At least the similarity of an entry with this score and these distances.
    pub(super) fn sharper(&self, score: i32, pair: [u8; 2], [per_length, along, across, rest]: Sharp) -> f64 {
        let [near_factor, rest_factor] = self.tables.coefficients.map(i32::from);
        let sums = score - near_factor * i32::from(pair[0]) - rest_factor * i32::from(pair[1]);
        let product = self.low + self.unit * f64::from(sums);
        let (along, across) = (f64::from(along), f64::from(across));
        // 2e-6: the numbers stored are rounded.
        let u = product * f64::from(per_length) + 2e-6 * product.abs() * f64::from(per_length);
        if let Some(likely) = self.likely {
            return likely.similarity(u, along);
        }
        let whole = (along * along + across * across).sqrt();
        let inside = if u * whole >= self.head * along {
            self.head * whole
        } else {
            along * u + across * (self.head * self.head - u * u).max(0.0).sqrt()
        };
        inside + self.rest * f64::from(rest) + self.allowance + 2e-6
    }

    /// The least score of an entry that may reach a similarity of `threshold`.
    pub(super) fn threshold(&self, threshold: f64) -> i32 {
        let threshold = self.likely.map_or(threshold, |likely| likely.threshold(threshold));
        ((threshold - self.base) / self.unit).floor() as i32
    }
}
