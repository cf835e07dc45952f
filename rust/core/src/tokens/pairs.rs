//! Which two tokens are merged into which: one word of memory for each answer.
//!
//! A token has one pair that it is merged from, whatever stands around it: until its last merge nothing has crossed its
//! ends, so its bytes merge as they would alone. Other pairs that spell it never stand side by side.

/// No token.
pub(super) const NONE: u32 = u32::MAX;

/// Bits of a token in an entry; a vocabulary has fewer tokens than that.
pub(super) const TOKEN_BITS: u32 = 21;
const TOKEN: u64 = (1 << TOKEN_BITS) - 1;
const FREE: u64 = u64::MAX;

/// Open addressing: the pair, then the token it makes.
#[derive(Debug)]
pub(super) struct Pairs {
    entries: Vec<u64>,
    shift: u32,
}

impl Pairs {
    /// `merges` are the two parts of each token from the 256th on.
    pub(super) fn new(merges: &[(u32, u32)]) -> Self {
        let bits = (merges.len() * 2).next_power_of_two().trailing_zeros().max(6);
        let mut pairs = Self { entries: vec![FREE; 1 << bits], shift: 64 - bits };
        let mask = pairs.entries.len() - 1;
        for ((left, right), token) in merges.iter().zip(256_u64..) {
            let mut at = pairs.slot(*left, *right);
            while pairs.entries[at] != FREE {
                at = (at + 1) & mask;
            }
            pairs.entries[at] = key(*left, *right) << TOKEN_BITS | token;
        }
        pairs
    }

    #[inline]
    fn slot(&self, left: u32, right: u32) -> usize {
        (key(left, right).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// The token that these two make, or [`NONE`].
    #[inline]
    pub(super) fn merged(&self, left: u32, right: u32) -> u32 {
        let mask = self.entries.len() - 1;
        let mut at = self.slot(left, right) & mask;
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
