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

    /// Invalidates `prefix`, to be forgotten when the cache has made `until` steps. Returns false where no more eras are left:
    /// then the caller removes what matches itself.
    pub(super) fn invalidate(&mut self, prefix: Characters<'_>, until: u64) -> bool {
        let Some(era) = self.era.checked_add(1) else { return false };
        self.era = era;
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
        true
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
        // Two may have one hash: the same path with and without a separator at its end.
        self.found.iter_hash(hash).any(|prefix| {
            era < prefix.era
                && !(whole && prefix.beneath)
                && path.clone().take(length).eq(prefix.characters.iter().copied())
        })
    }

    /// Forgets the prefixes that every slot has been held against after `steps`.
    pub(super) fn forget(&mut self, steps: u64) {
        while let Some((hash, era, _)) = self.oldest.pop_front_if(|(_, _, until)| *until <= steps) {
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
