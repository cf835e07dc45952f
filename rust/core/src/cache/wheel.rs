//! A hierarchical timer wheel: finds the expired entries without looking at the others (Varghese and Lauck, 1987).
//!
//! Time is cut into ticks of 2^27 ns (134 ms). A wheel of six levels with 64 buckets each covers 2^63 ns: an entry stands in
//! the level of the highest group of six bits in which its tick differs from the current one, and sinks as time goes on, at
//! most five times. Bits tell which buckets may hold something, so that long pauses cost nothing.

use super::lists::Lists;

const TICK_BITS: u32 = 27;
const GROUP_BITS: u32 = 6;
const BUCKETS: u32 = 1 << GROUP_BITS;
const LEVELS: u32 = 6;
const LAST_TICK: u64 = (1 << (GROUP_BITS * LEVELS)) - 1;

/// What one step of the wheel did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This slot has expired. It is found again and again until it is removed.
    Expired(u32),
    /// An entry sank, or the time moved on: there may be more to do.
    Moved,
    /// Nothing is due.
    Idle,
}

#[derive(Debug)]
pub(super) struct Wheel {
    buckets: Lists,
    /// By level, a bit for each bucket that was filled and not seen empty since.
    filled: [u64; LEVELS as usize],
    /// The first tick that has not been dealt with.
    tick: u64,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { buckets: Lists::new(BUCKETS * LEVELS), filled: [0; LEVELS as usize], tick: 0 }
    }

    /// Lets an empty wheel begin at `now`.
    pub(super) fn start(&mut self, now: u64) {
        self.tick = tick_of(now);
    }

    /// Adds `slot`, which is in no bucket.
    pub(super) fn insert(&mut self, slot: u32, expires_at: u64) {
        let tick = tick_of(expires_at).max(self.tick);
        let differing = (tick ^ self.tick | 1).ilog2();
        let level = differing / GROUP_BITS;
        let group = group_of(tick, level);
        self.filled[level as usize] |= 1 << group;
        self.buckets.push_newest(level * BUCKETS + group, slot);
    }

    /// Takes `slot` out of its bucket.
    pub(super) fn remove(&mut self, slot: u32) {
        self.buckets.unlink(slot);
    }

    /// Whether a step at `now` could find anything.
    #[inline]
    pub(super) const fn is_due(&self, now: u64) -> bool {
        self.tick < tick_of(now)
    }

    /// One step of bounded work towards `now`; `expires_at` tells the end of a slot's life.
    pub(super) fn step(&mut self, now: u64, expires_at: impl Fn(u32) -> u64) -> Step {
        if !self.is_due(now) {
            return Step::Idle;
        }
        for level in (0..LEVELS).rev() {
            let group = group_of(self.tick, level);
            if self.filled[level as usize] & (1 << group) == 0 {
                continue;
            }
            let Some(slot) = self.buckets.oldest(level * BUCKETS + group) else {
                self.filled[level as usize] &= !(1 << group);
                continue;
            };
            if level == 0 {
                return Step::Expired(slot);
            }
            self.buckets.unlink(slot);
            self.insert(slot, expires_at(slot));
            return Step::Moved;
        }
        self.tick = self.next_filled().min(tick_of(now));
        Step::Moved
    }

    /// The beginning of the next bucket that may hold something.
    fn next_filled(&self) -> u64 {
        for level in 0..LEVELS {
            let group = group_of(self.tick, level);
            let later = self.filled[level as usize] & !(u64::MAX >> (63 - group));
            if later != 0 {
                let shift = GROUP_BITS * level;
                let above = self.tick >> shift >> GROUP_BITS << GROUP_BITS;
                return (above | u64::from(later.trailing_zeros())) << shift;
            }
        }
        u64::MAX
    }
}

/// The tick in which `time` lies. The last one is never over.
const fn tick_of(time: u64) -> u64 {
    let tick = time >> TICK_BITS;
    if tick < LAST_TICK { tick } else { LAST_TICK }
}

const fn group_of(tick: u64, level: u32) -> u32 {
    (tick >> (GROUP_BITS * level)) as u32 % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TICK: u64 = 1 << TICK_BITS;

    fn drain(wheel: &mut Wheel, now: u64, ends: &[u64]) -> Vec<u32> {
        let mut expired = Vec::new();
        loop {
            match wheel.step(now, |slot| ends[slot as usize]) {
                Step::Expired(slot) => {
                    wheel.remove(slot);
                    expired.push(slot);
                }
                Step::Moved => {}
                Step::Idle => return expired,
            }
        }
    }

    proptest! {
        #[test]
        fn every_entry_leaves_within_a_tick_of_its_end_and_none_before(
            ends in prop::collection::vec(prop_oneof![0..100 * TICK, 0..u64::MAX >> 1, Just(7 * TICK)], 1..50),
            mut times in prop::collection::vec(prop_oneof![0..200 * TICK, 0..u64::MAX >> 1], 1..20),
            removed in prop::collection::vec(any::<bool>(), 50),
            start in 0..50 * TICK,
        ) {
            times.sort_unstable();
            let mut wheel = Wheel::new();
            wheel.start(start);
            for (slot, &end) in ends.iter().enumerate() {
                wheel.insert(slot as u32, end);
            }
            let mut inside: Vec<bool> = ends.iter().map(|_| true).collect();
            for (slot, _) in ends.iter().enumerate().filter(|(slot, _)| removed[*slot]) {
                wheel.remove(slot as u32);
                inside[slot] = false;
            }
            for now in times {
                for slot in drain(&mut wheel, now, &ends) {
                    prop_assert!(inside[slot as usize] && ends[slot as usize] <= now);
                    inside[slot as usize] = false;
                }
                for (slot, &end) in ends.iter().enumerate().filter(|(slot, _)| inside[*slot]) {
                    prop_assert!(end.max(start) + TICK > now, "slot {slot} is late");
                }
            }
        }
    }

    #[test]
    fn a_pause_of_years_takes_few_steps() {
        let mut wheel = Wheel::new();
        let year = 365 * 24 * 3600 * 1_000_000_000;
        wheel.insert(0, 50 * year);
        let steps = (1..100).find(|_| matches!(wheel.step(100 * year, |_| 50 * year), Step::Expired(0)));
        assert!(steps.is_some_and(|steps| steps <= 16), "{steps:?}");
    }
}
