//! Numbers for hashes, in the order they come: a table for hashes that are good already. Which slot a hash has is another in
//! each process, so that nobody can prepare texts whose hashes collide there.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

const EMPTY: u32 = u32::MAX;

/// Numbers from 0 for distinct hashes.
#[derive(Debug)]
pub(super) struct Numbers {
    /// A hash and its number.
    slots: Vec<(u32, u32)>,
    shift: u32,
    factor: u64,
    count: u32,
}

impl Default for Numbers {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Numbers {
    /// A table for about so many hashes; it grows for more.
    pub(super) fn with_capacity(expected: usize) -> Self {
        static FACTOR: OnceLock<u64> = OnceLock::new();
        let size = (expected.max(8) * 2).next_power_of_two();
        Self {
            slots: vec![(0, EMPTY); size],
            shift: 64 - size.trailing_zeros(),
            factor: *FACTOR.get_or_init(|| RandomState::new().hash_one(1_u8) | 1),
            count: 0,
        }
    }

    /// The number of a hash, and whether it is new.
    pub(super) fn number(&mut self, hash: u32) -> (u32, bool) {
        if self.count as usize * 2 > self.slots.len() {
            self.grow();
        }
        let at = self.slot(hash);
        if self.slots[at].1 != EMPTY {
            return (self.slots[at].1, false);
        }
        self.slots[at] = (hash, self.count);
        self.count += 1;
        (self.count - 1, true)
    }

    /// The number of a hash that has one.
    pub(super) fn get(&self, hash: u32) -> Option<u32> {
        let number = self.slots[self.slot(hash)].1;
        (number != EMPTY).then_some(number)
    }

    /// How many hashes there are.
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    /// What it takes in memory, in bytes.
    pub(super) fn size(&self) -> usize {
        self.slots.len() * 8
    }

    /// Where the hash is, or would be.
    fn slot(&self, hash: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (u64::from(hash).wrapping_mul(self.factor) >> self.shift) as usize;
        while self.slots[at].1 != EMPTY && self.slots[at].0 != hash {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![(0, EMPTY); old.len() * 2];
        self.shift -= 1;
        for (hash, number) in old.into_iter().filter(|&(_, number)| number != EMPTY) {
            let at = self.slot(hash);
            self.slots[at] = (hash, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_a_map() {
        let mut numbers = Numbers::with_capacity(1);
        let mut model = std::collections::HashMap::new();
        let mut x = 1_u32;
        for _ in 0..10_000 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hash = x % 3_000;
            let next = model.len() as u32;
            let wanted = *model.entry(hash).or_insert(next);
            assert_eq!(numbers.number(hash), (wanted, wanted == next));
            assert_eq!(numbers.get(hash), Some(wanted));
        }
        assert_eq!((numbers.get(5_000), numbers.len()), (None, model.len()));
    }
}
