//! A chunk: up to 1024 entries, which of them live, and the codes they are screened by.

use std::sync::Arc;

use super::NEVER;
use super::codes::Codes;
use super::rows::Rows;

/// Entries in a full chunk, and in each piece of a batch but the last.
pub const CHUNK: usize = 1024;
const WORDS: usize = CHUNK / 64;

/// Cheap to clone: a clone is what a search reads while its original goes on.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// Says of two chunks at the same position whether one grew from the other.
    pub(super) serial: u64,
    pub(super) rows: Arc<Rows>,
    pub(super) codes: Option<Arc<Codes>>,
    pub(super) live: [u64; WORDS],
    pub(super) living: usize,
    /// No live entry expires before.
    pub(super) soonest: u64,
}

impl Chunk {
    /// All of `rows`, live.
    pub(super) fn new(serial: u64, rows: Rows, codes: Option<Arc<Codes>>) -> Self {
        let mut live = [0; WORDS];
        for slot in 0..rows.len() {
            live[slot / 64] |= 1 << (slot % 64);
        }
        let soonest = rows.expires_at.iter().copied().min().unwrap_or(NEVER);
        Self { serial, living: rows.len(), rows: Arc::new(rows), codes, live, soonest }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() == CHUNK
    }

    /// Whether so few live that the rest is worth moving.
    pub(super) fn is_sparse(&self) -> bool {
        self.is_full() && 4 * self.living < 3 * CHUNK
    }

    pub(super) fn is_live(&self, slot: usize) -> bool {
        self.live[slot / 64] >> (slot % 64) & 1 == 1
    }

    /// Marks the entry just appended as live.
    pub(super) fn born(&mut self) {
        let slot = self.rows.len() - 1;
        self.live[slot / 64] |= 1 << (slot % 64);
        self.living += 1;
        self.soonest = self.soonest.min(self.rows.expires_at[slot]);
    }

    pub(super) fn kill(&mut self, slot: usize) {
        self.live[slot / 64] &= !(1 << (slot % 64));
        self.living -= 1;
    }

    /// Entries that live, lowest slot first.
    pub(super) fn living_slots(&self) -> impl Iterator<Item = usize> {
        (0..self.rows.len()).filter(|&slot| self.is_live(slot))
    }

    /// The lowest slot whose entry lives.
    pub(super) fn first_living(&self) -> Option<usize> {
        let word = self.live.iter().position(|&word| word != 0)?;
        Some(64 * word + self.live[word].trailing_zeros() as usize)
    }

    /// Entries that have codes.
    pub(super) fn encoded(&self) -> usize {
        self.codes.as_ref().map_or(0, |codes| codes.blocks() * 64)
    }
}
