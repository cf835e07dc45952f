//! What would cost least to miss leaves first: uses x cost per unit of weight.
//!
//! GreedyDual-Size-Frequency: an entry's priority is the clock at its last use plus its value, and the clock is the
//! priority of whoever left last, so that what is not used is overtaken by what comes (Cherkasova 1998). As in CAMP
//! (Ghandeharizadeh et al., Middleware 2014) values are rounded, here to powers of the square root of two: entries of one value
//! stand in a list, where the least recently used has the lowest priority, and only the heads are compared.
//! The uses of entries that left are remembered, which GDSF does not do: an answer that comes back is known.
//!
//! Where an entry's cost is not known, 0, it counts as the mean of those that were given; where none ever was, all cost
//! the same, and small entries used often stay.

use super::ghosts::{Ghosts, MOST};
use super::{Load, Order, Policy};
use crate::cache::lists::Lists;

const LISTS: usize = 256;

/// Lists for each doubling of the value.
const PER_DOUBLING: f64 = 2.0;

/// The list of value 1.
const MIDDLE: f64 = 128.0;

/// How many lists further up an entry stands for its uses: twice their logarithm.
const RISE: [u8; MOST as usize + 1] = [0, 0, 2, 3, 4, 5, 5, 6, 6, 6, 7, 7, 7, 7, 8, 8];

/// Costs that the mean of costs is taken over, about.
const MEMORY_OF_COSTS: f64 = 1024.0;

/// Steps in which a file keeps what is left of an entry's value.
const LEFT: f64 = 15.0;

#[derive(Debug, Clone, Copy)]
struct Entry {
    weight: u64,
    /// The clock at its last use.
    used_at: f64,
}

#[derive(Debug, Clone, Copy)]
struct Rank {
    /// The list it would stand in if never used.
    base: u8,
    uses: u8,
}

impl Rank {
    #[inline]
    fn list(self) -> u8 {
        self.base + RISE[self.uses as usize]
    }
}

/// Metadata: 8 bytes of links, 8 of weight, 8 of clock, 2 of rank, 6 to 7 of ghosts: 33 bytes an entry at most.
#[derive(Debug)]
pub struct Cost {
    lists: Lists,
    entries: Vec<Entry>,
    ranks: Vec<Rank>,
    /// Of each list: no entry's priority is lower. Infinite where the list is empty.
    bounds: Box<[f64; LISTS]>,
    /// The lists that were ever used lie between these: a few dozen, as a rule.
    span: (usize, usize),
    ghosts: Ghosts,
    clock: f64,
    total: u64,
    count: usize,
    /// Of the costs that were given.
    mean: f64,
    seen: f64,
}

fn value(list: usize) -> f64 {
    ((list as f64 - MIDDLE) / PER_DOUBLING).exp2()
}

impl Cost {
    pub fn new() -> Self {
        Self {
            lists: Lists::new(LISTS as u32),
            entries: Vec::new(),
            ranks: Vec::new(),
            bounds: Box::new([f64::INFINITY; LISTS]),
            span: (LISTS, 0),
            ghosts: Ghosts::new(),
            clock: 0.0,
            total: 0,
            count: 0,
            mean: 1.0,
            seen: 0.0,
        }
    }

    /// Bytes of metadata, whatever the allocators add.
    pub fn bytes(&self) -> usize {
        let entries = size_of_val(self.entries.as_slice()) + size_of_val(self.ranks.as_slice());
        self.lists.bytes() + entries + self.ghosts.bytes()
    }

    fn base(&mut self, load: Load) -> u8 {
        let cost = if load.cost > 0.0 {
            self.seen = (self.seen + 1.0).min(MEMORY_OF_COSTS);
            self.mean += (load.cost - self.mean) / self.seen;
            load.cost
        } else {
            self.mean
        };
        let doublings = cost.log2() - (load.weight.max(1) as f64).log2();
        let highest = LISTS as f64 - 1.0 - f64::from(RISE[MOST as usize]);
        (doublings * PER_DOUBLING + MIDDLE).round().clamp(0.0, highest) as u8
    }

    /// A use, at the present clock.
    #[inline]
    fn put(&mut self, index: u32) {
        let list = self.ranks[index as usize].list();
        self.entries[index as usize].used_at = self.clock;
        self.lists.touch(list.into(), index);
        // A finite bound stands for entries used earlier, so it is lower.
        let bound = &mut self.bounds[list as usize];
        if *bound == f64::INFINITY {
            *bound = self.clock;
            self.span = (self.span.0.min(list.into()), self.span.1.max(usize::from(list) + 1));
        }
    }

    /// The list with the lowest bound, and the bound: infinite where nothing is left.
    fn lowest(&self) -> (usize, f64) {
        let mut lowest = (0, f64::INFINITY);
        for list in self.span.0..self.span.1 {
            if self.bounds[list] < lowest.1 {
                lowest = (list, self.bounds[list]);
            }
        }
        lowest
    }

    fn priority(&self, index: u32) -> f64 {
        self.entries[index as usize].used_at + value(self.ranks[index as usize].list().into())
    }
}

impl Policy for Cost {
    fn fresh(&self) -> Self {
        Self::new()
    }

    fn insert(&mut self, index: u32, load: Load) {
        self.count += 1;
        self.total += load.weight;
        self.ghosts.fit(self.count);
        let uses = self.ghosts.take(load.hash).map_or(1, |ghost| (ghost.uses + 1).min(MOST));
        let rank = Rank { base: self.base(load), uses };
        let entry = Entry { weight: load.weight, used_at: self.clock };
        if index as usize == self.entries.len() {
            self.entries.push(entry);
            self.ranks.push(rank);
        } else {
            self.entries[index as usize] = entry;
            self.ranks[index as usize] = rank;
        }
        self.lists.push_newest(rank.list().into(), index);
        self.put(index);
    }

    #[inline]
    fn hit(&mut self, index: u32) {
        let uses = &mut self.ranks[index as usize].uses;
        *uses = (*uses + 1).min(MOST);
        self.put(index);
    }

    fn reweigh(&mut self, index: u32, load: Load) {
        let weight = std::mem::replace(&mut self.entries[index as usize].weight, load.weight);
        self.total = self.total - weight + load.weight;
        self.ranks[index as usize].base = self.base(load);
        self.put(index);
    }

    fn remove(&mut self, index: u32, hash: u32) {
        self.ghosts.put(hash, self.ranks[index as usize].uses, false);
        self.lists.unlink(index);
        self.total -= self.entries[index as usize].weight;
        self.count -= 1;
    }

    /// O(1) in the number of entries: bounds only rise, and every list's head is looked at once for each rise.
    fn victim(&mut self, _coming: u64, spare: u32) -> Option<u32> {
        let mut lonely = None;
        let victim = loop {
            let (list, bound) = self.lowest();
            if bound == f64::INFINITY {
                break None;
            }
            match self.lists.oldest_but(list as u32, spare) {
                Some(index) if self.priority(index) > bound => self.bounds[list] = self.priority(index),
                Some(index) => {
                    self.clock = self.clock.max(bound);
                    break Some(index);
                }
                None => {
                    self.bounds[list] = f64::INFINITY;
                    if self.lists.oldest(list as u32).is_some() {
                        lonely = Some((list, bound));
                    }
                }
            }
        };
        if let Some((list, bound)) = lonely {
            self.bounds[list] = bound;
        }
        victim
    }

    #[inline]
    fn weight(&self, index: u32) -> u64 {
        self.entries[index as usize].weight
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn order(&self) -> Order {
        let (lists, entries) = (self.lists.clone(), self.entries.clone());
        Box::new(move || {
            let of_list = |list| lists.oldest_first(list as u32).map(move |index| (list, index));
            let mut order: Vec<_> = (0..LISTS)
                .flat_map(of_list)
                .map(|(list, index)| (entries[index as usize].used_at + value(list), index))
                .collect();
            order.sort_by(|one, other| one.0.total_cmp(&other.0));
            order.into_iter().map(|(_, index)| index).collect()
        })
    }

    /// The uses in the low 4 bits, then how much of its value is above the clock.
    fn memory(&self, index: u32) -> u8 {
        let rank = self.ranks[index as usize];
        let left = (self.priority(index) - self.clock) / value(rank.list().into());
        rank.uses | ((left * LEFT).round().clamp(0.0, LEFT) as u8) << 4
    }

    fn remember(&mut self, index: u32, memory: u8) {
        if memory & MOST == 0 {
            return;
        }
        self.ranks[index as usize].uses = memory & MOST;
        self.put(index);
        let list = self.ranks[index as usize].list().into();
        self.entries[index as usize].used_at -= (1.0 - f64::from(memory >> 4) / LEFT) * value(list);
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self::new()
    }
}
