//! The cache against a model that keeps a plain list, and the snapshot against damage.

use proptest::prelude::*;
use sparecall_core::cache::snapshot::{Record, decode, encode};
use sparecall_core::cache::{Cache, Displaced, Key, NEVER};
use sparecall_core::error::Error;

fn text(bytes: &[u8]) -> Key<'_> {
    Key { kind: 1, bytes }
}

/// A poor hash on purpose: everything collides with something.
fn hash(key: &[u8]) -> u64 {
    key.iter().map(|&byte| u64::from(byte)).sum::<u64>() % 3
}

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Peek(u8),
    Set { key: u8, weight: u64, life: Option<u64> },
    Delete(u8),
    Clear,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6u8).prop_map(Step::Get),
        1 => (0..6u8).prop_map(Step::Peek),
        5 => (0..6u8, 0..6u64, prop::option::of(0..4u64)).prop_map(|(key, weight, life)| Step::Set { key, weight, life }),
        1 => (0..6u8).prop_map(Step::Delete),
        1 => Just(Step::Clear),
        2 => (1..3u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..120)
}

/// Short and long keys: inline and boxed.
fn key_bytes(key: u8) -> Vec<u8> {
    vec![key; if key.is_multiple_of(2) { 3 } else { 50 }]
}

/// The same by the book: a list, oldest first, from which the oldest leaves.
#[derive(Default)]
struct Model {
    entries: Vec<(u8, String, u64, u64)>,
}

impl Model {
    fn live(&self, key: u8, now: u64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.0 == key && entry.3 > now)
    }
}

proptest! {
    #[test]
    fn the_cache_is_the_model_and_its_bound_holds(steps in steps(), max_weight in 0..6u64) {
        let mut cache = Cache::<String>::new(max_weight);
        let mut model = Model::default();
        let mut now = 10;
        for (number, step) in steps.into_iter().enumerate() {
            let mut displaced = Displaced::new();
            let held = cache.len();
            match step {
                Step::Get(key) => {
                    let bytes = key_bytes(key);
                    let found = cache.get(hash(&bytes), text(&bytes), || now, &mut displaced).cloned();
                    let expected = model.live(key, now).map(|at| {
                        let entry = model.entries.remove(at);
                        model.entries.push(entry.clone());
                        entry.1
                    });
                    prop_assert_eq!(found, expected);
                    prop_assert_eq!(held, cache.len() + displaced.len());
                }
                Step::Peek(key) => {
                    let bytes = key_bytes(key);
                    let expected = model.live(key, now).map(|at| &model.entries[at].1);
                    prop_assert_eq!(cache.peek(hash(&bytes), text(&bytes), || now), expected);
                }
                Step::Set { key, weight, life } => {
                    let bytes = key_bytes(key);
                    let value = format!("value {number}");
                    let expires_at = life.map_or(NEVER, |life| now + life);
                    let stored =
                        cache.set(hash(&bytes), text(&bytes), value.clone(), weight, expires_at, now, &mut displaced);
                    prop_assert_eq!(stored, weight <= max_weight && life != Some(0));
                    prop_assert_eq!(held + 1, cache.len() + displaced.len());
                    model.entries.retain(|entry| entry.0 != key);
                    if stored {
                        model.entries.push((key, value, weight, expires_at));
                    }
                }
                Step::Delete(key) => {
                    let bytes = key_bytes(key);
                    let live = model.live(key, now).is_some();
                    prop_assert_eq!(cache.delete(hash(&bytes), text(&bytes), || now, &mut displaced), live);
                    model.entries.retain(|entry| entry.0 != key);
                }
                Step::Clear => {
                    cache.clear(&mut displaced);
                    prop_assert_eq!(displaced.len(), held);
                    model.entries.clear();
                }
                Step::Wait(life) => now += life,
            }
            // Which expired entries are gone already is the cache's own business. Live ones leave oldest first, and only
            // where what came after them, expired or not, left no room.
            let held: Vec<u8> = cache.iter().map(|entry| entry.key.bytes[0]).collect();
            if let Some(last) = model.entries.iter().rposition(|entry| entry.3 > now && !held.contains(&entry.0)) {
                let newer: u64 = model.entries[last..].iter().map(|entry| entry.2).sum();
                prop_assert!(newer > max_weight, "a live entry left though there was room");
                let mut at = 0..;
                model.entries.retain(|entry| at.next() > Some(last) || entry.3 <= now);
            }
            model.entries.retain(|entry| held.contains(&entry.0));
            let expected: Vec<u8> = model.entries.iter().map(|entry| entry.0).collect();
            prop_assert_eq!(&held, &expected);
            prop_assert!(cache.weight() <= max_weight);
            prop_assert_eq!(cache.weight(), cache.iter().map(|entry| entry.weight).sum::<u64>());
            let stats = cache.stats();
            let left = stats.evicted.size + stats.evicted.expired + stats.evicted.replaced + stats.evicted.deleted;
            prop_assert_eq!(stats.sets, cache.len() as u64 + left);
            prop_assert_eq!(cache.has_mortal(), cache.iter().any(|entry| entry.expires_at != NEVER));
        }
    }

    #[test]
    fn a_snapshot_comes_back_as_it_was(
        entries in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..50), prop::collection::vec(any::<u8>(), 0..50), 1..u64::MAX), 0..8),
        saved_at in any::<u64>(),
    ) {
        let records: Vec<Record<'_>> = entries
            .iter()
            .map(|(kind, key, value, remaining)| Record { key: Key { kind: *kind, bytes: key }, value, remaining: *remaining })
            .collect();
        let file = encode(records.iter().copied(), saved_at);
        prop_assert_eq!(decode(&file, saved_at), Ok(records));
    }

    #[test]
    fn bytes_that_are_no_snapshot_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let refused = matches!(decode(&bytes, 0), Err(Error::Snapshot { .. }));
        prop_assert!(refused);
    }
}

fn sample() -> Vec<u8> {
    let records = [
        Record { key: text(b"one"), value: b"first value", remaining: NEVER },
        Record { key: Key { kind: 0, bytes: &[7; 16] }, value: b"", remaining: 100 },
    ];
    encode(records.into_iter(), 1_000)
}

#[test]
fn every_flipped_bit_and_every_truncation_is_seen() {
    let file = sample();
    for at in 0..file.len() {
        assert!(decode(&file[..at], 1_000).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            assert!(decode(&damaged, 1_000).is_err(), "bit {bit} of byte {at}");
        }
    }
    let longer = [file.as_slice(), b"x"].concat();
    assert!(decode(&longer, 1_000).is_err());
}

#[test]
fn a_record_that_promises_more_than_there_is_is_refused_even_under_a_good_checksum() {
    let mut file = sample();
    file.truncate(file.len() - 32);
    file[29] = 0xff; // the length of the first key, after the header's 28 bytes and the kind
    let checksum = blake3::hash(&file);
    file.extend_from_slice(checksum.as_bytes());
    assert_eq!(decode(&file, 1_000), Err(Error::Snapshot { what: "a record has no end" }));
}

#[test]
fn time_gone_by_since_saving_is_taken_off_and_a_clock_set_back_is_none() {
    let remaining = |wall_now| {
        let file = sample();
        decode(&file, wall_now).map(|records| records.iter().map(|record| record.remaining).collect::<Vec<_>>())
    };
    assert_eq!(remaining(1_040), Ok(vec![NEVER, 60]));
    assert_eq!(remaining(500), Ok(vec![NEVER, 100]));
    assert_eq!(remaining(1_100), Ok(vec![NEVER]));
}

#[test]
fn expired_entries_leave_by_themselves_while_others_are_set() {
    let mut cache = Cache::new(u64::MAX);
    for number in 0..100u32 {
        let mut displaced = Displaced::new();
        cache.set(u64::from(number), text(&number.to_le_bytes()), number, 1, 50, 0, &mut displaced);
    }
    for number in 100..150u32 {
        let mut displaced = Displaced::new();
        cache.set(u64::from(number), text(&number.to_le_bytes()), number, 1, NEVER, 50, &mut displaced);
        assert!(displaced.len() <= 4, "one set does a bounded amount of work");
    }
    assert_eq!(cache.len(), 50);
    assert_eq!(cache.stats().evicted.expired, 100);
    assert!(!cache.has_mortal());
}

#[test]
fn an_entry_heavier_than_the_cache_does_not_empty_it() {
    let mut cache = Cache::new(3);
    let mut displaced = Displaced::new();
    for key in [b"a", b"b"] {
        assert!(cache.set(1, text(key), "small", 1, NEVER, 0, &mut displaced));
    }
    assert!(!cache.set(1, text(b"a"), "huge", 4, NEVER, 0, &mut displaced));
    assert_eq!(displaced.len(), 2, "the refused value and the one it overtook");
    assert_eq!(cache.len(), 1);
    assert!(cache.contains(1, text(b"b"), || 0));
}

#[test]
fn weights_near_the_top_of_the_range_do_not_wrap() {
    let mut cache = Cache::new(u64::MAX);
    for (key, weight) in [(b"a", u64::MAX - 1), (b"b", 1), (b"b", u64::MAX), (b"a", 1), (b"a", u64::MAX)] {
        assert!(cache.set(1, text(key), (), weight, NEVER, 0, &mut Displaced::new()));
    }
    assert_eq!((cache.len(), cache.weight()), (1, u64::MAX));
}

#[test]
fn the_clock_is_not_asked_where_nothing_can_expire() {
    let mut cache = Cache::new(10);
    cache.set(1, text(b"a"), (), 1, NEVER, 0, &mut Displaced::new());
    let no_clock = || unreachable!("no entry here can expire");
    assert!(cache.get(1, text(b"a"), no_clock, &mut Displaced::new()).is_some());
    assert!(cache.get(1, text(b"b"), no_clock, &mut Displaced::new()).is_none());
}
