//! Who is next: classes by start-time fair queueing, deadlines inside a class. The same rule as `sparecall.batch`'s.
//!
//! Start-time fair queueing is Goyal, Vin and Cheng's (SIGCOMM 1996), over cost in tokens, with one flow a class.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::slot::Slot;
use super::{PRIORITIES, Priority};

/// Tombstones that are always allowed before the order is made anew.
const SLACK: usize = 64;

/// All that waits and has left the rings. Whoever holds it is the drainer.
#[derive(Debug)]
pub(super) struct Order<T> {
    classes: [Class<T>; PRIORITIES.len()],
    virtual_time: f64,
    number: u64,
}

#[derive(Debug)]
struct Class<T> {
    weight: f64,
    /// The virtual time at which its next item would start.
    start: f64,
    /// Whether it had something when the next item was last chosen.
    awake: bool,
    plain: VecDeque<Arc<Slot<T>>>,
    dated: BinaryHeap<Dated<T>>,
    /// Those of `dated` in the order in which they came.
    arrivals: VecDeque<Arc<Slot<T>>>,
}

#[derive(Debug)]
struct Dated<T> {
    due: u64,
    number: u64,
    slot: Arc<Slot<T>>,
}

impl<T> Order<T> {
    pub(super) fn new() -> Self {
        Self { classes: PRIORITIES.map(|priority| Class::new(priority.weight())), virtual_time: 0.0, number: 0 }
    }

    /// Puts a slot last in its class, or where its deadline puts it. O(1), O(log n) with a deadline.
    pub(super) fn add(&mut self, slot: Arc<Slot<T>>) {
        let class = &mut self.classes[slot.priority as usize];
        match slot.deadline {
            None => class.plain.push_back(slot),
            Some(due) => {
                self.number += 1;
                class.arrivals.push_back(slot.clone());
                class.dated.push(Dated { due, number: self.number, slot });
            }
        }
    }

    /// The next value of `lowest` or a higher class, with its slot. O(1), O(log n) with deadlines; tombstones amortised.
    pub(super) fn take(&mut self, lowest: Priority) -> Option<(T, Arc<Slot<T>>)> {
        loop {
            let (mut chosen, mut behind) = (None::<(f64, usize)>, f64::INFINITY);
            for (place, class) in self.classes.iter_mut().enumerate() {
                let has = class.head().is_some();
                if has && !class.awake {
                    class.start = class.start.max(self.virtual_time);
                }
                class.awake = has;
                if has {
                    behind = behind.min(class.start);
                }
                if has && place <= lowest as usize && chosen.is_none_or(|(start, _)| class.start < start) {
                    chosen = Some((class.start, place));
                }
            }
            let (_, place) = chosen?;
            let class = &mut self.classes[place];
            let Some(slot) = class.pop() else { continue };
            // Cancelled this moment: nobody was served, nothing is charged.
            let Some(value) = slot.take() else { continue };
            // Never past a class that was passed over.
            self.virtual_time = self.virtual_time.max(behind);
            class.start += slot.tokens as f64 / class.weight;
            return Some((value, slot));
        }
    }

    /// Takes out a value whose deadline has passed.
    pub(super) fn expired(&mut self, now: u64) -> Option<(T, Arc<Slot<T>>)> {
        for class in &mut self.classes {
            while let Some(first) = class.dated.peek() {
                if first.due > now && !first.slot.is_gone() {
                    break;
                }
                let Some(first) = class.dated.pop() else { break };
                if let Some(value) = first.slot.take() {
                    return Some((value, first.slot));
                }
            }
        }
        None
    }

    /// The first deadline of all.
    pub(super) fn earliest(&mut self) -> Option<u64> {
        let dated = self.classes.iter_mut().filter_map(|class| {
            class.prune();
            class.dated.peek().map(|first| first.due)
        });
        dated.min()
    }

    /// Takes out the oldest of the lowest class that is no higher than `priority`.
    pub(super) fn drop_below(&mut self, priority: Priority) -> Option<(T, Arc<Slot<T>>)> {
        for class in self.classes[priority as usize..].iter_mut().rev() {
            while let Some(oldest) = class.oldest() {
                if let Some(value) = oldest.take() {
                    return Some((value, oldest));
                }
            }
        }
        None
    }

    /// Forgets tombstones where they are most of it, of which `live` are none: O(1) amortised.
    pub(super) fn bury(&mut self, live: usize) {
        let entries: usize = self.classes.iter().map(Class::entries).sum();
        if entries > 3 * live + SLACK {
            for class in &mut self.classes {
                class.plain.retain(|slot| !slot.is_gone());
                class.arrivals.retain(|slot| !slot.is_gone());
                class.dated.retain(|entry| !entry.slot.is_gone());
            }
        }
    }
}

impl<T> Class<T> {
    fn new(weight: u32) -> Self {
        let (plain, arrivals) = (VecDeque::new(), VecDeque::new());
        Self { weight: weight.into(), start: 0.0, awake: false, plain, dated: BinaryHeap::new(), arrivals }
    }

    fn entries(&self) -> usize {
        self.plain.len() + self.dated.len() + self.arrivals.len()
    }

    fn prune(&mut self) {
        while self.plain.front().is_some_and(|slot| slot.is_gone()) {
            self.plain.pop_front();
        }
        while self.dated.peek().is_some_and(|entry| entry.slot.is_gone()) {
            self.dated.pop();
        }
        while self.arrivals.front().is_some_and(|slot| slot.is_gone()) {
            self.arrivals.pop_front();
        }
    }

    /// The next slot; tombstones before it are dropped.
    fn head(&mut self) -> Option<&Arc<Slot<T>>> {
        self.prune();
        match (self.plain.front(), self.dated.peek()) {
            (Some(plain), Some(dated)) => Some(if dated.due <= plain.due() { &dated.slot } else { plain }),
            (plain, dated) => plain.or(dated.map(|dated| &dated.slot)),
        }
    }

    /// Takes the slot out that `head` returns.
    fn pop(&mut self) -> Option<Arc<Slot<T>>> {
        let dated = self.head()?.deadline.is_some();
        if dated { self.dated.pop().map(|entry| entry.slot) } else { self.plain.pop_front() }
    }

    /// The slot that came first.
    fn oldest(&mut self) -> Option<Arc<Slot<T>>> {
        self.prune();
        match (self.plain.front(), self.arrivals.front()) {
            (Some(plain), Some(dated)) => Some(if dated.arrived < plain.arrived { dated } else { plain }.clone()),
            (plain, dated) => plain.or(dated).cloned(),
        }
    }
}

impl<T> PartialEq for Dated<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Dated<T> {}

impl<T> PartialOrd for Dated<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Dated<T> {
    /// The greatest is due first; of equally due ones, the one that came first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}
