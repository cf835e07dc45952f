//! An in-process cache bounded by weight: least recently used leaves first, each entry may carry its own end of life.
//!
//! A hash table of `u32` points into a slab of slots; the order of use is a list threaded through the slots. Generic over
//! the value: the caller brings the 64-bit hash, the key's bytes, the weight and the time. Values that leave are handed
//! back in [`Displaced`], so that a caller with a lock drops them after unlocking.

#![allow(clippy::too_many_arguments)] // each is a plain fact about one entry; a struct would only rename them

mod displaced;
mod key;
mod lists;
mod order;
pub mod policy;
pub mod snapshot;
mod stats;

use hashbrown::HashTable;

pub use displaced::Displaced;
pub use key::Key;
use key::StoredKey;
use order::{NIL, Order};
use stats::Reason;
pub use stats::{Evicted, Stats};

/// An `expires_at` that never comes.
pub const NEVER: u64 = u64::MAX;

/// Slots the clock hand looks at on every set. Growth adds one slot a set, so the hand outruns it and meets every
/// expired entry within `slots / SWEEP` sets.
const SWEEP: usize = 4;

/// The most slots a `u32` can number beside [`NIL`].
const MAX_ENTRIES: usize = NIL as usize - 1;

/// One live entry, as [`Cache::iter`] shows it.
#[derive(Debug)]
pub struct Entry<'a, V> {
    pub key: Key<'a>,
    pub value: &'a V,
    pub weight: u64,
    /// On the caller's clock, or [`NEVER`].
    pub expires_at: u64,
}

#[derive(Debug)]
struct Slot<V> {
    hash: u64,
    /// `None`: a free slot.
    value: Option<V>,
    expires_at: u64,
    weight: u64,
    key: StoredKey,
}

/// The cache. Every operation is O(1) but `clear`, and but evictions, which are paid for by the sets that went before.
#[derive(Debug)]
pub struct Cache<V> {
    table: HashTable<u32>,
    slots: Vec<Slot<V>>,
    order: Order,
    free: Vec<u32>,
    weight: u64,
    max_weight: u64,
    /// Entries that can expire: without any, nobody needs to look at a clock.
    mortal: usize,
    hand: usize,
    stats: Stats,
}

impl<V> Cache<V> {
    /// An empty cache; nothing is allocated ahead. `max_weight` 0 stores nothing.
    pub fn new(max_weight: u64) -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            order: Order::new(),
            free: Vec::new(),
            weight: 0,
            max_weight,
            mortal: 0,
            hand: 0,
            stats: Stats::default(),
        }
    }

    /// Entries held, expired ones that have not been met yet included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The sum of the weights of all entries held; never above [`Self::max_weight`].
    pub const fn weight(&self) -> u64 {
        self.weight
    }

    pub const fn max_weight(&self) -> u64 {
        self.max_weight
    }

    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Whether any entry can expire: if not, `set` may be given any `now`.
    pub const fn has_mortal(&self) -> bool {
        self.mortal > 0
    }

    /// The value under `key`, which becomes the most recently used. `now` is asked only where the entry can expire; an
    /// expired entry leaves.
    #[inline]
    pub fn get(
        &mut self,
        hash: u64,
        key: Key<'_>,
        now: impl FnOnce() -> u64,
        displaced: &mut Displaced<V>,
    ) -> Option<&V> {
        let Some(index) = self.find(hash, key) else {
            self.stats.misses += 1;
            return None;
        };
        let expires_at = self.slots[index as usize].expires_at;
        if expires_at != NEVER && expires_at <= now() {
            self.remove(index, Reason::Expired, displaced);
            self.stats.misses += 1;
            return None;
        }
        self.stats.hits += 1;
        self.order.touch(index);
        self.slots[index as usize].value.as_ref()
    }

    /// The value under `key` without counting or reordering.
    pub fn peek(&self, hash: u64, key: Key<'_>, now: impl FnOnce() -> u64) -> Option<&V> {
        let slot = &self.slots[self.find(hash, key)? as usize];
        if slot.expires_at != NEVER && slot.expires_at <= now() { None } else { slot.value.as_ref() }
    }

    /// Whether `key` has a live entry.
    pub fn contains(&self, hash: u64, key: Key<'_>, now: impl FnOnce() -> u64) -> bool {
        self.peek(hash, key, now).is_some()
    }

    /// Stores `value` as the most recently used entry and says whether it did: not where it weighs more than the whole
    /// cache or `expires_at` has come. What was under `key` leaves in any case: it has been overtaken.
    pub fn set(
        &mut self,
        hash: u64,
        key: Key<'_>,
        value: V,
        weight: u64,
        expires_at: u64,
        now: u64,
        displaced: &mut Displaced<V>,
    ) -> bool {
        self.sweep(now, displaced);
        let found = self.find(hash, key);
        if weight > self.max_weight || expires_at <= now {
            if let Some(index) = found {
                self.remove(index, Reason::Replaced, displaced);
            }
            displaced.push(value);
            self.stats.refused += 1;
            return false;
        }
        if let Some(index) = found {
            self.replace(index, value, weight, expires_at, now, displaced);
        } else {
            self.make_room(weight, now, displaced);
            self.insert(hash, key, value, weight, expires_at);
        }
        self.stats.sets += 1;
        true
    }

    /// Removes `key` and says whether it had a live entry.
    pub fn delete(&mut self, hash: u64, key: Key<'_>, now: impl FnOnce() -> u64, displaced: &mut Displaced<V>) -> bool {
        let Some(index) = self.find(hash, key) else { return false };
        let expires_at = self.slots[index as usize].expires_at;
        let live = expires_at == NEVER || expires_at > now();
        self.remove(index, if live { Reason::Deleted } else { Reason::Expired }, displaced);
        live
    }

    /// Removes every entry and frees the memory. Statistics go on.
    pub fn clear(&mut self, displaced: &mut Displaced<V>) {
        self.stats.evicted.deleted += self.table.len() as u64;
        for value in self.slots.drain(..).filter_map(|slot| slot.value) {
            displaced.push(value);
        }
        let stats = self.stats;
        *self = Self::new(self.max_weight);
        self.stats = stats;
    }

    /// Every entry, least recently used first, expired ones not yet met included.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_, V>> {
        self.order.oldest_first().filter_map(|index| {
            let slot = &self.slots[index as usize];
            let value = slot.value.as_ref()?;
            Some(Entry { key: slot.key.as_key(), value, weight: slot.weight, expires_at: slot.expires_at })
        })
    }

    #[inline]
    fn find(&self, hash: u64, key: Key<'_>) -> Option<u32> {
        self.table
            .find(hash, |&index| {
                let slot = &self.slots[index as usize];
                slot.hash == hash && slot.key.is(key)
            })
            .copied()
    }

    /// Evicts the least recently used until `coming`, which is at most the bound, fits.
    fn make_room(&mut self, coming: u64, now: u64, displaced: &mut Displaced<V>) {
        // Subtraction, because weights near u64::MAX are allowed and their sum would wrap.
        while self.weight > self.max_weight - coming || self.len() >= MAX_ENTRIES {
            let Some(oldest) = self.order.oldest() else { return };
            let expired = self.slots[oldest as usize].expires_at <= now;
            self.remove(oldest, if expired { Reason::Expired } else { Reason::Size }, displaced);
        }
    }

    fn insert(&mut self, hash: u64, key: Key<'_>, value: V, weight: u64, expires_at: u64) {
        let slot = Slot { hash, value: Some(value), expires_at, weight, key: StoredKey::new(key) };
        let index = if let Some(index) = self.free.pop() {
            self.slots[index as usize] = slot;
            index
        } else {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        };
        let slots = &self.slots;
        self.table.insert_unique(hash, index, |&other| slots[other as usize].hash);
        self.order.push_newest(index);
        self.weight += weight;
        self.mortal += usize::from(expires_at != NEVER);
    }

    fn replace(&mut self, index: u32, value: V, weight: u64, expires_at: u64, now: u64, displaced: &mut Displaced<V>) {
        // The entry goes to the safe end weighing nothing, so that making room for its new weight never takes it.
        self.order.touch(index);
        self.weight -= std::mem::take(&mut self.slots[index as usize].weight);
        self.make_room(weight, now, displaced);
        let slot = &mut self.slots[index as usize];
        self.mortal = self.mortal - usize::from(slot.expires_at != NEVER) + usize::from(expires_at != NEVER);
        self.weight += weight;
        slot.weight = weight;
        slot.expires_at = expires_at;
        if let Some(old) = slot.value.replace(value) {
            displaced.push(old);
        }
        self.stats.evicted.replaced += 1;
    }

    fn remove(&mut self, index: u32, reason: Reason, displaced: &mut Displaced<V>) {
        let slot = &mut self.slots[index as usize];
        let Some(value) = slot.value.take() else { return };
        slot.key = StoredKey::EMPTY;
        self.weight -= slot.weight;
        self.mortal -= usize::from(slot.expires_at != NEVER);
        if let Ok(found) = self.table.find_entry(slot.hash, |&other| other == index) {
            found.remove();
        }
        self.order.unlink(index);
        self.free.push(index);
        displaced.push(value);
        self.stats.evicted.count(reason);
    }

    /// Moves the clock hand over a few slots and removes the expired ones.
    fn sweep(&mut self, now: u64, displaced: &mut Displaced<V>) {
        if self.mortal == 0 {
            return;
        }
        for _ in 0..SWEEP {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            let slot = &self.slots[self.hand];
            if slot.value.is_some() && slot.expires_at <= now {
                self.remove(self.hand as u32, Reason::Expired, displaced);
            }
        }
    }
}
