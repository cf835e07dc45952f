//! What an inexact search expects of entries that reach its threshold, in place of what the bound proves (`bound`).
//!
//! With `x = c + d + y`, what the codes stand for, their error and what lies outside the head, a query `q` at similarity `s`
//! is `q = s x + r w`, where `w` has length 1 and is across `x`, and `r = sqrt(1 - s²)`. The levels of codes are means of what
//! they stand for, so that `x.(d + y)` is about `m = near² + rest²`, and
//!
//! ```text
//! s = q.x = q.c + s m + r w.(d + y)
//! ```
//!
//! The worst case of `w.(d + y)` is `sqrt(m)`. But `w`, in which the query differs, has no reason to be aligned with what the
//! codes of the entry leave out: over neighbours among text embeddings it is `sqrt(m)` times a number whose mean is not above
//! 0 and whose deviation is 0.93 over the root of the head's width (0.09 at 96 directions, 0.07 at 192), alike at all
//! similarities. A search that allows for `SPREAD` over that root instead of 1 missed none of 24,000 such entries; it is no proof.
//!
//! Screening takes sums in which `near` and `rest` are linear, so `m` is held from above by chords over their ranges, and
//! its root by a tangent. `s m` is held at one similarity, the pivot, whence thresholds are moved by what `m` may be.

use super::bound::Range;
use super::projection::Projection;

/// Between two and three deviations, above a mean below 0.
const SPREAD: f64 = 2.5;
/// The pivot of searches with a threshold below: about where their nearest entries are.
const PIVOT: f64 = 0.5;

#[derive(Debug, Clone, Copy)]
pub(super) struct Likely {
    /// What `near` and `rest` count, and what is added.
    pub(super) near: f64,
    pub(super) rest: f64,
    pub(super) fixed: f64,
    pivot: f64,
    /// The least and the most that `m` may be.
    outside: [f64; 2],
    /// The most that is allowed for `r w.(d + y) / sqrt(m)`.
    spread: f64,
}

impl Likely {
    /// For a search of codes of this projection.
    pub(super) fn new(projection: &Projection, min_similarity: f64) -> Self {
        let ends = |range: Range| (range.low, range.low + 255.0 * range.step);
        let ((near, nearest), (rest, restest)) = (ends(projection.near), ends(projection.rest));
        let pivot = min_similarity.max(PIVOT);
        let least = min_similarity.max(0.0);
        let spread = SPREAD / (projection.head as f64).sqrt() * (1.0 - least * least).sqrt();
        let outside = [near * near + rest * rest, (nearest * nearest + restest * restest).min(1.0)];
        let typical = ((outside[0] + outside[1]) / 2.0).sqrt().max(1e-3);
        let weight = pivot + spread / (2.0 * typical);
        Self {
            near: weight * (near + nearest),
            rest: weight * (rest + restest),
            fixed: spread * typical / 2.0 - weight * (near * nearest + rest * restest),
            pivot,
            outside,
            spread,
        }
    }

    /// What the sum of an entry of similarity `threshold` is likely to reach.
    pub(super) fn threshold(&self, threshold: f64) -> f64 {
        let above = threshold - self.pivot;
        threshold - above * self.outside[usize::from(above > 0.0)]
    }

    /// What an entry's similarity is likely to be at most, where the query goes `u` along its codes and it goes `along`.
    pub(super) fn similarity(&self, u: f64, along: f64) -> f64 {
        if along < 0.1 {
            return f64::INFINITY;
        }
        (u + self.spread * (1.0 - along * along).max(0.0).sqrt()) / along
    }
}
