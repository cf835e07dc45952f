//! About how long a search takes: what its steps cost on this processor, and what share of entries searches like it read.
//!
//! The share is learned from searches; no clock is read, so that the same history predicts the same.

use crate::cpu::Level;

/// Thresholds that searches are told apart by; the last range ends at 1.
const FROM: [f64; 6] = [-1.0, 0.6, 0.7, 0.75, 0.8, 0.85];
/// The shares of text embeddings, until others were met.
const FIRST: [f32; FROM.len()] = [0.5, 0.25, 0.08, 0.03, 0.01, 0.003];
/// How many searches a mean remembers, about.
const MEMORY: f32 = 16.0;

/// Of a namespace: the share of entries that exact searches verified, by threshold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prices([f32; FROM.len()]);

impl Default for Prices {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Prices {
    fn range(min_similarity: f64) -> usize {
        FROM.iter().skip(1).take_while(|&&from| from <= min_similarity).count()
    }

    pub(super) fn share(&self, min_similarity: f64) -> f64 {
        f64::from(self.0[Self::range(min_similarity)])
    }

    pub(super) fn learn(&mut self, min_similarity: f64, verified_fraction: f64) {
        let share = &mut self.0[Self::range(min_similarity)];
        *share += (verified_fraction as f32 - *share) / MEMORY;
    }
}

/// Nanoseconds of one search; measured at 384 dimensions on a Zen 4.
pub(super) fn nanoseconds(level: Level, screened_bytes: f64, flat_bytes: f64, verified: f64, row_bytes: f64) -> f64 {
    let (screen, read) = match level {
        Level::Avx512Vbmi => (0.035, 0.037),
        Level::Avx512 | Level::Avx2 => (0.11, 0.045),
        Level::Scalar => (0.43, 0.19),
    };
    // What is verified lies scattered, and more is asked of it.
    2_000.0 + screen * screened_bytes + read * flat_bytes + verified * (45.0 + 2.0 * read * row_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_searches_of_their_range_alone() {
        let mut prices = Prices::default();
        for _ in 0..100 {
            prices.learn(0.72, 0.5);
        }
        assert!((prices.share(0.7) - 0.5).abs() < 0.01 && (prices.share(0.74) - 0.5).abs() < 0.01);
        for other in [-1.0, 0.69, 0.75, 0.85, 1.0] {
            assert!((prices.share(other) - Prices::default().share(other)).abs() < 1e-9);
        }
    }

    #[test]
    fn the_less_a_processor_has_the_longer_a_search_takes() {
        let times = Level::ALL.map(|level| nanoseconds(level, 24e4, 384e3, 100.0, 384.0));
        assert!(times.is_sorted_by(|slow, fast| slow >= fast) && times[0] > 3.0 * times[3]);
    }
}
