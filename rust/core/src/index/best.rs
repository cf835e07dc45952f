//! The k best entries found so far, and the similarity that another must reach.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// One entry found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The entry's id.
    pub id: i64,
    /// Its similarity to the query; that of its stored form where the original was not kept.
    pub similarity: f32,
    /// What the similarity of the original is at least, and at most.
    pub interval: [f32; 2],
}

impl Hit {
    /// A hit decided by its original.
    pub fn certain(id: i64, similarity: f32) -> Self {
        Self { id, similarity, interval: [similarity; 2] }
    }
}

impl Eq for Hit {}

impl Ord for Hit {
    /// Better hits are less: higher similarity first, then lower id.
    fn cmp(&self, other: &Self) -> Ordering {
        other.similarity.total_cmp(&self.similarity).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keeps the `k` best of the hits it is offered.
pub(super) struct Best {
    k: usize,
    /// The worst on top.
    hits: BinaryHeap<Hit>,
}

impl Best {
    pub(super) fn new(k: usize) -> Self {
        Self { k, hits: BinaryHeap::new() }
    }

    /// The least similarity that can still count, where none below `floor` does.
    pub(super) fn threshold(&self, floor: f64) -> f64 {
        match self.hits.peek() {
            Some(worst) if self.hits.len() == self.k => floor.max(f64::from(worst.similarity)),
            _ => floor,
        }
    }

    /// Keeps the hit where it is among the best.
    pub(super) fn offer(&mut self, hit: Hit) {
        if self.hits.len() < self.k {
            self.hits.push(hit);
        } else if let Some(mut worst) = self.hits.peek_mut()
            && hit < *worst
        {
            *worst = hit;
        }
    }

    pub(super) fn into_hits(self) -> Vec<Hit> {
        self.hits.into_sorted_vec()
    }
}
