//! Where entries stand: a slab of slots, and a hash table of their numbers.

use hashbrown::HashTable;

use super::{NEVER, Path};

#[derive(Debug)]
pub(super) struct Slot<K, V> {
    hash: u32,
    /// In which era of [`super::prefixes::Prefixes`] the entry came.
    pub(super) era: u32,
    pub(super) expires_at: u64,
    /// `None`: a free slot, as with the value.
    key: Option<K>,
    pub(super) value: Option<V>,
}

#[derive(Debug)]
pub(super) struct Slots<K, V> {
    table: HashTable<u32>,
    slab: Vec<Slot<K, V>>,
    free: Vec<u32>,
}

/// The 64 bits a table wants, of which it uses the low ones for the place and the top seven to tell neighbours apart.
#[inline]
pub(super) const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}

impl<K, V> Slot<K, V> {
    pub(super) fn entry(&self) -> Option<(&K, &V)> {
        self.key.as_ref().zip(self.value.as_ref())
    }
}

impl<K: Path, V> Slots<K, V> {
    pub(super) const fn new() -> Self {
        Self { table: HashTable::new(), slab: Vec::new(), free: Vec::new() }
    }

    /// Entries held.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Slots ever used.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.slab.len()
    }

    #[inline]
    pub(super) fn find(&self, hash: u32, mut same: impl FnMut(&K) -> bool) -> Option<u32> {
        let is = |&index: &u32| {
            let slot = &self.slab[index as usize];
            slot.hash == hash && slot.key.as_ref().is_some_and(&mut same)
        };
        self.table.find(spread(hash), is).copied()
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> &Slot<K, V> {
        &self.slab[index as usize]
    }

    /// The slot of a number that may be out of date.
    pub(super) fn get_any(&self, index: u32) -> Option<&Slot<K, V>> {
        self.slab.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut Slot<K, V> {
        &mut self.slab[index as usize]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot<K, V>> {
        self.slab.iter_mut()
    }

    /// Adds an entry whose key is not there and returns its slot's number, at most one past the highest ever used. `key` writes
    /// the key into its place.
    #[inline]
    pub(super) fn insert(
        &mut self,
        hash: u32,
        era: u32,
        expires_at: u64,
        key: impl FnOnce(&mut Option<K>),
        value: V,
    ) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slab.push(Slot { hash, era, expires_at, key: None, value: None });
            (self.slab.len() - 1) as u32
        });
        let slot = &mut self.slab[index as usize];
        (slot.hash, slot.era, slot.expires_at) = (hash, era, expires_at);
        key(&mut slot.key);
        slot.value = Some(value);
        let slab = &self.slab;
        self.table.insert_unique(spread(hash), index, |&other| spread(slab[other as usize].hash));
        index
    }

    /// Takes the entry out of a slot, `None` where it is free; its key too, unless that is dropped here.
    pub(super) fn remove(&mut self, index: u32) -> Option<(Option<K>, V)> {
        let slot = &mut self.slab[index as usize];
        let value = slot.value.take()?;
        let key = if K::DROPS_QUIETLY { None } else { slot.key.take() };
        slot.key = None;
        slot.expires_at = NEVER;
        if let Ok(found) = self.table.find_entry(spread(slot.hash), |&other| other == index) {
            found.remove();
        }
        self.free.push(index);
        Some((key, value))
    }

    #[inline]
    pub(super) fn hash(&self, index: u32) -> u32 {
        self.slab[index as usize].hash
    }

    /// Every entry, in the order of slots.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slab.iter().filter_map(Slot::entry)
    }

    /// Empties everything and hands the entries over.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        let slab = std::mem::replace(self, Self::new()).slab;
        slab.into_iter().filter_map(|slot| slot.key.zip(slot.value))
    }
}
