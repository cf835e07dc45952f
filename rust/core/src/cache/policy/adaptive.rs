//! W-TinyLFU whose window adapts to what two kinds of event say: the default.
//!
//! New entries pass through a window in the order of use. At its end each is compared with the main part's next victim,
//! and whoever was used more often stays. The main part is a segmented LRU: an entry that is used while on probation is
//! protected, and protected entries beyond four fifths go back on probation. So a scan passes through the window and a
//! loop too long for the cache keeps a part of itself, as in Einziger, Eilat, Friedman and Manes, "Adaptive Software
//! Cache Management" (Middleware 2018).
//!
//! Their window climbs the hill of the hit ratio, over samples of ten times the cache. This one weighs margins against
//! each other, as ARC does, and learns from single events. An entry that comes back soon after it was pushed out of the
//! window would have been a hit in a larger window: it grows. A hit on probation would have been a miss in a smaller main
//! part: the window shrinks, the more the fewer entries earn such hits. A returning entry that was used often says
//! nothing of the window, for the comparison at its end is what keeps such entries: a loop would draw the window
//! to its own ruin.

use super::ghosts::{Ghosts, MOST};
use super::{Load, Order, Policy};
use crate::cache::lists::{Lists, NIL};

const WINDOW: u8 = 0;
const PROBATION: u8 = 1;
const PROTECTED: u8 = 2;

/// Shares of the bound: where the window begins, and what it never leaves.
const BEGIN: f64 = 0.05;
const NARROWEST: f64 = 0.01;
const WIDEST: f64 = 0.99;

/// Of the main part, the share on probation when it is full.
const ON_PROBATION: f64 = 0.2;

/// A ghost used more often than this says nothing of the window.
const RARE: u8 = 2;

/// An entry that came back at once weighs as much as so many hits on a probation of full size. One that came back later
/// weighs less by the cube of its rank, so that most of what is heard is near the border, and yet a use for a far larger
/// window does not go unheard.
const RETURN: f64 = 2.2;

/// The last rank that is heard: about as many entries ago as the cache holds.
const FAR: u8 = 5;

/// A step of the window is the mean weight of an entry, but not a larger or smaller share of the cache than these give.
const STEPS: (usize, usize) = (200, 20_000);

/// All counts are halved each time the cache was used so often for each entry it holds.
const AGE: u64 = 10;

/// Entries that are moved, or whose counts are halved, at a time, so that no call waits for all.
const AT_ONCE: usize = 4096;

/// A byte of an entry: uses in the low bits, then the segment.
const USES: u8 = MOST;
const SEGMENT: u32 = 4;

/// Metadata: 8 bytes of links, 8 of weight, 1 of uses and segment, 6 to 7 of ghosts: 24 bytes an entry at most.
#[derive(Debug)]
pub struct Adaptive {
    lists: Lists,
    weights: Vec<u64>,
    states: Vec<u8>,
    totals: [u64; 3],
    ghosts: Ghosts,
    max_weight: u64,
    count: usize,
    /// The weight the window should have.
    window: f64,
    /// Hits on probation that the window has not heard of yet.
    probation_hits: u32,
    /// Since the counts were last halved.
    uses: u64,
    /// The next entry whose count is to be halved, while that goes on.
    ageing: Option<usize>,
    /// The last victim named: whoever else leaves was not pushed out.
    victim: Option<u32>,
}

impl Adaptive {
    pub fn new(max_weight: u64) -> Self {
        Self {
            lists: Lists::new(3),
            weights: Vec::new(),
            states: Vec::new(),
            totals: [0; 3],
            ghosts: Ghosts::new(),
            max_weight,
            count: 0,
            window: max_weight as f64 * BEGIN,
            probation_hits: 0,
            uses: 0,
            ageing: None,
            victim: None,
        }
    }

    /// Bytes of metadata, whatever the allocators add.
    pub fn bytes(&self) -> usize {
        self.lists.bytes() + size_of_val(self.weights.as_slice()) + self.states.len() + self.ghosts.bytes()
    }

    #[inline]
    fn segment(&self, index: u32) -> u8 {
        self.states[index as usize] >> SEGMENT
    }

    fn uses(&self, index: u32) -> u8 {
        self.states[index as usize] & USES
    }

    fn main(&self) -> u64 {
        self.totals[PROBATION as usize] + self.totals[PROTECTED as usize]
    }

    /// Moves `index` to the newest end of `segment`.
    #[inline]
    fn put(&mut self, index: u32, segment: u8) {
        let weight = self.weights[index as usize];
        let state = &mut self.states[index as usize];
        self.totals[(*state >> SEGMENT) as usize] -= weight;
        self.totals[segment as usize] += weight;
        *state = (*state & USES) | (segment << SEGMENT);
        self.lists.touch(segment.into(), index);
    }

    /// Sends protected entries beyond their share back on probation; some at a time, where another bound made it smaller.
    #[inline]
    fn demote(&mut self) {
        let most = (self.max_weight as f64 - self.window) * (1.0 - ON_PROBATION);
        let mut left = AT_ONCE;
        while left > 0
            && self.totals[PROTECTED as usize] as f64 > most
            && let Some(oldest) = self.lists.oldest(PROTECTED.into())
        {
            self.put(oldest, PROBATION);
            left -= 1;
        }
    }

    /// While the main part has room, what the window has too much goes there unasked, some at a time.
    fn spill(&mut self, coming: u64, spare: u32) {
        let mut left = AT_ONCE;
        while left > 0
            && self.totals[WINDOW as usize] as f64 + coming as f64 > self.window
            && (self.main() as f64) < self.max_weight as f64 - self.window
            && let Some(oldest) = self.lists.oldest_but(WINDOW.into(), spare)
        {
            self.put(oldest, PROBATION);
            left -= 1;
        }
    }

    /// Moves the window's border as the events since the last miss say.
    fn adapt(&mut self, growth: f64) {
        let bound = self.max_weight as f64;
        let step = self.total() as f64 / self.count.clamp(STEPS.0, STEPS.1) as f64;
        let density = bound * ON_PROBATION / (self.totals[PROBATION as usize] as f64).max(bound * NARROWEST);
        let shrinkage = f64::from(self.probation_hits) * density;
        self.probation_hits = 0;
        self.window = (self.window + (growth - shrinkage) * step).clamp(bound * NARROWEST, bound * WIDEST);
    }

    fn age(&mut self) {
        if self.uses >= AGE * self.count.max(16) as u64 {
            self.uses = 0;
            self.ageing = Some(0);
        }
        if let Some(start) = self.ageing {
            let end = self.states.len().min(start + AT_ONCE);
            for state in &mut self.states[start..end] {
                *state = (*state & !USES) | ((*state & USES) >> 1);
            }
            self.ghosts.age(AT_ONCE as f64 / self.states.len().max(AT_ONCE) as f64);
            self.ageing = (end < self.states.len()).then_some(end);
        }
    }
}

impl Policy for Adaptive {
    fn fresh(&self) -> Self {
        Self::new(self.max_weight)
    }

    /// The window keeps its share.
    fn resize(&mut self, max_weight: u64) {
        let share = if self.max_weight > 0 { self.window / self.max_weight as f64 } else { BEGIN };
        self.max_weight = max_weight;
        self.window = share * max_weight as f64;
    }

    fn insert(&mut self, index: u32, load: Load) {
        self.spill(load.weight, NIL);
        self.count += 1;
        self.uses += 1;
        self.ghosts.fit(self.count);
        self.age();
        let ghost = self.ghosts.take(load.hash);
        let pushed_out = ghost.filter(|ghost| ghost.window && ghost.uses <= RARE && ghost.rank <= FAR);
        self.adapt(pushed_out.map_or(0.0, |ghost| RETURN / f64::from(ghost.rank + 1).powi(3)));
        let uses = ghost.map_or(1, |ghost| (ghost.uses + 1).min(MOST));
        if index as usize == self.weights.len() {
            self.weights.push(0);
            self.states.push(0);
        }
        self.weights[index as usize] = load.weight;
        self.states[index as usize] = uses | (WINDOW << SEGMENT);
        self.totals[WINDOW as usize] += load.weight;
        self.lists.push_newest(WINDOW.into(), index);
    }

    #[inline]
    fn hit(&mut self, index: u32) {
        self.uses += 1;
        let state = &mut self.states[index as usize];
        *state += u8::from(*state & USES != MOST);
        match *state >> SEGMENT {
            PROBATION => {
                self.probation_hits = self.probation_hits.saturating_add(1);
                self.put(index, PROTECTED);
                self.demote();
            }
            segment => self.lists.touch(segment.into(), index),
        }
    }

    fn reweigh(&mut self, index: u32, load: Load) {
        let weight = std::mem::replace(&mut self.weights[index as usize], load.weight);
        let total = &mut self.totals[(self.states[index as usize] >> SEGMENT) as usize];
        *total = *total - weight + load.weight;
    }

    fn remove(&mut self, index: u32, hash: u32) {
        let segment = self.segment(index);
        let pushed_out = self.victim.take() == Some(index);
        self.ghosts.put(hash, self.uses(index), pushed_out && segment == WINDOW);
        self.lists.unlink(index);
        self.totals[segment as usize] -= self.weights[index as usize];
        self.count -= 1;
    }

    fn victim(&mut self, coming: u64, spare: u32) -> Option<u32> {
        self.demote();
        self.spill(coming, spare);
        let held = self.lists.oldest_but(PROBATION.into(), spare);
        let held = held.or_else(|| self.lists.oldest_but(PROTECTED.into(), spare));
        let candidate = self.lists.oldest_but(WINDOW.into(), spare);
        let too_large = self.totals[WINDOW as usize] as f64 + coming as f64 > self.window;
        self.victim = match (candidate, held) {
            (Some(candidate), Some(held)) if too_large => {
                // A quarter more, because the candidate's count has just risen and the other's is about to.
                let uses = self.uses(candidate);
                if uses - uses / 4 > self.uses(held) {
                    self.put(candidate, PROBATION);
                    Some(held)
                } else {
                    Some(candidate)
                }
            }
            _ => held.or(candidate),
        };
        self.victim
    }

    #[inline]
    fn weight(&self, index: u32) -> u64 {
        self.weights[index as usize]
    }

    fn total(&self) -> u64 {
        self.totals.iter().sum()
    }

    fn order(&self) -> Order {
        let lists = self.lists.clone();
        Box::new(move || {
            [PROBATION, PROTECTED, WINDOW].into_iter().flat_map(|list| lists.oldest_first(list.into())).collect()
        })
    }

    /// The uses in the low 4 bits, then the segment, from 1.
    fn memory(&self, index: u32) -> u8 {
        self.states[index as usize] + (1 << SEGMENT)
    }

    fn remember(&mut self, index: u32, memory: u8) {
        let state = &mut self.states[index as usize];
        *state = (*state & !USES) | (memory & USES);
        match memory >> SEGMENT {
            // What stood in the window shows how large it was.
            1 => {
                let weight = self.totals[WINDOW as usize] as f64;
                self.window = self.window.max(weight).min(self.max_weight as f64 * WIDEST);
            }
            2 => self.put(index, PROBATION),
            3 => self.put(index, PROTECTED),
            _ => {}
        }
    }
}
