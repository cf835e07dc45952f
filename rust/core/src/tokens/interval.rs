//! The number of tokens of any part of one long piece.
//!
//! The prefixes of the piece form a tree: the parent of each is what stands before its last token. A part is encoded
//! from its left end on until a prefix of it ends with the token that the piece's prefix of the same end has, and that
//! end lies on the way up from the part's right end: neighbours fit from there on as they do in the piece, and tokens
//! of which all neighbours fit are the encoding. Most texts agree within some ten bytes; one that repeats itself may
//! never, and is leapt over (the tree: van Antwerpen and Neubeck, 2024; the leap is ours).

use super::Encoding;
use super::growth::{Entry, Growth};

/// All prefixes of one piece: 16 bytes for each.
#[derive(Debug)]
pub(super) struct Interval {
    /// Where in the text the piece begins.
    start: usize,
    entries: Vec<Entry>,
    /// A prefix and its descendants have the numbers from its own on, as many as its size.
    numbers: Vec<u32>,
    sizes: Vec<u32>,
}

impl Interval {
    /// The prefixes of `text[start..end]`.
    pub(super) fn new(encoding: &Encoding, text: &[u8], start: usize, end: usize) -> Self {
        let mut growth = Growth::default();
        growth.count(encoding, &text[start..end], end - start);
        let entries = growth.into_entries();
        let parent = |len: usize| len - encoding.vocabulary.token_len(entries[len].token);
        let mut sizes = vec![1; entries.len()];
        for len in (1..entries.len()).rev() {
            sizes[parent(len)] += sizes[len];
        }
        // Where the next child of each goes; a parent comes before its children.
        let mut next = vec![1_u32; entries.len()];
        let mut numbers = vec![0; entries.len()];
        for len in 1..entries.len() {
            let parent = parent(len);
            numbers[len] = next[parent];
            next[parent] += sizes[len];
            next[len] = numbers[len] + 1;
        }
        Self { start, entries, numbers, sizes }
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    pub(super) fn end(&self) -> usize {
        self.start + self.entries.len() - 1
    }

    /// The number of tokens of the first `len` bytes.
    pub(super) fn count_first(&self, len: usize) -> usize {
        self.entries[len].count as usize
    }

    /// The number of tokens of `part`, which after its first `strange` bytes is the text up to `to`.
    pub(super) fn count(&self, encoding: &Encoding, part: &[u8], strange: usize, to: usize) -> usize {
        const FIRST_LEAP: usize = 256;
        // The prefix of the piece that ends where a prefix of the part does, if they may have the last bytes in common.
        let whole = to - self.start;
        let in_piece = |len: usize| if len < strange { None } else { (whole + len).checked_sub(part.len()) };
        if in_piece(0) == Some(0) {
            return self.count_first(whole);
        }
        let mut growth = Growth::default();
        let mut leap_at = FIRST_LEAP;
        while growth.len() < part.len() {
            growth.grow(encoding, part);
            let here = growth.entry(growth.len());
            if let Some(place) = in_piece(growth.len())
                && self.entries[place].token == here.token
                && place > 0
                && self.leads_to(place, whole)
            {
                return (here.count + self.entries[whole].count - self.entries[place].count) as usize;
            }
            if growth.len() == leap_at {
                leap_at = if growth.leap(encoding, part) { growth.len() + FIRST_LEAP } else { leap_at * 2 };
            }
        }
        growth.entry(part.len()).count as usize
    }

    /// Whether the tokens of the prefix of length `to` have a border after `len` bytes.
    fn leads_to(&self, len: usize, to: usize) -> bool {
        self.numbers[to].wrapping_sub(self.numbers[len]) < self.sizes[len]
    }
}
