//! The cache that drops what was used least recently, against a model that keeps a plain list.

mod fixtures;

use std::collections::BTreeSet;

use fixtures::{Item, Shelf, covers, digest, text};
use proptest::prelude::*;
use sparecall_core::cache::policy::Lru;
use sparecall_core::cache::{Cost, NEVER, StoredKey};

/// In nanoseconds: a few of them make a tick of the timer wheel.
const MOMENT: u64 = 50_000_000;

/// Paths of every width, short and long; the number after the last one stands for a digest.
const PATHS: [&str; 9] =
    ["a", "a/", "a/b", "ab", "a/b/and so on for more than fit into a slot", "日", "日/b", "😀/b", ""];
const PREFIXES: [&str; 7] = ["a", "a/", "a/b", "日", "😀/b", "", "/"];
const KEYS: usize = PATHS.len() + 1;
const TAGS: [&str; 3] = ["red", "green", "赤"];

fn sum(left: Cost, right: Cost) -> Cost {
    Cost { dollars: left.dollars + right.dollars, seconds: left.seconds + right.seconds }
}

fn key(number: usize) -> StoredKey {
    PATHS.get(number).map_or_else(|| digest(7), |path| text(path))
}

#[derive(Debug, Clone)]
enum Step {
    Get(usize),
    IsLive(usize),
    Set { key: usize, weight: u64, life: Option<u64>, cost: u8, tags: Vec<usize> },
    Delete(usize),
    Clear,
    Sweep(usize),
    Wait(u64),
    InvalidateTag(usize),
    InvalidatePrefix(usize),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tags = prop::collection::vec(0..TAGS.len(), 0..4);
    let set = (0..KEYS, 0..10_u64, prop::option::of(0..12_u64), 0..4_u8, tags);
    let step = prop_oneof![
        8 => (0..KEYS).prop_map(Step::Get),
        2 => (0..KEYS).prop_map(Step::IsLive),
        14 => set.prop_map(|(key, weight, life, cost, tags)| Step::Set { key, weight, life, cost, tags }),
        2 => (0..KEYS).prop_map(Step::Delete),
        1 => Just(Step::Clear),
        2 => (0..20_usize).prop_map(Step::Sweep),
        5 => (1..10_u64).prop_map(Step::Wait),
        2 => (0..TAGS.len()).prop_map(Step::InvalidateTag),
        2 => (0..PREFIXES.len()).prop_map(Step::InvalidatePrefix),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..200)
}

#[derive(Debug, Clone)]
struct Entry {
    key: usize,
    item: Item,
    /// By number, those of before their invalidation left out.
    tags: BTreeSet<usize>,
    dead: bool,
}

/// By the book: entries in the order of use.
#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    hits: u64,
    misses: u64,
    refused: u64,
    saved: Cost,
    spent: Cost,
}

impl Model {
    fn live(&self, key: usize, now: u64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == key && is_live(entry, now))
    }

    fn get(&mut self, key: usize, now: u64) -> Option<u64> {
        let Some(at) = self.live(key, now) else {
            self.misses += 1;
            return None;
        };
        let entry = self.entries.remove(at);
        let value = entry.item.value;
        self.hits += 1;
        self.saved = sum(self.saved, entry.item.cost);
        self.entries.push(entry);
        Some(value)
    }

    /// Which entries that are over are gone already is the cache's own business. Live ones leave oldest first, and only
    /// where those after them, over or not, left no room.
    fn evict(&mut self, shelf: &Shelf<Lru>) {
        let held: BTreeSet<usize> = shelf.cache.entries().map(|(held, _)| number(&held.inner)).collect();
        assert_eq!(held.len(), shelf.cache.len(), "no key is held twice");
        let gone = |entry: &Entry| !held.contains(&entry.key);
        if let Some(last) = self.entries.iter().rposition(|entry| is_live(entry, shelf.now) && gone(entry)) {
            let weight: u128 = self.entries[last..].iter().map(|entry| u128::from(entry.item.weight)).sum();
            assert!(weight > shelf.cache.max_weight().into(), "a live entry left though there was room");
            assert!(self.entries[..last].iter().all(gone), "an older one stayed");
        }
        self.entries.retain(|entry| held.contains(&entry.key));
        assert_eq!(self.entries.len(), held.len(), "nothing is held that was not set");
    }

    /// Everything the cache says of itself.
    fn check(&self, shelf: &Shelf<Lru>) {
        let live = self.entries.iter().filter(|entry| is_live(entry, shelf.now));
        let slots = shelf.live_slots();
        assert_eq!(slots.len(), live.clone().count());
        for (expected, slot) in live.zip(slots) {
            let entry = shelf.cache.entry(slot, shelf.now).expect("live");
            let (key, item) = (key(expected.key), &expected.item);
            assert!(entry.key.inner.is(key.as_key()));
            let found = (entry.value.inner, entry.weight, entry.cost, entry.expires_at);
            assert_eq!(found, (item.value, item.weight, item.cost, item.expires_at));
            let tags: BTreeSet<usize> = shelf
                .cache
                .tags(slot)
                .map(|tag| TAGS.iter().position(|name| text(name).is(tag)).expect("a tag that was given"))
                .collect();
            assert_eq!(tags, expected.tags);
        }
        assert_eq!(shelf.cache.weight(), self.entries.iter().map(|entry| entry.item.weight).sum::<u64>());
        assert_eq!(shelf.cache.has_mortal(), self.entries.iter().any(|entry| entry.item.expires_at != NEVER));
        let stats = shelf.cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.refused), (self.hits, self.misses, self.refused));
        assert_eq!((stats.saved, stats.spent), (self.saved, self.spent));
    }
}

fn is_live(entry: &Entry, now: u64) -> bool {
    !entry.dead && entry.item.expires_at > now
}

fn number(held: &StoredKey) -> usize {
    (0..KEYS).find(|&number| key(number).is(held.as_key())).expect("a key that was set")
}

fn take(step: Step, unit: u64, value: u64, shelf: &mut Shelf<Lru>, model: &mut Model) {
    match step {
        Step::Get(number) => assert_eq!(shelf.get(&key(number)), model.get(number, shelf.now)),
        Step::IsLive(number) => assert_eq!(shelf.is_live(&key(number)), model.live(number, shelf.now).is_some()),
        Step::Set { key: number, weight, life, cost, tags } => {
            let item = Item {
                value,
                weight: weight.saturating_mul(unit),
                cost: Cost { dollars: f64::from(cost) / 4.0, seconds: f64::from(cost) },
                expires_at: life.map_or(NEVER, |life| shelf.now + life * MOMENT),
                tags: tags.iter().map(|&tag| text(TAGS[tag])).collect(),
            };
            let fits = item.weight <= shelf.cache.max_weight() && life != Some(0);
            model.entries.retain(|entry| entry.key != number);
            assert_eq!(shelf.set(&key(number), item.clone()).is_some(), fits);
            if fits {
                model.spent = sum(model.spent, item.cost);
                model.entries.push(Entry { key: number, item, tags: tags.into_iter().collect(), dead: false });
            } else {
                model.refused += 1;
            }
        }
        Step::Delete(number) => {
            assert_eq!(shelf.delete(&key(number)), model.live(number, shelf.now).is_some());
            model.entries.retain(|entry| entry.key != number);
        }
        Step::Clear => {
            shelf.clear();
            model.entries.clear();
        }
        Step::Sweep(limit) => assert!(shelf.sweep(limit) <= 2 * limit),
        Step::Wait(moments) => shelf.now += moments * MOMENT,
        Step::InvalidateTag(tag) => {
            let carried =
                model.entries.iter_mut().filter_map(|entry| entry.tags.remove(&tag).then_some(&mut entry.dead));
            let count = carried.map(|dead| *dead = true).count();
            assert_eq!(shelf.invalidate_tag(&text(TAGS[tag])), count);
        }
        Step::InvalidatePrefix(prefix) => {
            let path = |entry: &Entry| PATHS.get(entry.key).copied();
            let covered = |entry: &&mut Entry| path(entry).is_some_and(|path| covers(PREFIXES[prefix], path));
            model.entries.iter_mut().filter(covered).for_each(|entry| entry.dead = true);
            shelf.invalidate_prefix(&text(PREFIXES[prefix]));
        }
        Step::Restart => {
            let mut warm = shelf.fresh();
            warm.load(&shelf.save());
            *shelf = warm;
            let entries: Vec<Entry> = model.entries.drain(..).filter(|entry| is_live(entry, shelf.now)).collect();
            *model = Model { entries, ..Model::default() };
        }
    }
}

proptest! {
    #[test]
    fn the_cache_is_the_model(steps in steps(), capacity in 0..=8_u64, heavy: bool, hashes in 1..4_u32) {
        let unit = if heavy { u64::MAX / 8 } else { 1 };
        let mut shelf = Shelf::new(capacity * unit, Lru::new(), hashes);
        let mut model = Model::default();
        for (value, step) in (0..).zip(steps) {
            take(step, unit, value, &mut shelf, &mut model);
            model.evict(&shelf);
            model.check(&shelf);
        }
    }
}

#[test]
fn an_entry_heavier_than_the_cache_does_not_empty_it() {
    let mut shelf = Shelf::new(3, Lru::new(), 1);
    let (first, second) = (text("first"), text("second"));
    for key in [&first, &second] {
        assert!(shelf.set(key, Item::new(1)).is_some());
    }
    assert_eq!(shelf.set(&first, Item { weight: 4, ..Item::new(2) }), None);
    assert_eq!((shelf.get(&first), shelf.get(&second)), (None, Some(1)), "what was overtaken is gone");
    assert_eq!((shelf.cache.stats().refused, shelf.cache.stats().evicted.replaced), (1, 1));
}

#[test]
fn an_entry_that_grows_drives_out_others_and_never_itself() {
    let mut shelf = Shelf::new(u64::MAX, Lru::new(), 1);
    let (first, second) = (text("first"), text("second"));
    for (key, weight) in [(&first, u64::MAX - 1), (&second, 1), (&second, u64::MAX), (&first, 1), (&first, u64::MAX)] {
        assert!(shelf.set(key, Item { weight, ..Item::new(weight) }).is_some());
        assert_eq!(shelf.get(key), Some(weight));
    }
    assert_eq!((shelf.cache.len(), shelf.cache.weight()), (1, u64::MAX));
}

#[test]
fn what_was_looked_up_and_then_expired_inside_the_set_is_set_anew() {
    let mut shelf = Shelf::new(10, Lru::new(), 1);
    let key = text("key");
    shelf.set(
        &key,
        Item { expires_at: MOMENT, cost: Cost { dollars: 0.5, seconds: 0.0 }, tags: vec![text("tag")], ..Item::new(1) },
    );
    shelf.now = 100 * MOMENT;
    assert!(shelf.set(&key, Item::new(2)).is_some());
    assert_eq!(shelf.cache.stats().evicted.expired, 1);
    assert_eq!((shelf.get(&key), shelf.cache.stats().saved), (Some(2), Cost::NONE));
    assert_eq!(shelf.invalidate_tag(&text("tag")), 0);
}

#[test]
fn the_clock_is_not_asked_where_nothing_can_expire_and_any_time_will_do() {
    let mut shelf = Shelf::new(10, Lru::new(), 1);
    shelf.now = u64::MAX;
    assert!(shelf.set(&text("key"), Item::new(1)).is_some());
    assert_eq!(shelf.get(&text("key")), Some(1));
    let no_clock = || unreachable!("no entry here can expire");
    let found = shelf.cache.find(0, |_| true);
    assert!(found.is_some() && shelf.cache.is_live(found, no_clock));
    assert!(shelf.cache.read(found, no_clock, &mut sparecall_core::cache::Displaced::new()).is_some());
}
