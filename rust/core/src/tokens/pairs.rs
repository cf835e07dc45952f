//! Which two tokens are merged into which: one word of memory for each answer.
//!
//! A token has one pair that it is merged from, whatever stands around it: until its last merge nothing has crossed its
//! ends, so its bytes merge as they would alone. Other pairs that spell it never stand side by side.

use super::vocab::{MULTIPLIER, NONE, free};

/// Bits of a token in an entry; a vocabulary has fewer tokens than that.
pub(super) const TOKEN_BITS: u32 = 21;
const TOKEN: u64 = (1 << TOKEN_BITS) - 1;
const FREE: u64 = u64::MAX;

/// Open addressing: the pair, then the token it makes.
#[derive(Debug)]
pub(super) struct Pairs {
    entries: Vec<u64>,
    shift: u32,
    /// A bit for each pair there is, by its hash: small enough to be near, and most pairs that are asked for are none.
    filter: Vec<u64>,
    filter_shift: u32,
}

impl Pairs {
    /// `merges` are the two parts of each token from the 256th on. `None` where they crowd one place of the table.
    pub(super) fn new(merges: &[(u32, u32)]) -> Option<Self> {
        let bits = (merges.len() * 5 / 4 + 1).next_power_of_two().trailing_zeros().max(6);
        let mut pairs = Self {
            entries: vec![FREE; 1 << bits],
            shift: 64 - bits,
            filter: vec![0; 1 << (bits + 3 - 6)],
            filter_shift: 64 - bits - 3,
        };
        let mask = pairs.entries.len() - 1;
        for ((left, right), token) in merges.iter().zip(256_u64..) {
            let hash = hash(*left, *right);
            let bit = (hash >> pairs.filter_shift) as usize;
            pairs.filter[bit / 64] |= 1 << (bit % 64);
            let at = free((hash >> pairs.shift) as usize, mask, |at| pairs.entries[at] == FREE)?;
            pairs.entries[at] = key(*left, *right) << TOKEN_BITS | token;
        }
        Some(pairs)
    }

    /// The token that these two make, or [`NONE`].
    #[inline]
    pub(super) fn merged(&self, left: u32, right: u32) -> u32 {
        let mask = self.entries.len() - 1;
        let hash = hash(left, right);
        let bit = (hash >> self.filter_shift) as usize;
        if self.filter[bit / 64] >> (bit % 64) & 1 == 0 {
            return NONE;
        }
        let mut at = (hash >> self.shift) as usize & mask;
        loop {
            let entry = self.entries[at];
            if entry >> TOKEN_BITS == key(left, right) {
                return (entry & TOKEN) as u32;
            }
            if entry == FREE {
                return NONE;
            }
            at = (at + 1) & mask;
        }
    }
}

#[inline]
fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << TOKEN_BITS | u64::from(right)
}

#[inline]
fn hash(left: u32, right: u32) -> u64 {
    key(left, right).wrapping_mul(MULTIPLIER)
}
