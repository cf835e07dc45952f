//! A bounded queue from many threads to one: lock-free rings take things in, whoever drains puts them in order.
//!
//! A producer reserves a place, and puts its value into the ring of its class, both without a lock. The order lies behind one that only the drainer
//! takes, and a producer that finds the queue full, or a ring full of tombstones.
//!
//! **How long an item waits.** Let `b` be the tokens before it in its class, `w` its class's weight, `W` the sum of all, `m` the largest item. It
//! is taken after at most `b * W / w + m * (W / w + 3)` tokens of others and its own class have been: for `low`, `15 b + 18 m`. Deadlines reorder only
//! within a class.

mod armed;
mod order;
mod slot;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_queue::ArrayQueue;

use order::Order;
use slot::Slot;

pub use armed::Armed;
pub use slot::{PATIENCE, Ticket};

/// How much a ring holds before its overflow goes into the order at once.
const RING: usize = 1024;
/// What a refused producer waits for is room for this share of the queue.
const SHARE: f64 = 1.0 / 16.0;
/// Nanoseconds that a refused producer waits where the pace is not known yet.
const UNKNOWN: u64 = 1_000_000_000;
/// The weight of the latest in the mean time between two items.
const LATEST: f64 = 1.0 / 8.0;

/// A class of things that wait. Classes share the drainer's time by weight, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Critical,
    High,
    Normal,
    Low,
}

/// All classes, the highest first.
pub const PRIORITIES: [Priority; 4] = [Priority::Critical, Priority::High, Priority::Normal, Priority::Low];

impl Priority {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Its share beside the others'.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Critical => 8,
            Self::High => 4,
            Self::Normal => 2,
            Self::Low => 1,
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        PRIORITIES.into_iter().find(|priority| priority.name() == name)
    }
}

/// What becomes of one more where the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It is taken all the same: its producer is to look for room first.
    Wait,
    /// It is refused.
    Reject,
    /// The oldest of the lowest class that is no higher than its own gives way.
    Drop,
}

/// What was put in, and what gave way.
#[derive(Debug)]
pub struct Pushed<T> {
    pub ticket: Ticket<T>,
    pub dropped: Option<Taken<T>>,
}

/// What was not taken in.
#[derive(Debug)]
pub struct Full<T> {
    pub value: T,
    /// Nanoseconds after which, at the pace seen, a sixteenth of the queue is free.
    pub retry_after: u64,
}

/// What was taken out.
#[derive(Debug)]
pub struct Taken<T> {
    pub value: T,
    pub priority: Priority,
    pub tokens: u64,
    pub arrived: u64,
}

/// The queue. `now` is in nanoseconds of any clock that never goes back.
#[derive(Debug)]
pub struct Queue<T> {
    rings: [ArrayQueue<Arc<Slot<T>>>; PRIORITIES.len()],
    order: Mutex<Order<T>>,
    overflow: Overflow,
    max_items: usize,
    items: AtomicUsize,
    tokens: AtomicU64,
    pace: Pace,
}

/// The mean nanoseconds between two items taken, while some waited.
#[derive(Debug, Default)]
struct Pace {
    mean: AtomicU64,
    /// When the last was taken, and 1; 0 where none was left behind it.
    last: AtomicU64,
}

impl<T> Queue<T> {
    /// A queue of at most `max_items`, at least one.
    pub fn new(max_items: usize, overflow: Overflow) -> Self {
        let max_items = max_items.max(1);
        Self {
            rings: PRIORITIES.map(|_| ArrayQueue::new(max_items.min(RING))),
            order: Mutex::new(Order::new()),
            overflow,
            max_items,
            items: AtomicUsize::new(0),
            tokens: AtomicU64::new(0),
            pace: Pace::default(),
        }
    }

    /// The most items that wait.
    pub fn max_items(&self) -> usize {
        self.max_items
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.items.load(Ordering::Acquire)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tokens wait.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Whether one more fits.
    pub fn has_room(&self) -> bool {
        self.len() < self.max_items
    }

    /// Puts a value in, which costs `tokens`, at least one. Lock-free while there is room. O(1).
    pub fn push(
        &self,
        value: T,
        priority: Priority,
        tokens: u64,
        deadline: Option<u64>,
        now: u64,
    ) -> Result<Pushed<T>, Full<T>> {
        let mut dropped = None;
        if !self.reserve() {
            if self.overflow == Overflow::Drop {
                dropped = self.absorbed().drop_below(priority);
            }
            if dropped.is_none() {
                return Err(Full { value, retry_after: self.pace.wait(self.max_items) });
            }
        }
        // Whoever gives way gives its place to this one.
        let dropped = dropped.map(|(value, slot)| self.charged(value, &slot));
        let slot = Arc::new(Slot::new(value, priority, tokens, deadline, now));
        self.tokens.fetch_add(slot.tokens, Ordering::Relaxed);
        let ticket = Ticket(slot.clone());
        if let Err(slot) = self.rings[priority as usize].push(slot) {
            // Full of tombstones, or of more than a ring's worth.
            self.absorbed().add(slot);
        }
        Ok(Pushed { ticket, dropped })
    }

    /// Takes the next value out.
    pub fn take(&self, now: u64) -> Option<Taken<T>> {
        self.take_of(Priority::Low, now)
    }

    /// Takes the next value out that is of `lowest` or a higher class.
    pub fn take_of(&self, lowest: Priority, now: u64) -> Option<Taken<T>> {
        if self.is_empty() {
            return None;
        }
        let taken = self.absorbed().take(lowest);
        taken.map(|(value, slot)| {
            let taken = self.left(value, &slot);
            self.pace.took(now, !self.is_empty());
            taken
        })
    }

    /// Takes a value back that still waits, and gives its place and tokens back. O(1).
    pub fn cancel(&self, ticket: &Ticket<T>) -> Option<T> {
        ticket.0.take().map(|value| self.left(value, &ticket.0).value)
    }

    /// Takes out all whose deadline has passed.
    pub fn expired(&self, now: u64) -> Vec<Taken<T>> {
        let mut order = self.absorbed();
        std::iter::from_fn(|| order.expired(now).map(|(value, slot)| self.left(value, &slot))).collect()
    }

    /// The first deadline of all that waits.
    pub fn earliest(&self) -> Option<u64> {
        self.absorbed().earliest()
    }

    fn reserve(&self) -> bool {
        let always = self.overflow == Overflow::Wait;
        let reserve = |items| (always || items < self.max_items).then_some(items + 1);
        self.items.fetch_update(Ordering::AcqRel, Ordering::Relaxed, reserve).is_ok()
    }

    fn left(&self, value: T, slot: &Slot<T>) -> Taken<T> {
        self.items.fetch_sub(1, Ordering::AcqRel);
        self.charged(value, slot)
    }

    fn charged(&self, value: T, slot: &Slot<T>) -> Taken<T> {
        self.tokens.fetch_sub(slot.tokens, Ordering::Relaxed);
        Taken { value, priority: slot.priority, tokens: slot.tokens, arrived: slot.arrived }
    }

    /// The order, with all in it that was in the rings.
    fn absorbed(&self) -> MutexGuard<'_, Order<T>> {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut added = false;
        for ring in &self.rings {
            // As many as there are now: producers may go on meanwhile. To ask is much cheaper than to pop from an empty ring.
            for _ in 0..ring.len() {
                let Some(slot) = ring.pop() else { break };
                if !slot.is_gone() {
                    order.add(slot);
                    added = true;
                }
            }
        }
        if added {
            order.bury(self.len());
        }
        order
    }
}

impl Pace {
    /// Learns from an item taken by the one drainer, behind which some are `left`.
    fn took(&self, now: u64, left: bool) {
        let last = self.last.swap(if left { now + 1 } else { 0 }, Ordering::Relaxed);
        if last > 0 {
            let (mean, seen) = (self.mean.load(Ordering::Relaxed), (now + 1).saturating_sub(last).max(1));
            let next = if mean == 0 { seen } else { (mean as f64 + LATEST * (seen as f64 - mean as f64)) as u64 };
            self.mean.store(next.max(1), Ordering::Relaxed);
        }
    }

    fn wait(&self, max_items: usize) -> u64 {
        match self.mean.load(Ordering::Relaxed) {
            0 => UNKNOWN,
            mean => (mean as f64 * (max_items as f64 * SHARE).max(1.0)) as u64,
        }
    }
}
