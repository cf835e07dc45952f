//! What to look at next: candidates by density, the densest first, later ones first among equals.
//!
//! Buckets by the leading bits of the density, of which only the densest is in order: whoever looks at candidates again and
//! again, each time at the densest, and puts most of them back a little lower, seldom has to order the others.

use std::collections::BinaryHeap;

/// What is left of the 32 bits of a density: its exponent and seven bits of what follows, 128 buckets for each power of two.
const SHIFT: u32 = 16;
/// Those of densities from 0 up to infinity.
const BUCKETS: usize = (f32::INFINITY.to_bits() >> SHIFT) as usize + 1;
const NONE: u32 = u32::MAX;

/// A density, which is not negative, above the number of a candidate.
fn entry(density: f32, at: usize) -> u64 {
    u64::from(density.to_bits()) << 32 | at as u64
}

fn parts(entry: u64) -> (f32, usize) {
    (f32::from_bits((entry >> 32) as u32), (entry & u64::from(u32::MAX)) as usize)
}

/// Candidates, each as often as it was pushed. 12 bytes for each push.
pub(super) struct Candidates {
    /// The densest, down to all of this bucket.
    densest: BinaryHeap<u64>,
    bucket: usize,
    /// Of the buckets below the place in `rest` of the last that came, of which each names the one before.
    lasts: Vec<u32>,
    rest: Vec<(u64, u32)>,
}

impl Candidates {
    pub(super) fn with_capacity(expected: usize) -> Self {
        Self {
            densest: BinaryHeap::new(),
            bucket: BUCKETS,
            lasts: vec![NONE; BUCKETS],
            rest: Vec::with_capacity(expected),
        }
    }

    /// Takes in a candidate of this density, which is not negative. O(1), but O(log candidates) among the densest.
    pub(super) fn push(&mut self, density: f32, at: usize) {
        let entry = entry(density, at);
        let bucket = (density.to_bits() >> SHIFT) as usize;
        if bucket >= self.bucket {
            self.densest.push(entry);
        } else {
            self.rest.push((entry, std::mem::replace(&mut self.lasts[bucket], self.rest.len() as u32)));
        }
    }

    /// The densest of those that count, as it was pushed. `counts` may be asked again of what it said counts, in another turn.
    pub(super) fn pop(&mut self, counts: impl Fn(f32, usize) -> bool) -> Option<(f32, usize)> {
        loop {
            while let Some(entry) = self.densest.pop() {
                let (density, at) = parts(entry);
                if counts(density, at) {
                    return Some((density, at));
                }
            }
            self.bucket = self.lasts[..self.bucket].iter().rposition(|&last| last != NONE)?;
            let mut place = self.lasts[self.bucket];
            let mut entries = std::mem::take(&mut self.densest).into_vec();
            while let Some(&(entry, before)) = self.rest.get(place as usize) {
                let (density, at) = parts(entry);
                if counts(density, at) {
                    entries.push(entry);
                }
                place = before;
            }
            self.densest = entries.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_as_out_of_one_heap() {
        let mut x = 1_u64;
        let mut random = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) as u32
        };
        for round in 0..50 {
            let (mut candidates, mut model) = (Candidates::with_capacity(0), BinaryHeap::new());
            let mut top = f32::INFINITY;
            for _ in 0..3_000 {
                let far = (random() % 40) as f32;
                let density = match random() % 8 {
                    0 => 0.0,
                    1 => f32::INFINITY,
                    2 => top,
                    _ => (random() % 1_000) as f32 * (-far).exp2(),
                };
                let at = (random() % (round + 1)) as usize;
                candidates.push(density, at);
                model.push(entry(density, at));
                if random() % 3 > 0 {
                    let popped = candidates.pop(|_, _| true);
                    assert_eq!(popped.map(|(density, at)| entry(density, at)), model.pop());
                    top = popped.map_or(top, |one| one.0);
                }
            }
            while let Some(wanted) = model.pop() {
                assert_eq!(candidates.pop(|_, _| true).map(|(density, at)| entry(density, at)), Some(wanted));
            }
            assert!(candidates.pop(|_, _| true).is_none());
        }
    }
}
