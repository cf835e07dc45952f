//! Where entries stand: a slab of slots, and a hash table of their numbers.

use hashbrown::HashTable;

use super::NEVER;

#[derive(Debug)]
pub(super) struct Slot<K, V> {
    hash: u32,
    /// In which era of [`super::prefixes::Prefixes`] the entry came.
    pub(super) era: u32,
    pub(super) expires_at: u64,
    /// `None`: a free slot.
    pub(super) entry: Option<(K, V)>,
}

#[derive(Debug)]
pub(super) struct Slots<K, V> {
    table: HashTable<u32>,
    slots: Vec<Slot<K, V>>,
    free: Vec<u32>,
}

/// The 64 bits a table wants, of which it uses the low ones for the place and the top seven to tell neighbours apart.
#[inline]
pub(super) const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}

impl<K, V> Slots<K, V> {
    pub(super) const fn new() -> Self {
        Self { table: HashTable::new(), slots: Vec::new(), free: Vec::new() }
    }

    /// Entries held.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Slots ever used.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(super) fn find(&self, hash: u32, mut same: impl FnMut(&K) -> bool) -> Option<u32> {
        let is = |&index: &u32| {
            let slot = &self.slots[index as usize];
            slot.hash == hash && slot.entry.as_ref().is_some_and(|(key, _)| same(key))
        };
        self.table.find(spread(hash), is).copied()
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> &Slot<K, V> {
        &self.slots[index as usize]
    }

    /// The slot of a number that may be out of date.
    pub(super) fn get_any(&self, index: u32) -> Option<&Slot<K, V>> {
        self.slots.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut Slot<K, V> {
        &mut self.slots[index as usize]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot<K, V>> {
        self.slots.iter_mut()
    }

    /// Adds an entry whose key is not there and returns its slot's number, at most one past the highest ever used.
    pub(super) fn insert(&mut self, hash: u32, era: u32, expires_at: u64, entry: (K, V)) -> u32 {
        let slot = Slot { hash, era, expires_at, entry: Some(entry) };
        let index = if let Some(index) = self.free.pop() {
            self.slots[index as usize] = slot;
            index
        } else {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        };
        let slots = &self.slots;
        self.table.insert_unique(spread(hash), index, |&other| spread(slots[other as usize].hash));
        index
    }

    /// Takes the entry out of a slot; `None` where it is free.
    pub(super) fn remove(&mut self, index: u32) -> Option<(K, V)> {
        let slot = &mut self.slots[index as usize];
        let entry = slot.entry.take()?;
        slot.expires_at = NEVER;
        if let Ok(found) = self.table.find_entry(spread(slot.hash), |&other| other == index) {
            found.remove();
        }
        self.free.push(index);
        Some(entry)
    }

    #[inline]
    pub(super) fn hash(&self, index: u32) -> u32 {
        self.slots[index as usize].hash
    }

    /// Every entry, in the order of slots.
    pub(super) fn entries(&self) -> impl Iterator<Item = &(K, V)> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref())
    }

    /// Empties everything and hands the entries over.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        let slots = std::mem::replace(self, Self::new()).slots;
        slots.into_iter().filter_map(|slot| slot.entry)
    }
}
