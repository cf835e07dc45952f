//! What the encodings of all prefixes ask for: the longest token that a text ends with, and which tokens may be neighbours.
//!
//! Made when a text first needs it: about 20 ms and 5 MB for `o200k_base`. The same pairs of tokens come again and again,
//! so some are remembered.

use std::sync::atomic::{AtomicU64, Ordering};

use super::affixes::Affixes;
use super::merge;
use super::vocab::{MULTIPLIER, Vocabulary};

/// Pairs remembered: 64 KiB. A pair has one place, and the last that came has it.
const PAIRS: usize = 1 << 13;

/// An index over a vocabulary, to be used with that one only.
#[derive(Debug)]
pub(super) struct Endings {
    pub(super) affixes: Affixes<true>,
    /// A pair of ranks and whether they stay apart in one word, so that threads share it without a lock.
    pairs: Vec<AtomicU64>,
}

impl Endings {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let pairs = (0..PAIRS).map(|_| AtomicU64::new(u64::MAX)).collect();
        Self { affixes: Affixes::new(vocabulary), pairs }
    }

    /// Whether two neighbouring tokens stay the two they are: [`merge::stay_apart`], remembered.
    #[inline]
    pub(super) fn stay_apart(&self, vocabulary: &Vocabulary, left: u32, right: u32) -> bool {
        let pair = u64::from(left) << 33 | u64::from(right) << 1;
        let slot = &self.pairs[(pair.wrapping_mul(MULTIPLIER) >> 51) as usize % PAIRS];
        let known = slot.load(Ordering::Relaxed);
        if known & !1 == pair {
            return known & 1 == 1;
        }
        let apart = merge::stay_apart(vocabulary, left, right);
        slot.store(pair | u64::from(apart), Ordering::Relaxed);
        apart
    }
}
