//! What the documents of a conversation say, under small numbers, kept from one choice to the next: a turn numbers what is new.
//!
//! Which number something has is of no account to the choice, so that a board that has seen other documents is as good as a new one.

use super::document::Document;
use super::numbers::Numbers;

/// So many numbers at least are kept for what no document has any more.
const SPARE: usize = 4096;

/// Documents in the order of a conversation. A table of 32 bits for each value and what it weighs there, for each line, and
/// for each word where that is asked for.
#[derive(Debug, Default)]
pub struct Board {
    values: Numbers,
    placed: Vec<Placed>,
    /// Where in `placed` the values of each document end.
    ends: Vec<u32>,
    lines: Said,
    pairs: Said,
}

/// A value where it stands: the document's own, with the number in place of the hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) number: u32,
    pub(super) most: u8,
    pub(super) sum: u16,
}

/// What by which it is known that something was said before, numbered, document by document.
#[derive(Debug, Default)]
pub(super) struct Said {
    numbers: Numbers,
    all: Vec<u32>,
    ends: Vec<u32>,
}

impl Said {
    /// Takes in what the next document says.
    fn push(&mut self, hashes: impl Iterator<Item = u32>) {
        self.all.extend(hashes.map(|hash| self.numbers.number(hash).0));
        self.ends.push(self.all.len() as u32);
    }

    fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.all.truncate(self.start_of(self.ends.len()));
    }

    /// Where in `all` a document begins.
    pub(super) fn start_of(&self, document: usize) -> usize {
        document.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    /// The numbers of all documents.
    pub(super) fn all(&self) -> &[u32] {
        &self.all
    }

    /// One more than the highest number.
    pub(super) fn numbers(&self) -> usize {
        self.numbers.len()
    }

    fn size(&self) -> usize {
        self.numbers.size() + (self.all.len() + self.ends.len()) * 4
    }
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
        let placed = self.placed.len() * size_of::<Placed>() + self.ends.len() * 4;
        self.values.size() + placed + self.lines.size() + self.pairs.size()
    }

    /// Forgets all documents but the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.placed.truncate(self.ends.last().map_or(0, |&end| end as usize));
        self.lines.truncate(count);
        self.pairs.truncate(count);
        let is_sparse = |numbers: &Numbers, used: usize| numbers.len() > 2 * used + SPARE;
        if is_sparse(&self.values, self.placed.len())
            || [&self.lines, &self.pairs].iter().any(|said| is_sparse(&said.numbers, said.all.len()))
        {
            *self = Self::default();
        }
    }

    /// Takes a document in behind the others.
    pub(super) fn push(&mut self, document: &Document) {
        self.placed.extend(document.values(0, document.len()).iter().map(|value| Placed {
            number: self.values.number(value.hash).0,
            most: value.most,
            sum: value.sum,
        }));
        self.ends.push(self.placed.len() as u32);
        self.lines.push((0..document.len()).map(|at| document.same(at)));
    }

    /// Numbers the pairs of words that follow each other in the documents, which are those it has.
    pub(super) fn pair<'a>(&mut self, documents: impl Iterator<Item = &'a Document>) {
        for document in documents.skip(self.pairs.ends.len()) {
            let words = document.words(0, document.len());
            self.pairs.push(words.windows(2).map(|pair| pair[0].rotate_left(7) ^ pair[1]));
        }
    }

    /// The values of a document, as it has them itself.
    pub(super) fn placed(&self, at: usize) -> &[Placed] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.placed[start as usize..self.ends[at] as usize]
    }

    /// The number of a value that some document has, or had.
    pub(super) fn number(&self, hash: u32) -> Option<u32> {
        self.values.get(hash)
    }

    /// One more than the highest number of a value.
    pub(super) fn numbers(&self) -> usize {
        self.values.len()
    }

    /// What each segment says, up to a number before it.
    pub(super) fn lines(&self) -> &Said {
        &self.lines
    }

    /// The pairs of words, of the documents that they were numbered for.
    pub(super) fn pairs(&self) -> &Said {
        &self.pairs
    }
}
