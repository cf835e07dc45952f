//! The policies against what any policy must keep, and each against what it is for.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;
use sparecall_core::cache::policy::{AnyPolicy, Load, Policy};

const NOBODY: u32 = u32::MAX;

/// A cache of keys without values, on a policy, which it asks for victims as the real one does.
struct Player {
    policy: AnyPolicy,
    max_weight: u64,
    slots: HashMap<u64, u32>,
    keys: Vec<u64>,
    free: Vec<u32>,
}

fn mixed(key: u64) -> u64 {
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

fn hash(key: u64) -> u32 {
    mixed(key.wrapping_add(1)) as u32
}

impl Player {
    fn new(name: &str, max_weight: u64) -> Self {
        let policy = AnyPolicy::new(name, max_weight).expect("a name of a policy");
        Self { policy, max_weight, slots: HashMap::new(), keys: Vec::new(), free: Vec::new() }
    }

    /// Whether it was a hit; else the key comes in, unless it is too heavy.
    fn get(&mut self, key: u64, weight: u64, cost: f64) -> bool {
        if let Some(&slot) = self.slots.get(&key) {
            self.policy.hit(slot);
            return true;
        }
        self.set(key, weight, cost);
        false
    }

    fn set(&mut self, key: u64, weight: u64, cost: f64) {
        if weight > self.max_weight {
            return;
        }
        let load = Load { hash: hash(key), weight, cost };
        if let Some(&slot) = self.slots.get(&key) {
            self.policy.hit(slot);
            self.make_room(weight, slot);
            self.policy.reweigh(slot, load);
            return;
        }
        self.make_room(weight, NOBODY);
        let slot = self.free.pop().unwrap_or(self.keys.len() as u32);
        if slot as usize == self.keys.len() {
            self.keys.push(key);
        }
        self.keys[slot as usize] = key;
        self.slots.insert(key, slot);
        self.policy.insert(slot, load);
    }

    fn make_room(&mut self, weight: u64, spare: u32) {
        let replaced = if spare == NOBODY { 0 } else { self.policy.weight(spare) };
        while self.policy.total() - replaced > self.max_weight - weight {
            let slot = self.policy.victim(weight, spare).expect("what is held can leave");
            assert_ne!(slot, spare);
            assert_eq!(self.slots.get(&self.keys[slot as usize]), Some(&slot), "the victim is held");
            self.delete(self.keys[slot as usize]);
        }
    }

    fn delete(&mut self, key: u64) {
        if let Some(slot) = self.slots.remove(&key) {
            self.policy.remove(slot, hash(key));
            self.free.push(slot);
        }
    }

    /// Another one made of what a file would hold.
    fn restored(&self) -> Self {
        let mut other = Self::new(self.policy.name(), self.max_weight);
        for slot in self.policy.order()() {
            let key = self.keys[slot as usize];
            other.set(key, self.policy.weight(slot), 0.0);
            other.policy.remember(other.slots[&key], self.policy.memory(slot));
        }
        other
    }

    /// The share of hits in `keys`, each of weight 1.
    fn share_of_hits(&mut self, keys: impl IntoIterator<Item = u64>) -> f64 {
        let (mut hits, mut count) = (0, 0);
        for key in keys {
            hits += u32::from(self.get(key, 1, 0.0));
            count += 1;
        }
        f64::from(hits) / f64::from(count)
    }
}

/// Keys of which few are asked for often: the `n`th about 1/n as often as the first.
fn popular(count: u64, seed: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |turn| {
        let unit = (mixed(seed + turn) >> 11) as f64 / (1_u64 << 53) as f64;
        20_000_f64.powf(unit) as u64
    })
}

#[test]
fn names_choose_the_policy_and_others_choose_none() {
    for name in AnyPolicy::NAMES {
        assert_eq!(AnyPolicy::new(name, 10).map(|policy| policy.name()), Some(name));
    }
    assert!(AnyPolicy::new("mru", 10).is_none());
}

#[derive(Debug, Clone)]
enum Step {
    Get(u64),
    Set(u64, u64),
    Delete(u64),
    Restore,
}

fn steps(weights: impl Strategy<Value = u64> + Clone + 'static) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u64..12).prop_map(Step::Get),
        4 => (0_u64..12, weights).prop_map(|(key, weight)| Step::Set(key, weight)),
        1 => (0_u64..12).prop_map(Step::Delete),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(step, 1..300)
}

fn check(name: &str, max_weight: u64, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut player = Player::new(name, max_weight);
    let mut weights: HashMap<u64, u64> = HashMap::new();
    for step in steps {
        match *step {
            Step::Get(key) => {
                if let Some(&slot) = player.slots.get(&key) {
                    player.policy.hit(slot);
                }
            }
            Step::Set(key, weight) => {
                player.set(key, weight, mixed(key) as f64);
                if weight <= max_weight {
                    weights.insert(key, weight);
                    prop_assert!(player.slots.contains_key(&key), "what just came stays");
                }
            }
            Step::Delete(key) => player.delete(key),
            Step::Restore => player = player.restored(),
        }
        weights.retain(|key, _| player.slots.contains_key(key));
        prop_assert_eq!(player.policy.total(), weights.values().sum::<u64>());
        prop_assert!(player.policy.total() <= max_weight);
        let order = player.policy.order()();
        let held: BTreeSet<u32> = player.slots.values().copied().collect();
        prop_assert_eq!(order.len(), held.len(), "each once");
        prop_assert_eq!(order.into_iter().collect::<BTreeSet<_>>(), held);
        for (key, &slot) in &player.slots {
            prop_assert_eq!(player.policy.weight(slot), weights[key]);
        }
    }
    for spare in player.slots.values().copied().collect::<Vec<_>>() {
        let victim = player.policy.victim(0, spare);
        prop_assert_ne!(victim, Some(spare));
        prop_assert_eq!(victim.is_some(), player.slots.len() > 1);
    }
    Ok(())
}

proptest! {
    #[test]
    fn small_caches_keep_their_bound_and_lose_nobody(
        name in prop::sample::select(&AnyPolicy::NAMES[..]),
        (max_weight, steps) in (1_u64..5).prop_flat_map(|most| (Just(most), steps(0..=most + 1))),
    ) {
        check(name, max_weight, &steps)?;
    }

    #[test]
    fn huge_weights_never_overflow(
        name in prop::sample::select(&AnyPolicy::NAMES[..]),
        max_weight in prop::sample::select(vec![u64::MAX, u64::MAX - 1, 1 << 63, 1 << 53]),
        steps in steps(prop::sample::select(vec![0, 1, 1000, 1 << 40, 1 << 53, 1 << 63, u64::MAX / 3, u64::MAX])),
    ) {
        check(name, max_weight, &steps)?;
    }
}

#[test]
fn a_restored_policy_goes_on_hitting_like_the_one_it_was_made_of() {
    for name in AnyPolicy::NAMES {
        let mut player = Player::new(name, 1000);
        player.share_of_hits(popular(100_000, 1));
        let mut other = player.restored();
        let (went_on, restored) = (player.share_of_hits(popular(10_000, 7)), other.share_of_hits(popular(10_000, 7)));
        assert!((went_on - restored).abs() < 0.01, "{name}: {went_on} and {restored}");
        let cold = Player::new(name, 1000).share_of_hits(popular(10_000, 7));
        assert!(restored > cold + 0.015, "{name}: {restored}, cold {cold}");
    }
}

#[test]
fn scans_pass_through_adaptive_and_empty_lru() {
    // After every 2,000 keys of use, 3,000 that never come again.
    let trace = |turns: u64| {
        (0..turns)
            .flat_map(|turn| popular(2000, turn * 2000).chain((0..3000).map(move |key| 1_000_000 + turn * 3000 + key)))
    };
    let of = |name| Player::new(name, 1000).share_of_hits(trace(40));
    let (lru, adaptive, cost) = (of("lru"), of("adaptive"), of("cost"));
    assert!(lru < 0.21, "{lru}");
    assert!(adaptive > 0.25, "{adaptive}");
    assert!(cost > 0.22, "{cost}");
}

#[test]
fn a_loop_too_long_for_the_cache_keeps_a_part_of_itself() {
    let trace = || (0..200_000).map(|turn| turn % 1000);
    for size in [100, 500, 900] {
        let adaptive = Player::new("adaptive", size).share_of_hits(trace());
        let best = (size - 1) as f64 / 999.0;
        assert!(adaptive > 0.9 * best, "{size}: {adaptive} of {best}");
        assert!(Player::new("lru", size).share_of_hits(trace()) < 0.001);
    }
}

#[test]
fn keys_that_come_again_soon_and_never_later_find_the_window_wide() {
    // Every key comes twice, 400 keys apart.
    let trace = || (0_u64..200_000).map(|turn| if turn % 2 == 0 { turn / 2 } else { (turn / 2).saturating_sub(200) });
    let mut player = Player::new("adaptive", 500);
    let adaptive = player.share_of_hits(trace());
    let lru = Player::new("lru", 500).share_of_hits(trace());
    assert!(lru > 0.49, "{lru}");
    assert!(adaptive > lru - 0.015, "{adaptive}");
    // Then a loop that the window is of no use for.
    assert!(player.share_of_hits((0..100_000).map(|turn| 1_000_000 + turn % 1000)) > 0.4);
}

/// The costs of hits as a share of all costs, where every tenth key costs 1000 times as much.
fn share_saved(name: &str, weight: fn(u64) -> u64, cost: fn(u64) -> f64) -> f64 {
    let mut player = Player::new(name, 500);
    let (mut saved, mut all) = (0.0, 0.0);
    for key in popular(100_000, 3) {
        let hit = player.get(key, weight(key), cost(key));
        let price = if key % 10 == 0 { 1000.0 } else { 1.0 };
        all += price;
        saved += if hit { price } else { 0.0 };
    }
    saved / all
}

#[test]
fn cost_keeps_what_is_dear_and_says_less_of_what_nobody_priced() {
    let one = |_| 1;
    let priced = |key: u64| if key.is_multiple_of(10) { 1000.0 } else { 1.0 };
    let dear = share_saved("cost", one, priced);
    let blind = share_saved("cost", one, |_| 0.0);
    let lru = share_saved("lru", one, priced);
    assert!(dear > 0.72, "{dear}");
    assert!(blind > lru + 0.04 && dear > blind + 0.1, "{dear}, {blind}, {lru}");
    // Unpriced entries count as the mean, not as worthless: they are not all driven out by cheap ones.
    let half = share_saved("cost", one, |key| if key % 2 == 0 { 0.0 } else { 1.0 });
    assert!((half - blind).abs() < 0.01, "{half}, {blind}");
}

#[test]
fn cost_prefers_many_small_entries_to_few_large_ones() {
    let weight = |key| if key % 3 == 0 { 50 } else { 1 };
    let hits = |name| {
        let mut player = Player::new(name, 500);
        popular(100_000, 5).filter(|&key| player.get(key, weight(key), 0.0)).count()
    };
    assert!(hits("cost") > hits("adaptive") * 11 / 10);
}

#[test]
fn weightless_and_worthless_entries_are_ranked_too() {
    for name in AnyPolicy::NAMES {
        let mut player = Player::new(name, 2);
        for key in 0..1000 {
            player.set(key, key % 3, [0.0, f64::MAX, f64::MIN_POSITIVE, 1.0][key as usize % 4]);
            assert!(player.slots.contains_key(&key) && player.policy.total() <= 2);
        }
    }
}

#[test]
fn metadata_stays_within_a_few_words_an_entry() {
    for (name, most) in [("lru", 16.1), ("adaptive", 24.0), ("cost", 33.2)] {
        for size in [5_000, 20_000, 77_777] {
            let mut player = Player::new(name, size);
            player.share_of_hits(0..3 * size);
            let bytes = player.policy.bytes() as f64 / size as f64;
            assert!(bytes <= most, "{name} of {size}: {bytes}");
        }
    }
}
