//! An in-process cache bounded by weight: a policy chooses who leaves, entries may carry an end of life, tags and a cost.
//!
//! Generic over key, value and policy. The caller brings hashes, comparisons, weights and the time, and no step runs code of
//! the caller's but its comparison. What leaves is handed back in [`Displaced`], so that a caller with a lock drops it after
//! unlocking. Every operation is O(1) or bounded, but where it says otherwise, and but evictions, which are paid for by the
//! sets that went before.

mod displaced;
mod jitter;
mod key;
mod lists;
pub mod policy;
mod prefixes;
mod slots;
pub mod snapshot;
mod stats;
mod tags;
mod wheel;

pub use displaced::Displaced;
pub use jitter::Jitter;
pub use key::{Characters, Key, Path, StoredKey};
pub use lists::NIL;
use policy::{Load, Order, Policy};
use prefixes::Prefixes;
use slots::{Slots, spread};
pub use stats::{Cost, Evicted, Reason, Stats};
use tags::Tags;
use wheel::{Step, Wheel};

/// An `expires_at` that never comes.
pub const NEVER: u64 = u64::MAX;

/// Steps of upkeep that every set and some reads pay: an entry sinks through the wheel in five and leaves in one.
const UPKEEP: usize = 8;
/// Slots the clock hand looks at on every set while entries may have been invalidated. Growth adds one slot a set, so the
/// hand outruns it and meets every slot within `slots / 3` sets.
const SWEEP: usize = 4;
/// The most slots beside which list heads and [`NIL`] have numbers too.
const MAX_ENTRIES: usize = u32::MAX as usize - 1024;

/// A hash of which every bit is as good as another, from one of which that may not hold (Python's of small integers).
#[inline]
pub const fn mix(hash: u64) -> u32 {
    let wide = hash as u128 * 0x9E37_79B9_7F4A_7C15_u128;
    let folded = (wide >> 64) as u64 ^ wide as u64;
    (folded >> 32) as u32 ^ folded as u32
}

/// What an entry on its way in brings beside key, value and tags.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub weight: u64,
    pub cost: Cost,
    /// What the policy is to weigh: of the cost, in one number; finite, from 0 up.
    pub worth: f64,
    /// On the caller's clock, or [`NEVER`].
    pub expires_at: u64,
    /// Where it comes back from a file: [`Entry::memory`]. Its cost is not spent again.
    pub memory: Option<u8>,
}

/// One entry, as a snapshot needs it.
#[derive(Debug)]
pub struct Entry<'a, K, V> {
    pub key: &'a K,
    pub value: &'a V,
    pub weight: u64,
    pub cost: Cost,
    pub expires_at: u64,
    /// What the policy remembers of it.
    pub memory: u8,
}

#[derive(Debug)]
pub struct Cache<K, V, P> {
    slots: Slots<K, V>,
    policy: P,
    max_weight: u64,
    wheel: Wheel,
    /// Entries that can expire: without any, nobody needs to look at a clock.
    mortal: usize,
    tags: Tags,
    prefixes: Prefixes,
    /// By slot; shorter than the slots where the last ones cost nothing.
    costs: Vec<Cost>,
    hand: u32,
    /// How far the hand has gone in all.
    steps: u64,
    stats: Stats,
}

impl<K: Path, V, P: Policy> Cache<K, V, P> {
    /// An empty cache; little is allocated ahead. `max_weight` 0 stores only what weighs nothing.
    pub fn new(max_weight: u64, policy: P) -> Self {
        Self {
            slots: Slots::new(),
            policy,
            max_weight,
            wheel: Wheel::new(),
            mortal: 0,
            tags: Tags::default(),
            prefixes: Prefixes::default(),
            costs: Vec::new(),
            hand: 0,
            steps: 0,
            stats: Stats::default(),
        }
    }

    /// Entries held, those included that are over but have not been met yet.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of the weights of all entries held; never above [`Self::max_weight`].
    pub fn weight(&self) -> u64 {
        self.policy.total()
    }

    pub const fn max_weight(&self) -> u64 {
        self.max_weight
    }

    pub const fn stats(&self) -> Stats {
        self.stats
    }

    pub const fn policy(&self) -> &P {
        &self.policy
    }

    /// Whether any entry can expire: if not, `set` may be given any `now`.
    pub const fn has_mortal(&self) -> bool {
        self.mortal > 0
    }

    /// The slot of a key, for the methods below that take one. It may be over: they see to that.
    #[inline]
    pub fn find(&self, hash: u32, same: impl FnMut(&K) -> bool) -> Option<u32> {
        self.slots.find(hash, same)
    }

    /// A read of what [`Self::find`] found. `now` is asked only where the entry can expire; an entry that is over leaves.
    #[inline]
    pub fn read(
        &mut self,
        found: Option<u32>,
        now: impl FnOnce() -> u64,
        displaced: &mut Displaced<K, V>,
    ) -> Option<&V> {
        let Some(index) = found else {
            self.stats.misses += 1;
            return None;
        };
        if (self.slots.get(index).expires_at != NEVER || self.may_be_dead()) && !self.meet(index, now, displaced) {
            self.stats.misses += 1;
            return None;
        }
        self.stats.hits += 1;
        if let Some(cost) = self.costs.get(index as usize) {
            self.stats.saved.add(*cost);
        }
        self.policy.hit(index);
        self.slots.get(index).value.as_ref()
    }

    /// [`Self::find`] and [`Self::read`] in one.
    #[inline]
    pub fn get(
        &mut self,
        hash: u32,
        same: impl FnMut(&K) -> bool,
        now: impl FnOnce() -> u64,
        displaced: &mut Displaced<K, V>,
    ) -> Option<&V> {
        self.read(self.find(hash, same), now, displaced)
    }

    /// Whether what was found is a live entry. Nothing is counted or reordered.
    pub fn is_live(&self, found: Option<u32>, now: impl FnOnce() -> u64) -> bool {
        found.is_some_and(|index| self.end(index, now).is_none())
    }

    /// Stores an entry under the key that `found` was looked up for just now, and says where: nowhere if it weighs more than
    /// the whole cache or its end has come. What was under the key leaves in any case: it has been overtaken. `key`
    /// writes the key into its slot, where no entry has it yet: keys are long, and are not moved about.
    #[inline]
    #[allow(clippy::too_many_arguments)] // each is a thing of its own; in one struct they would go through memory
    pub fn set(
        &mut self,
        found: Option<u32>,
        (hash, key): (u32, impl FnOnce(&mut Option<K>)),
        value: V,
        terms: &Terms,
        tags: &[(u32, StoredKey)],
        now: u64,
        displaced: &mut Displaced<K, V>,
    ) -> Option<u32> {
        let found = found.and_then(|index| self.replaceable(index, now, displaced));
        self.expire(UPKEEP, now, displaced);
        self.sweep_slots(SWEEP, displaced);
        let &Terms { weight, cost, worth, expires_at, memory } = terms;
        if weight > self.max_weight || (expires_at != NEVER && expires_at <= now) {
            displaced.push(None, value);
            self.refuse(found, displaced);
            return None;
        }
        let load = Load { hash, weight, cost: worth };
        let index = if let Some(index) = found {
            self.reload(index, load, now, displaced);
            let slot = self.slots.get_mut(index);
            slot.expires_at = expires_at;
            if let Some(old) = slot.value.replace(value) {
                displaced.push(None, old);
            }
            index
        } else {
            self.make_room(weight, NIL, now, displaced);
            let index = self.slots.insert(hash, self.prefixes.era(), expires_at, key, value);
            self.policy.insert(index, load);
            index
        };
        if expires_at != NEVER {
            self.give_life(index, expires_at, now);
        }
        if !tags.is_empty() {
            self.tags.attach(index, tags);
        }
        if cost != Cost::NONE || (index as usize) < self.costs.len() {
            self.set_cost(index, cost);
        }
        match memory {
            Some(memory) => self.policy.remember(index, memory),
            None => self.stats.spent.add(cost),
        }
        self.stats.sets += 1;
        Some(index)
    }

    /// What was found, if it is still to be replaced; if it is over, it leaves for that reason. Nothing that comes after can
    /// take it before its turn: it is live, and `now` stands still.
    fn replaceable(&mut self, index: u32, now: u64, displaced: &mut Displaced<K, V>) -> Option<u32> {
        match self.end(index, || now) {
            Some(reason) => {
                self.remove(index, reason, displaced);
                None
            }
            None => Some(index),
        }
    }

    #[cold]
    fn refuse(&mut self, found: Option<u32>, displaced: &mut Displaced<K, V>) {
        if let Some(index) = found {
            self.remove(index, Reason::Replaced, displaced);
        }
        self.stats.refused += 1;
    }

    /// Removes what was found and says whether it was live.
    pub fn delete(&mut self, found: Option<u32>, now: impl FnOnce() -> u64, displaced: &mut Displaced<K, V>) -> bool {
        let Some(index) = found else { return false };
        let end = self.end(index, now);
        self.remove(index, end.unwrap_or(Reason::Deleted), displaced);
        end.is_none()
    }

    /// Invalidates every entry that carries the tag and says how many there are. O(1): they leave when they are met.
    pub fn invalidate_tag(&mut self, hash: u32, name: Key<'_>) -> usize {
        self.tags.invalidate(hash, name)
    }

    /// Invalidates every entry whose key is a text that equals `prefix` or goes on after it with a `/`; where `prefix` ends
    /// with one, every key that goes on after it. O(length of the prefix): entries leave when they are met.
    pub fn invalidate_prefix(&mut self, prefix: Characters<'_>, displaced: &mut Displaced<K, V>) {
        if self.is_empty() {
            return;
        }
        if self.prefixes.era() == u32::MAX {
            self.end_eras(displaced);
        }
        // Twice: the slots may grow while the hand goes round.
        let until = self.steps + 2 * self.slots.capacity() as u64 + SWEEP as u64;
        self.prefixes.invalidate(prefix, until);
        // Who invalidates without ever setting pays for it too.
        self.sweep_slots(16 * SWEEP, displaced);
    }

    /// Removes entries that are over, in at most `limit` steps, and returns how many left.
    pub fn sweep(&mut self, limit: usize, now: u64, displaced: &mut Displaced<K, V>) -> usize {
        let before = self.len();
        self.expire(limit, now, displaced);
        self.sweep_slots(limit, displaced);
        before - self.len()
    }

    /// Another bound: at once where what is held fits, else as far as `limit` evictions go. Says whether it is reached; until then
    /// the bound is what is held.
    pub fn resize(&mut self, max_weight: u64, limit: usize, now: u64, displaced: &mut Displaced<K, V>) -> bool {
        for _ in 0..limit {
            if self.policy.total() <= max_weight {
                break;
            }
            let Some(index) = self.policy.victim(0, NIL) else { break };
            let reason = self.end(index, || now).unwrap_or(Reason::Size);
            self.remove(index, reason, displaced);
        }
        self.max_weight = max_weight.max(self.policy.total());
        self.policy.resize(self.max_weight);
        self.max_weight == max_weight
    }

    /// Removes every entry and frees the memory. Statistics go on. O(entries).
    pub fn clear(&mut self, displaced: &mut Displaced<K, V>) {
        self.stats.evicted.deleted += self.len() as u64;
        for (key, value) in self.slots.drain() {
            displaced.push(Some(key), value);
        }
        let stats = self.stats;
        *self = Self::new(self.max_weight, self.policy.fresh());
        self.stats = stats;
    }

    /// Every key and value held, in no useful order.
    pub fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.entries()
    }

    /// A walk over the slots, those that leave first first, for [`Self::entry`]. O(entries), but the walk itself is.
    pub fn order(&self) -> Order {
        self.policy.order()
    }

    /// The live entry in a slot; `None` too where `clear` took the slot away since its number was read.
    pub fn entry(&self, index: u32, now: u64) -> Option<Entry<'_, K, V>> {
        let slot = self.slots.get_any(index)?;
        let (key, value) = slot.entry()?;
        if self.end(index, || now).is_some() {
            return None;
        }
        Some(Entry {
            key,
            value,
            weight: self.policy.weight(index),
            cost: self.costs.get(index as usize).copied().unwrap_or(Cost::NONE),
            expires_at: slot.expires_at,
            memory: self.policy.memory(index),
        })
    }

    /// The tags of the entry in a slot.
    pub fn tags(&self, index: u32) -> impl Iterator<Item = Key<'_>> {
        self.tags.of(index)
    }

    #[inline]
    fn may_be_dead(&self) -> bool {
        self.tags.any_dead() || self.prefixes.any()
    }

    /// Why the entry is over, if it is.
    fn end(&self, index: u32, now: impl FnOnce() -> u64) -> Option<Reason> {
        let expires_at = self.slots.get(index).expires_at;
        if expires_at != NEVER && expires_at <= now() {
            Some(Reason::Expired)
        } else if self.may_be_dead() && self.is_dead(index) {
            Some(Reason::Invalidated)
        } else {
            None
        }
    }

    fn is_dead(&self, index: u32) -> bool {
        let slot = self.slots.get(index);
        let path = slot.entry().filter(|_| self.prefixes.any()).and_then(|(key, _)| key.characters());
        self.tags.is_dead(index) || path.is_some_and(|path| self.prefixes.covers(&path, slot.era))
    }

    /// Says whether an entry that is read is live; one that is over leaves, and so do others that expired.
    fn meet(&mut self, index: u32, now: impl FnOnce() -> u64, displaced: &mut Displaced<K, V>) -> bool {
        let now = if self.slots.get(index).expires_at == NEVER { 0 } else { now() };
        if let Some(reason) = self.end(index, || now) {
            self.remove(index, reason, displaced);
            return false;
        }
        self.expire(UPKEEP, now, displaced);
        true
    }

    /// Evicts until `coming`, which is at most the bound, fits; in the place of what `spare` weighs, if that stays.
    fn make_room(&mut self, coming: u64, spare: u32, now: u64, displaced: &mut Displaced<K, V>) {
        let replaced = if spare == NIL { 0 } else { self.policy.weight(spare) };
        // Subtraction, because weights near u64::MAX are allowed and their sum would wrap.
        while self.policy.total() - replaced > self.max_weight - coming || self.len() >= MAX_ENTRIES {
            let Some(index) = self.policy.victim(coming, spare) else { return };
            let reason = self.end(index, || now).unwrap_or(Reason::Size);
            self.remove(index, reason, displaced);
        }
    }

    /// Prepares an entry that stays for a new value. Its era stays too: had a prefix covered it since, it would have left.
    fn reload(&mut self, index: u32, load: Load, now: u64, displaced: &mut Displaced<K, V>) {
        self.policy.hit(index);
        if load.weight > self.policy.weight(index) {
            self.make_room(load.weight, index, now, displaced);
        }
        self.policy.reweigh(index, load);
        self.forget_life(index);
        self.tags.detach(index);
        self.stats.evicted.replaced += 1;
    }

    fn remove(&mut self, index: u32, reason: Reason, displaced: &mut Displaced<K, V>) {
        self.forget_life(index);
        let hash = self.slots.hash(index);
        let Some((key, value)) = self.slots.remove(index) else { return };
        self.tags.detach(index);
        self.policy.remove(index, hash);
        displaced.push(key, value);
        self.stats.evicted.count(reason);
    }

    fn forget_life(&mut self, index: u32) {
        if self.slots.get(index).expires_at != NEVER {
            self.wheel.remove(index);
            self.mortal -= 1;
        }
    }

    fn give_life(&mut self, index: u32, expires_at: u64, now: u64) {
        if self.mortal == 0 {
            self.wheel.start(now);
        }
        self.mortal += 1;
        self.wheel.insert(index, expires_at);
    }

    fn set_cost(&mut self, index: u32, cost: Cost) {
        if self.costs.len() <= index as usize {
            self.costs.resize(index as usize + 1, Cost::NONE);
        }
        self.costs[index as usize] = cost;
    }

    /// Lets the wheel go on.
    #[inline]
    fn expire(&mut self, steps: usize, now: u64, displaced: &mut Displaced<K, V>) {
        if self.mortal > 0 && self.wheel.is_due(now) {
            self.advance(steps, now, displaced);
        }
    }

    fn advance(&mut self, steps: usize, now: u64, displaced: &mut Displaced<K, V>) {
        for _ in 0..steps {
            match self.wheel.step(now, |slot| self.slots.get(slot).expires_at) {
                Step::Expired(slot) => self.remove(slot, Reason::Expired, displaced),
                Step::Moved => {}
                Step::Idle => return,
            }
        }
    }

    /// Lets the hand go on over the slots and removes what was invalidated.
    #[inline]
    fn sweep_slots(&mut self, steps: usize, displaced: &mut Displaced<K, V>) {
        if self.may_be_dead() {
            self.turn(steps, displaced);
        }
    }

    fn turn(&mut self, steps: usize, displaced: &mut Displaced<K, V>) {
        for _ in 0..steps {
            if !self.may_be_dead() {
                return;
            }
            self.hand = if (self.hand as usize) + 1 < self.slots.capacity() { self.hand + 1 } else { 0 };
            self.steps += 1;
            if self.slots.get(self.hand).value.is_some() && self.is_dead(self.hand) {
                self.remove(self.hand, Reason::Invalidated, displaced);
            }
            self.prefixes.forget(self.steps);
        }
    }

    /// Eras are counted with 32 bits: at their end every entry is looked at once, and they begin again. O(entries).
    #[cold]
    fn end_eras(&mut self, displaced: &mut Displaced<K, V>) {
        while self.prefixes.any() {
            self.sweep_slots(1, displaced);
        }
        self.prefixes = Prefixes::default();
        self.slots.iter_mut().for_each(|slot| slot.era = 0);
    }
}
