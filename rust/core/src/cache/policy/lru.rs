//! Least recently used leaves first.

use super::{Load, Order, Policy};
use crate::cache::lists::Lists;

/// A list in the order of use. Metadata: 16 bytes an entry.
#[derive(Debug)]
pub struct Lru {
    order: Lists,
    weights: Vec<u64>,
    total: u64,
}

const ALL: u32 = 0;

impl Lru {
    pub fn new() -> Self {
        Self { order: Lists::new(1), weights: Vec::new(), total: 0 }
    }

    /// Bytes of metadata, whatever the allocators add.
    pub fn bytes(&self) -> usize {
        self.order.bytes() + size_of_val(self.weights.as_slice())
    }
}

impl Policy for Lru {
    fn fresh(&self) -> Self {
        Self::new()
    }

    fn insert(&mut self, index: u32, load: Load) {
        self.order.push_newest(ALL, index);
        if index as usize == self.weights.len() {
            self.weights.push(load.weight);
        } else {
            self.weights[index as usize] = load.weight;
        }
        self.total += load.weight;
    }

    #[inline]
    fn hit(&mut self, index: u32) {
        self.order.touch(ALL, index);
    }

    fn reweigh(&mut self, index: u32, load: Load) {
        let weight = &mut self.weights[index as usize];
        self.total = self.total - *weight + load.weight;
        *weight = load.weight;
    }

    fn remove(&mut self, index: u32, _hash: u32) {
        self.order.unlink(index);
        self.total -= self.weights[index as usize];
    }

    fn victim(&mut self, _coming: u64, spare: u32) -> Option<u32> {
        self.order.oldest_but(ALL, spare)
    }

    #[inline]
    fn weight(&self, index: u32) -> u64 {
        self.weights[index as usize]
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn order(&self) -> Order {
        let order = self.order.clone();
        Box::new(move || order.oldest_first(ALL).collect())
    }

    fn memory(&self, _index: u32) -> u8 {
        0
    }

    fn remember(&mut self, _index: u32, _memory: u8) {}
}

impl Default for Lru {
    fn default() -> Self {
        Self::new()
    }
}
