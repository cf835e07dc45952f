//! What holds under every policy, whoever it lets go: no wrong, expired or invalidated answer, exact bounds, nothing left behind.

mod fixtures;

use std::collections::HashMap;

use fixtures::{Item, Shelf, covers, text};
use proptest::prelude::*;
use sparecall_core::cache::policy::{AnyPolicy, Lru, Policy};
use sparecall_core::cache::{Cost, Key, NEVER, StoredKey};

/// In nanoseconds: a few of them make a tick of the timer wheel.
const MOMENT: u64 = 50_000_000;
const DAY: u64 = 24 * 3600 * 1_000_000_000;
/// Of the paths, in every width.
const ROOTS: [&str; 3] = ["a", "日", "😀"];
const TAGS: u64 = 12;

#[derive(Debug)]
enum Step {
    Get(u64),
    IsLive(u64),
    Set { key: u64, weight: u64, life: u64, cost: f64, tags: u64 },
    Delete(u64),
    Clear,
    Sweep(usize),
    Wait(u64),
    Back(u64),
    InvalidateTag(u64),
    InvalidatePrefix(String),
    Restart,
    Resize { bound: u64, limit: usize },
}

/// Draws small numbers from one large one.
struct Bits(u64);

impl Bits {
    fn below(&mut self, limit: u64) -> u64 {
        let drawn = self.0 % limit;
        self.0 /= limit;
        drawn
    }
}

/// Weights are up to one more than `max_weight`, keys below `keys`.
fn step(bits: u64, max_weight: u64, keys: u64) -> Step {
    let mut bits = Bits(bits);
    let kind = bits.below(128);
    let key = bits.below(keys);
    match kind {
        45..50 => Step::IsLive(key),
        50..105 => {
            let heaviest = if bits.below(16) == 0 { max_weight + 2 } else { max_weight.min(6) + 1 };
            let weight = bits.below(heaviest);
            let life = match bits.below(4) {
                0 => NEVER,
                1 => bits.below(10) * MOMENT,
                2 => bits.below(1000) * MOMENT,
                _ => bits.below(100) * DAY,
            };
            let tags = if bits.below(2) == 0 { 0 } else { bits.below(1 << TAGS) };
            Step::Set { key, weight, life, cost: bits.below(5) as f64 / 4.0, tags }
        }
        105..109 => Step::Delete(key),
        109..112 => Step::Sweep(bits.below(40) as usize),
        112..118 => Step::Wait(bits.below(20) * MOMENT),
        118 => Step::Wait(bits.below(3) * DAY),
        119 => Step::Back(bits.below(100) * MOMENT),
        120..123 => Step::InvalidateTag(bits.below(TAGS)),
        123..126 => Step::InvalidatePrefix(path(key)[..path(key).rfind('/').unwrap_or(0)].into()),
        126 if bits.below(32) == 0 => Step::InvalidatePrefix(ROOTS[bits.below(3) as usize].into()),
        126 => Step::Resize { bound: bits.below(2 * max_weight + 1), limit: bits.below(6) as usize },
        127 if bits.below(64) == 0 => Step::Clear,
        127 if bits.below(16) == 0 => Step::Restart,
        _ => Step::Get(key),
    }
}

fn path(key: u64) -> String {
    format!("{}/{}/{key}", ROOTS[(key % 3) as usize], key % 7)
}

fn tag(number: u64) -> StoredKey {
    text(&format!("tag {number}"))
}

struct World<P> {
    shelf: Shelf<P>,
    /// The newest set of each key, while it may be answered with.
    model: HashMap<u64, Entry>,
    keys: Vec<StoredKey>,
}

struct Entry {
    value: u64,
    expires_at: u64,
    tags: u64,
}

impl<P: Policy> World<P> {
    fn new(max_weight: u64, policy: P, keys: u64, hashes: u32) -> Self {
        let shelf = Shelf::new(max_weight, policy, hashes);
        Self { shelf, model: HashMap::new(), keys: (0..keys).map(|key| text(&path(key))).collect() }
    }

    fn may_answer(&self, key: u64) -> Option<u64> {
        self.model.get(&key).filter(|entry| entry.expires_at > self.shelf.now).map(|entry| entry.value)
    }

    fn step(&mut self, step: Step, value: u64) {
        let shelf = &mut self.shelf;
        let now = shelf.now;
        let name = |key: u64| &self.keys[key as usize];
        match step {
            Step::Get(key) => match shelf.get(name(key)) {
                Some(found) => assert_eq!(Some(found), self.may_answer(key)),
                // What is not there now does not come back.
                None => drop(self.model.remove(&key)),
            },
            Step::IsLive(key) => assert!(!shelf.is_live(name(key)) || self.may_answer(key).is_some()),
            Step::Set { key, weight, life, cost, tags } => {
                let expires_at = now.saturating_add(life);
                let carried = (0..TAGS).filter(|number| tags >> number & 1 == 1).map(tag).collect();
                let stored = shelf
                    .set(
                        name(key),
                        Item { value, weight, cost: Cost { dollars: cost, seconds: cost }, expires_at, tags: carried },
                    )
                    .is_some();
                assert_eq!(stored, weight <= shelf.cache.max_weight() && life > 0);
                assert_eq!(shelf.is_live(name(key)), stored, "the newest is there");
                self.model.remove(&key);
                if stored {
                    self.model.insert(key, Entry { value, expires_at, tags });
                }
            }
            Step::Delete(key) => {
                let was_live = shelf.delete(name(key));
                assert!(!was_live || self.may_answer(key).is_some());
                self.model.remove(&key);
            }
            Step::Clear => {
                shelf.clear();
                self.model.clear();
            }
            Step::Sweep(limit) => assert!(shelf.sweep(limit) <= 2 * limit),
            Step::Wait(life) => shelf.now = now.saturating_add(life),
            Step::Back(life) => shelf.now = now.saturating_sub(life),
            Step::InvalidateTag(number) => {
                shelf.invalidate_tag(&tag(number));
                self.model.retain(|_, entry| entry.tags >> number & 1 == 0);
            }
            Step::InvalidatePrefix(prefix) => {
                shelf.invalidate_prefix(&text(&prefix));
                self.model.retain(|&key, _| !covers(&prefix, &path(key)));
            }
            Step::Restart => {
                let mut warm = shelf.fresh();
                warm.load(&shelf.save());
                assert!(warm.live_slots().len() == shelf.live_slots().len(), "all that fitted fits again");
                *shelf = warm;
            }
            Step::Resize { bound, limit } => {
                let before = shelf.cache.len();
                let reached = shelf.resize(bound, limit);
                assert!(before - shelf.cache.len() <= limit);
                assert_eq!(reached, shelf.cache.max_weight() == bound);
                assert!(reached || (before - shelf.cache.len() == limit && shelf.cache.weight() > bound));
            }
        }
        assert!(self.shelf.cache.len() <= self.keys.len(), "no key is held twice");
    }

    /// Everything ends; then one key is set again and again until it is alone.
    fn end(mut self) {
        self.shelf.now += 200 * DAY;
        for root in ROOTS {
            self.shelf.invalidate_prefix(&text(root));
        }
        let last = text("last");
        for _ in 0..2 * self.keys.len() + 500 {
            let before = self.shelf.cache.len();
            assert!(self.shelf.set(&last, Item { weight: 0, ..Item::new(0) }).is_some());
            assert!(before + 1 - self.shelf.cache.len() <= 16, "one set does a bounded amount of work");
            if self.shelf.cache.len() == 1 && !self.shelf.cache.has_mortal() {
                return;
            }
        }
        panic!("{} entries stayed", self.shelf.cache.len() - 1);
    }
}

/// Any steps, in a small world.
fn play<P: Policy>(steps: &[u64], max_weight: u64, policy: P) {
    let mut world = World::new(max_weight, policy, 12, 5);
    for (value, &bits) in (0..).zip(steps) {
        world.step(step(bits, max_weight, 12), value);
    }
    world.end();
}

/// The bound of the larger one.
const WEIGHT: u64 = 300;

fn any_policy(max_weight: u64) -> impl Iterator<Item = AnyPolicy> {
    AnyPolicy::NAMES.into_iter().filter_map(move |name| AnyPolicy::new(name, max_weight))
}

/// Many steps, in a larger one.
fn soak<P: Policy>(operations: u64, policy: P) {
    let mut world = World::new(WEIGHT, policy, 500, 211);
    let mut state = 5_u64;
    for value in 0..operations {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        world.step(step(bits ^ (bits >> 32), WEIGHT, 500), value);
    }
    let evicted = world.shelf.cache.stats().evicted;
    let reasons = [evicted.size, evicted.expired, evicted.replaced, evicted.deleted, evicted.invalidated];
    assert!(reasons.iter().all(|&count| count > 0), "{evicted:?}: a way to leave was not taken");
    world.end();
}

proptest! {
    #[test]
    fn whoever_leaves_the_answers_are_right(steps in prop::collection::vec(any::<u64>(), 0..300), max_weight in 0..9_u64) {
        any_policy(max_weight).for_each(|policy| play(&steps, max_weight, policy));
    }
}

#[test]
fn the_bound_holds_over_200_000_operations() {
    any_policy(WEIGHT).for_each(|policy| soak(200_000, policy));
}

#[test]
#[ignore = "ten seconds and more: make soak"]
fn the_bound_holds_over_10_million_operations() {
    any_policy(WEIGHT).for_each(|policy| soak(10_000_000, policy));
}

#[test]
fn a_cache_that_only_ever_expires_never_holds_more_than_what_lives_and_a_little() {
    let mut shelf = Shelf::new(u64::MAX, Lru::new(), u32::MAX);
    for number in 0..100_000_u64 {
        shelf.now += MOMENT;
        let key = StoredKey::new(Key { kind: Key::DIGEST, bytes: &[number.to_le_bytes(); 2].concat() });
        let life = (number * 7919 % 1000 + 1) * MOMENT;
        shelf.set(&key, Item { expires_at: shelf.now + life, ..Item::new(number) });
        assert!(shelf.cache.len() <= 1010);
    }
}
