//! Tags: names that entries carry, by which they are invalidated together in one step.
//!
//! A tag is a record with a number. Entries hold numbers. Invalidating a name marks its record as dead and forgets the
//! name; the next entry that brings the name gets a new record. An entry is dead when a record of its own is; the record
//! goes with the last entry that holds it.

use hashbrown::HashTable;

use super::key::{Key, StoredKey};
use super::spread;

#[derive(Debug)]
struct Tag {
    /// `None`: dead, or free.
    name: Option<StoredKey>,
    hash: u32,
    entries: u32,
}

#[derive(Debug, Default)]
pub(super) struct Tags {
    records: Vec<Tag>,
    /// Numbers of living tags, by name.
    names: HashTable<u32>,
    free: Vec<u32>,
    /// By slot: the numbers of the entry's tags. Grows with the first entry that has any.
    held: Vec<Box<[u32]>>,
    dead: usize,
}

impl Tags {
    /// Whether any entry may have been invalidated.
    #[inline]
    pub(super) const fn any_dead(&self) -> bool {
        self.dead > 0
    }

    /// Gives the entry in `slot`, which has none, these tags.
    pub(super) fn attach(&mut self, slot: u32, names: &[(u32, StoredKey)]) {
        let mut numbers: Vec<u32> = names.iter().map(|(hash, name)| self.number(*hash, name)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for &number in &numbers {
            self.records[number as usize].entries += 1;
        }
        if self.held.len() <= slot as usize {
            self.held.resize_with(slot as usize + 1, Box::default);
        }
        self.held[slot as usize] = numbers.into();
    }

    /// Takes the tags of the entry in `slot` away.
    #[inline]
    pub(super) fn detach(&mut self, slot: u32) {
        if (slot as usize) < self.held.len() {
            self.take_away(slot);
        }
    }

    fn take_away(&mut self, slot: u32) {
        for number in std::mem::take(&mut self.held[slot as usize]) {
            let tag = &mut self.records[number as usize];
            tag.entries -= 1;
            if tag.entries == 0 {
                if tag.name.take().is_some() {
                    let hash = tag.hash;
                    if let Ok(found) = self.names.find_entry(spread(hash), |&other| other == number) {
                        found.remove();
                    }
                } else {
                    self.dead -= 1;
                }
                self.free.push(number);
            }
        }
    }

    /// Whether a tag of the entry in `slot` was invalidated since it came.
    pub(super) fn is_dead(&self, slot: u32) -> bool {
        let held = self.held.get(slot as usize).map_or(&[][..], |held| held);
        held.iter().any(|&number| self.records[number as usize].name.is_none())
    }

    /// Invalidates a tag and says how many entries carry it.
    pub(super) fn invalidate(&mut self, hash: u32, name: Key<'_>) -> usize {
        let records = &self.records;
        let Ok(found) = self.names.find_entry(spread(hash), |&other| is(&records[other as usize], hash, name)) else {
            return 0;
        };
        let (number, _) = found.remove();
        let tag = &mut self.records[number as usize];
        tag.name = None;
        self.dead += 1;
        tag.entries as usize
    }

    /// The names of the tags of the entry in `slot`, the dead ones left out.
    pub(super) fn of(&self, slot: u32) -> impl Iterator<Item = Key<'_>> {
        let held = self.held.get(slot as usize).map_or(&[][..], |held| held);
        held.iter().filter_map(|&number| self.records[number as usize].name.as_ref().map(StoredKey::as_key))
    }

    /// Names known now.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    fn number(&mut self, hash: u32, name: &StoredKey) -> u32 {
        let records = &self.records;
        let known = self.names.find(spread(hash), |&other| is(&records[other as usize], hash, name.as_key()));
        if let Some(&number) = known {
            return number;
        }
        let tag = Tag { name: Some(name.clone()), hash, entries: 0 };
        let number = if let Some(number) = self.free.pop() {
            self.records[number as usize] = tag;
            number
        } else {
            self.records.push(tag);
            (self.records.len() - 1) as u32
        };
        let records = &self.records;
        self.names.insert_unique(spread(hash), number, |&other| spread(records[other as usize].hash));
        number
    }
}

fn is(tag: &Tag, hash: u32, name: Key<'_>) -> bool {
    tag.hash == hash && tag.name.as_ref().is_some_and(|known| known.is(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> (u32, StoredKey) {
        (text.len() as u32, StoredKey::new(Key { kind: 1, bytes: text.as_bytes() }))
    }

    fn invalidate(tags: &mut Tags, text: &str) -> usize {
        let (hash, name) = name(text);
        tags.invalidate(hash, name.as_key())
    }

    #[test]
    fn a_name_comes_back_to_life_with_a_new_entry_and_nothing_stays_of_the_old_one() {
        let mut tags = Tags::default();
        tags.attach(3, &[name("a"), name("b"), name("a")]);
        tags.attach(5, &[name("a")]);
        assert_eq!(invalidate(&mut tags, "a"), 2);
        assert_eq!(invalidate(&mut tags, "a"), 0, "nobody carries the new one yet");
        tags.attach(4, &[name("a")]);
        assert_eq!([3, 4, 5].map(|slot| tags.is_dead(slot)), [true, false, true]);
        assert!(tags.any_dead());
        tags.detach(3);
        tags.detach(5);
        tags.detach(5);
        assert!(!tags.any_dead());
        assert_eq!(tags.of(4).count(), 1);
        tags.detach(4);
        assert_eq!((tags.len(), tags.free.len()), (0, tags.records.len()));
    }

    #[test]
    fn a_million_tags_leave_no_more_than_their_places() {
        let mut tags = Tags::default();
        let name = |round: u32, slot: u32| {
            (round * 1000 + slot, StoredKey::new(Key { kind: 1, bytes: format!("{round} {slot}").as_bytes() }))
        };
        for round in 0..1000 {
            for slot in 0..1000 {
                tags.detach(slot);
                tags.attach(slot, &[name(round, slot)]);
                if slot.is_multiple_of(2) {
                    let (hash, dead) = name(round, slot);
                    assert_eq!(tags.invalidate(hash, dead.as_key()), 1);
                }
            }
        }
        assert_eq!((tags.records.len(), tags.len(), tags.dead), (1000, 500, 500));
        assert!(tags.names.capacity() <= 4096 && tags.free.capacity() <= 4096);
    }
}
