//! Between which characters a merge can reach: where no token holds both, a long piece falls into parts that merge alone.
//!
//! Every merge makes a token, so one that crosses a border makes a token that holds the bytes on both sides of it. Runs of
//! ideographs fall apart nearly everywhere, and their parts are short enough to be remembered.

use super::unicode::{is_first, length_of};
use super::vocab::{MULTIPLIER, Vocabulary};

/// Bits of the table of character pairs: o200k sets one in twenty.
const PAIRS: u32 = 21;

/// A table over a vocabulary. It may say that a merge can cross where none does, never the reverse.
#[derive(Debug, Default)]
pub(super) struct Borders {
    /// By a hash of two whole characters: some token has them side by side.
    pairs: Vec<u64>,
    /// By the two bytes at a border: some token has them, with one of the two characters only in part.
    parts: Vec<u64>,
}

impl Borders {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let mut borders = Self { pairs: vec![0; 1 << (PAIRS - 6)], parts: vec![0; 1 << 10] };
        for token in (0..vocabulary.len() as u32).filter_map(|rank| vocabulary.token(rank)) {
            let mut left = None; // the character before `at`, where it is whole
            let mut at = 0;
            while at < token.len() {
                let length = if is_first(token[at]) { length_of(token[at]) } else { 0 };
                let right = token
                    .get(at..at + length)
                    .filter(|bytes| length > 0 && bytes[1..].iter().all(|byte| !is_first(*byte)));
                if at > 0 {
                    match (left, right) {
                        (Some(left), Some(right)) => set(&mut borders.pairs, pair(left, word(right))),
                        _ => set(&mut borders.parts, usize::from(token[at - 1]) << 8 | usize::from(token[at])),
                    }
                }
                left = right.map(word);
                at += length.clamp(1, token.len() - at);
            }
        }
        borders
    }

    /// Whether some token may cross the border at `at`, which is inside the text, with one of the two characters only in part.
    #[inline]
    pub(super) fn crosses_in_part(&self, text: &[u8], at: usize) -> bool {
        get(&self.parts, usize::from(text[at - 1]) << 8 | usize::from(text[at]))
    }

    /// Calls `each` with the bounds of every part of `text[start..end]`, whole characters.
    #[inline]
    pub(super) fn parts(&self, text: &[u8], start: usize, end: usize, mut each: impl FnMut(usize, usize)) {
        let mut begin = start;
        let mut at = start;
        let mut left = 0;
        while at < end {
            let length = length_of(text[at]);
            let right = word(&text[at..at + length]);
            if at > start && !get(&self.pairs, pair(left, right)) && !self.crosses_in_part(text, at) {
                each(begin, at);
                begin = at;
            }
            (left, at) = (right, at + length);
        }
        each(begin, end);
    }
}

/// The bytes of a character as a number.
#[inline]
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

#[inline]
fn pair(left: u32, right: u32) -> usize {
    let mixed = (u64::from(left) << 32 | u64::from(right)).wrapping_mul(MULTIPLIER);
    (mixed >> (64 - PAIRS)) as usize
}

fn set(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

#[inline]
fn get(bits: &[u64], at: usize) -> bool {
    bits[at / 64] >> (at % 64) & 1 == 1
}
