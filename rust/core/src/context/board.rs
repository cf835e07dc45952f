//! The values of a conversation's documents under small numbers, kept from one choice to the next: a turn numbers what is new.
//!
//! Which number a value has is of no account to the choice, so that a board that has seen other documents is as good as a new one.

use super::document::Document;
use super::numbers::Numbers;

/// So many numbers at least are kept for values that no document has any more.
const SPARE: usize = 4096;

/// Documents in the order of a conversation. A table of 32 bits for each value and what it weighs there.
#[derive(Debug, Default)]
pub struct Board {
    numbers: Numbers,
    placed: Vec<Placed>,
    /// Where in `placed` the values of each document end.
    ends: Vec<u32>,
}

/// A value where it stands: the document's own, with the number in place of the hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) number: u32,
    pub(super) most: u8,
    pub(super) sum: u16,
}

impl Board {
    /// How many documents it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// About what it takes in memory, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.numbers.size() + self.placed.len() * size_of::<Placed>() + self.ends.len() * 4
    }

    /// Forgets all documents but the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.placed.truncate(self.ends.last().map_or(0, |&end| end as usize));
        if self.numbers.len() > 2 * self.placed.len() + SPARE {
            *self = Self::default();
        }
    }

    /// Takes a document in behind the others.
    pub(super) fn push(&mut self, document: &Document) {
        self.placed.extend(document.values(0, document.len()).iter().map(|value| Placed {
            number: self.numbers.number(value.hash).0,
            most: value.most,
            sum: value.sum,
        }));
        self.ends.push(self.placed.len() as u32);
    }

    /// The values of a document, as it has them itself.
    pub(super) fn placed(&self, at: usize) -> &[Placed] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.placed[start as usize..self.ends[at] as usize]
    }

    /// The number of a value that some document has, or had.
    pub(super) fn number(&self, hash: u32) -> Option<u32> {
        self.numbers.get(hash)
    }

    /// One more than the highest number.
    pub(super) fn numbers(&self) -> usize {
        self.numbers.len()
    }
}
