//! What is remembered of entries that left: how often each was used, and whether it left the window. Two bytes an entry.
//!
//! A table of fingerprints in sets of 16, the newest first, where a set that is full forgets its oldest. Unlike the
//! counters of a count-min sketch, which collisions only ever raise, a fingerprint is right or absent, so that a key that
//! comes back can be compared fairly with the exact counts of those that stayed.

/// Entries remembered for each one held.
const PER_ENTRY: usize = 3;

const WAYS: usize = 16;

/// The highest count.
pub(super) const MOST: u8 = 15;

const USES: u16 = MOST as u16;
const WINDOW: u16 = 1 << 4;
const FINGERPRINT: u16 = !(USES | WINDOW);

/// An entry that left and came back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ghost {
    /// From 1 to [`MOST`].
    pub(super) uses: u8,
    /// It was pushed out of the window.
    pub(super) window: bool,
    /// How many left its set since: one for each fifth of the cache's entries that left, on average.
    pub(super) rank: u8,
}

/// Every operation is O(1); growth is paid for by the entries that came.
#[derive(Debug)]
pub(super) struct Ghosts {
    /// Fingerprint in the high 11 bits, then the window's bit, then the uses. A place without uses is empty.
    sets: Vec<[u16; WAYS]>,
    /// The next set to age.
    hand: usize,
}

impl Ghosts {
    pub(super) fn new() -> Self {
        Self { sets: vec![[0; WAYS]; 4], hand: 0 }
    }

    /// Makes the table fit for a cache of `entries`. A set made of another's copy forgets the part that is not its own.
    pub(super) fn fit(&mut self, entries: usize) {
        let wanted = entries * PER_ENTRY / WAYS;
        let old = self.sets.len();
        if wanted > old {
            let new = wanted + wanted / 8;
            self.sets = (0..new).map(|set| self.sets[set * old / new]).collect();
        }
    }

    /// Forgets the entry that comes back, and says what was remembered of it.
    pub(super) fn take(&mut self, hash: u32) -> Option<Ghost> {
        let set = self.set(hash);
        let found =
            set.iter().position(|&place| (place ^ fingerprint(hash)) & FINGERPRINT == 0 && place & USES != 0)?;
        let place = set[found];
        set.copy_within(found + 1.., found);
        set[WAYS - 1] = 0;
        Some(Ghost { uses: (place & USES) as u8, window: place & WINDOW != 0, rank: found as u8 })
    }

    /// Remembers an entry that leaves after `uses`.
    pub(super) fn put(&mut self, hash: u32, uses: u8, window: bool) {
        let set = self.set(hash);
        set.copy_within(..WAYS - 1, 1);
        set[0] = fingerprint(hash) | if window { WINDOW } else { 0 } | u16::from(uses.clamp(1, MOST));
    }

    /// Halves the uses of about `share` of all ghosts, from where it stopped last; nobody is forgotten by it.
    pub(super) fn age(&mut self, share: f64) {
        let count = (self.sets.len() as f64 * share).ceil() as usize;
        let end = self.sets.len().min(self.hand + count);
        for place in self.sets[self.hand..end].as_flattened_mut() {
            let uses = *place & USES;
            *place = (*place & !USES) | (uses >> 1).max(u16::from(uses > 0));
        }
        self.hand = if end == self.sets.len() { 0 } else { end };
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.sets.as_slice())
    }

    fn set(&mut self, hash: u32) -> &mut [u16; WAYS] {
        let index = (u64::from(hash) * self.sets.len() as u64) >> u32::BITS;
        &mut self.sets[index as usize]
    }
}

/// The set is chosen by the high bits, the fingerprint is the low ones.
fn fingerprint(hash: u32) -> u16 {
    (hash as u16) << 5
}
