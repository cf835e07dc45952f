//! Lives shortened at random, so that entries that came together do not leave together.

/// Shortens lives by up to a share of them.
#[derive(Debug, Clone)]
pub struct Jitter {
    share: f64,
    state: u64,
}

impl Jitter {
    /// `share` is from 0 to 1. The same `seed` gives the same lives.
    pub const fn new(share: f64, seed: u64) -> Self {
        Self { share, state: seed }
    }

    /// A life of at most `life`, and of at least `1 - share` of it; never 0 where `life` is not.
    pub fn shorten(&mut self, life: u64) -> u64 {
        if self.share == 0.0 || life == super::NEVER {
            return life;
        }
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let cut = (life as f64 * self.share * unit) as u64;
        life.saturating_sub(cut).max(life.min(1))
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_life_is_shortened_by_at_most_the_share(share in 0.0..=1.0, seed: u64, life in 0..u64::MAX >> 12) {
            let shortened = Jitter::new(share, seed).shorten(life);
            prop_assert!(shortened <= life && (shortened > 0 || life == 0));
            prop_assert!(shortened as f64 >= life as f64 * (1.0 - share) - 1.0);
        }
    }

    #[test]
    fn lives_are_spread_evenly_and_the_same_for_the_same_seed() {
        let lives = |seed| {
            let mut jitter = Jitter::new(0.5, seed);
            (0..10_000).map(|_| jitter.shorten(1_000_000)).collect::<Vec<_>>()
        };
        let mean = lives(1).iter().sum::<u64>() / 10_000;
        assert!((740_000..760_000).contains(&mean), "{mean}");
        assert_eq!(lives(7), lives(7));
        assert_ne!(lives(7), lives(8));
        assert_eq!(Jitter::new(0.5, 1).shorten(super::super::NEVER), super::super::NEVER);
    }
}
