//! About how long a search takes: what its steps cost on this processor, and what share of entries searches like it read.
//!
//! The share is learned from searches; no clock is read, so that the same history predicts the same.

use super::search::Options;
use crate::cpu::Level;

/// Thresholds that searches are told apart by; the last range ends at 1.
const FROM: [f64; 6] = [-1.0, 0.6, 0.7, 0.75, 0.8, 0.85];
/// The shares of text embeddings, until others were met: where one entry is asked for, and every one must be found.
const FIRST: [f32; FROM.len()] = [0.5, 0.25, 0.08, 0.03, 0.01, 0.003];
/// Numbers of entries asked for that searches are told apart by.
const MANY: [usize; 3] = [1, 2, 17];
/// An exact search reads about so many times what an inexact one does.
pub(super) const INEXACT: f64 = 4.0;
/// How many searches a mean remembers, about.
const MEMORY: f32 = 16.0;

/// Of a namespace: the share of entries that searches verified, by threshold, by how many were asked for, and by whether
/// every one had to be found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prices([[[f32; FROM.len()]; MANY.len()]; 2]);

impl Default for Prices {
    fn default() -> Self {
        Self([FIRST.map(|share| share / INEXACT as f32), FIRST].map(|shares| [shares; MANY.len()]))
    }
}

impl Prices {
    fn of(&mut self, options: &Options) -> &mut f32 {
        let range = FROM.iter().rposition(|&from| from <= options.min_similarity).unwrap_or(0);
        let many = MANY.iter().rposition(|&many| many <= options.k).unwrap_or(0);
        &mut self.0[usize::from(options.exact)][many][range]
    }

    pub(super) fn share(mut self, options: &Options) -> f64 {
        f64::from(*self.of(options))
    }

    pub(super) fn learn(&mut self, options: &Options, verified_fraction: f64) {
        let share = self.of(options);
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

    fn options(k: usize, min_similarity: f64, exact: bool) -> Options {
        Options { k, min_similarity, exact, now: 0 }
    }

    #[test]
    fn shares_follow_searches_like_them_alone() {
        let mut prices = Prices::default();
        for _ in 0..100 {
            prices.learn(&options(5, 0.72, true), 0.5);
        }
        for like in [options(2, 0.7, true), options(16, 0.74, true)] {
            assert!((prices.share(&like) - 0.5).abs() < 0.01);
        }
        let others = [-1.0, 0.69, 0.75, 0.85, 1.0].map(|other| options(5, other, true));
        for other in
            others.into_iter().chain([options(1, 0.72, true), options(17, 0.72, true), options(5, 0.72, false)])
        {
            assert!((prices.share(&other) - Prices::default().share(&other)).abs() < 1e-9);
        }
    }

    #[test]
    fn the_less_a_processor_has_the_longer_a_search_takes() {
        let times = Level::ALL.map(|level| nanoseconds(level, 24e4, 384e3, 100.0, 384.0));
        assert!(times.is_sorted_by(|slow, fast| slow >= fast) && times[0] > 3.0 * times[3]);
    }
}
