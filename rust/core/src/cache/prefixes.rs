//! Path prefixes that were invalidated, for as long as entries from before may still be held.
//!
//! Every entry carries the era in which it came; invalidating a prefix begins a new one. An entry is dead when a prefix
//! of its path was invalidated in a later era than its own. Once the cache has looked at every slot, the prefix is forgotten.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::key::Characters;

const SEPARATOR: u32 = b'/' as u32;

#[derive(Debug)]
struct Prefix {
    hash: u64,
    /// Without the separator at its end, where `beneath` says that there was one.
    characters: Box<[u32]>,
    /// Only what goes on after a separator, not the very path.
    beneath: bool,
    era: u32,
}

#[derive(Debug, Default)]
pub(super) struct Prefixes {
    found: HashTable<Prefix>,
    /// Which to forget next: hash, era, and when.
    oldest: VecDeque<(u64, u32, u64)>,
    era: u32,
}

impl Prefixes {
    #[inline]
    pub(super) fn any(&self) -> bool {
        !self.oldest.is_empty()
    }

    /// The era of entries that come now.
    #[inline]
    pub(super) const fn era(&self) -> u32 {
        self.era
    }

    /// Invalidates `prefix`, to be forgotten when the cache has made `until` steps. The era must not be the last one.
    pub(super) fn invalidate(&mut self, prefix: Characters<'_>, until: u64) {
        self.era += 1;
        let era = self.era;
        let mut characters: Vec<u32> = prefix.collect();
        let beneath = characters.last() == Some(&SEPARATOR);
        if beneath {
            characters.pop();
        }
        let hash = characters.iter().fold(START, |hash, &character| step(hash, character));
        self.oldest.push_back((hash, era, until));
        let prefix = Prefix { hash, characters: characters.into(), beneath, era };
        let same = |other: &Prefix| other.beneath == beneath && other.characters == prefix.characters;
        match self.found.find_mut(hash, same) {
            Some(known) => *known = prefix,
            None => {
                self.found.insert_unique(hash, prefix, |other| other.hash);
            }
        }
    }

    /// Whether a prefix of `path` was invalidated after `era`.
    pub(super) fn covers(&self, path: &Characters<'_>, era: u32) -> bool {
        let mut hash = START;
        for (at, character) in path.clone().enumerate() {
            if character == SEPARATOR && self.has(hash, path, at, false, era) {
                return true;
            }
            hash = step(hash, character);
        }
        self.has(hash, path, usize::MAX, true, era)
    }

    fn has(&self, hash: u64, path: &Characters<'_>, length: usize, whole: bool, era: u32) -> bool {
        // Two may have one hash: the same path with and without a separator at its end. The table shows others too.
        self.found.iter_hash(hash).any(|prefix| {
            prefix.hash == hash
                && era < prefix.era
                && !(whole && prefix.beneath)
                && path.clone().take(length).eq(prefix.characters.iter().copied())
        })
    }

    /// Forgets the prefixes that every slot has been held against after `steps`.
    pub(super) fn forget(&mut self, steps: u64) {
        while let Some(&(hash, era, until)) = self.oldest.front()
            && until <= steps
        {
            self.oldest.pop_front();
            // One that was invalidated again since is forgotten later.
            if let Ok(found) = self.found.find_entry(hash, |prefix| prefix.era == era) {
                found.remove();
            }
        }
    }
}

const START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a over code points, with a wide multiply so that all bits are of use to a table.
const fn step(hash: u64, character: u32) -> u64 {
    let wide = (hash ^ character as u64) as u128 * 0x9E37_79B9_7F4A_7C15_u128;
    (wide >> 64) as u64 ^ wide as u64
}

#[cfg(test)]
mod tests {
    use super::super::policy::Lru;
    use super::super::{Cache, Cost, Displaced, Key, NEVER, StoredKey, Terms};

    type Texts = Cache<StoredKey, (), Lru>;

    const fn text(text: &str) -> Key<'_> {
        Key { kind: Key::TEXT_1, bytes: text.as_bytes() }
    }

    fn set(cache: &mut Texts, number: u32) {
        let key = StoredKey::new(text(&format!("a/{number}")));
        let terms = Terms { weight: 1, cost: Cost::NONE, worth: 0.0, expires_at: NEVER, memory: None };
        cache.set(
            None,
            (number, |place: &mut Option<_>| *place = Some(key)),
            (),
            &terms,
            &[],
            0,
            &mut Displaced::new(),
        );
    }

    fn full(entries: u32) -> Texts {
        let mut cache = Cache::new(u64::MAX, Lru::new());
        (0..entries).for_each(|number| set(&mut cache, number));
        cache
    }

    fn invalidate(cache: &mut Texts, prefix: &str) {
        cache.invalidate_prefix(text(prefix).characters().expect("a text"), &mut Displaced::new());
    }

    fn live(cache: &Texts) -> usize {
        (0..cache.slots.capacity() as u32).filter(|&slot| cache.entry(slot, 0).is_some()).count()
    }

    #[test]
    fn the_last_era_is_followed_by_the_first_and_nothing_comes_back_to_life() {
        let mut cache = full(1000);
        cache.prefixes.era = u32::MAX - 1;
        invalidate(&mut cache, "b");
        assert!(cache.prefixes.any(), "the hand is still on its way, and has not been everywhere for the next one");
        invalidate(&mut cache, "a");
        assert_eq!((cache.prefixes.era, live(&cache)), (1, 0));
        for number in 1000..2000 {
            set(&mut cache, number);
            assert_eq!(live(&cache), number as usize - 999);
        }
        assert!(!cache.prefixes.any());
        assert_eq!(cache.len(), 1000);
    }

    #[test]
    fn a_prefix_is_forgotten_when_no_slot_can_hold_what_it_covers_whatever_grows_meanwhile() {
        for entries in 1..200 {
            for hand in [0, entries / 2, entries - 1] {
                let mut cache = full(entries);
                cache.hand = hand;
                invalidate(&mut cache, "a");
                for number in 0.. {
                    set(&mut cache, entries + number);
                    if !cache.prefixes.any() {
                        break;
                    }
                }
                assert_eq!(cache.len(), live(&cache));
                assert!(cache.prefixes.found.is_empty());
                let numbers =
                    cache.entries().filter_map(|(key, ())| std::str::from_utf8(&key.as_key().bytes[2..]).ok());
                assert!(numbers.flat_map(str::parse).all(|number: u32| number >= entries), "{entries} from {hand}");
            }
        }
    }

    #[test]
    fn prefixes_invalidated_without_a_set_in_between_are_forgotten_too() {
        let mut cache = full(1000);
        for number in 0..10_000 {
            invalidate(&mut cache, &format!("b/{}", number % 5000));
            assert!(cache.prefixes.oldest.len() <= 1000 / 16 && cache.prefixes.found.len() <= 1000 / 16);
        }
        assert_eq!(live(&cache), 1000);
    }
}
