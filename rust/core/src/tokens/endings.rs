//! The longest token that a text ends with, and the next shorter one: what the encodings of all prefixes ask for.
//!
//! The mirror of [`super::longest`], made when a text first needs it: about 20 ms and 5 MB for `o200k_base`. Beside it
//! stands a memory of which tokens may be neighbours, because the same pairs come again and again.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicU64};

use super::merge::stay_apart;
use super::vocab::{NONE, Vocabulary};

/// Pairs remembered: 64 KiB. A pair has one place, and the last that came has it.
const PAIRS: usize = 1 << 13;

/// An index over a vocabulary, to be used with that one only.
#[derive(Debug)]
pub(super) struct Endings {
    /// Ranks of the tokens of two bytes and more, in the order of their bytes read backwards.
    sorted: Vec<u32>,
    /// The last eight bytes of each, the last one highest.
    keys: Vec<u64>,
    /// By the last two bytes: where in `sorted` such tokens begin; one entry more at the end.
    buckets: Vec<u32>,
    /// By rank: the longest other token that this one ends with; `NONE` for single bytes.
    shorter: Vec<u32>,
    /// A pair of ranks and whether they stay apart in one word, so that threads share it without a lock.
    pairs: Vec<AtomicU64>,
}

impl Endings {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let token = |rank: u32| vocabulary.token(rank).unwrap_or_default();
        let ranks = 0..vocabulary.len() as u32;
        let mut entries: Vec<(u64, u32)> =
            ranks.filter(|rank| token(*rank).len() > 1).map(|rank| (key(token(rank)), rank)).collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| backwards(token(a.1), token(b.1))));
        let (keys, sorted): (Vec<u64>, Vec<u32>) = entries.into_iter().unzip();

        let mut buckets = vec![0; (1 << 16) + 1];
        for key in &keys {
            buckets[(key >> 48) as usize + 1] += 1;
        }
        for pair in 1..buckets.len() {
            buckets[pair] += buckets[pair - 1];
        }

        // Those that a token ends with stand before it, so they are open when it comes.
        let mut shorter = vec![NONE; vocabulary.len()];
        let mut open: Vec<u32> = Vec::new();
        for rank in &sorted {
            let bytes = token(*rank);
            while open.pop_if(|last| !bytes.ends_with(token(*last))).is_some() {}
            let single = || vocabulary.rank_of_byte(bytes[bytes.len() - 1]);
            shorter[*rank as usize] = open.last().copied().unwrap_or_else(single);
            open.push(*rank);
        }
        let pairs = (0..PAIRS).map(|_| AtomicU64::new(u64::MAX)).collect();
        Self { sorted, keys, buckets, shorter, pairs }
    }

    /// The rank of the longest token that `text`, which is not empty, ends with.
    pub(super) fn longest(&self, vocabulary: &Vocabulary, text: &[u8]) -> u32 {
        let text_key = key(text);
        let pair = (text_key >> 48) as usize;
        let (first, last) = (self.buckets[pair] as usize, self.buckets[pair + 1] as usize);
        let token = |rank: u32| vocabulary.token(rank).unwrap_or_default();
        let (mut low, mut high) = (first, last);
        while low < high {
            let middle = usize::midpoint(low, high);
            let not_after = match self.keys[middle].cmp(&text_key) {
                Ordering::Less => true,
                Ordering::Equal => {
                    let token = token(self.sorted[middle]);
                    text.ends_with(token) || backwards(token, text) == Ordering::Less
                }
                Ordering::Greater => false,
            };
            if not_after {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == first {
            return vocabulary.rank_of_byte(text[text.len() - 1]);
        }
        let mut rank = self.sorted[low - 1];
        while !text.ends_with(token(rank)) {
            rank = self.shorter[rank as usize];
        }
        rank
    }

    /// The longest other token that a token ends with; `NONE` for a single byte.
    #[inline]
    pub(super) fn shorter(&self, rank: u32) -> u32 {
        self.shorter[rank as usize]
    }

    /// Whether two neighbouring tokens stay the two they are: [`stay_apart`], remembered.
    #[inline]
    pub(super) fn stay_apart(&self, vocabulary: &Vocabulary, left: u32, right: u32) -> bool {
        let pair = u64::from(left) << 33 | u64::from(right) << 1;
        let slot = &self.pairs[(pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51) as usize % PAIRS];
        let known = slot.load(atomic::Ordering::Relaxed);
        if known & !1 == pair {
            return known & 1 == 1;
        }
        let apart = stay_apart(vocabulary, left, right);
        slot.store(pair | u64::from(apart), atomic::Ordering::Relaxed);
        apart
    }
}

/// The order of two byte strings read from their ends.
fn backwards(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().rev().cmp(b.iter().rev())
}

/// The last eight bytes as a number that compares as they do backwards; zeros stand for what is missing.
#[inline]
fn key(bytes: &[u8]) -> u64 {
    bytes.last_chunk::<8>().map_or_else(
        || bytes.iter().fold(0, |key, byte| key >> 8 | u64::from(*byte) << 56),
        |bytes| u64::from_le_bytes(*bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_a_text_ends_with_and_all_shorter_ones_are_found() {
        let vocabulary = Vocabulary::unpack(include_bytes!("data/cl100k_base.bin")).expect("sound");
        let endings = Endings::new(&vocabulary);
        let text = "internationalisation   \t\n\0\0a\0 ________________=====zqxjk 日本語 don't ÿ\u{10ffff}".as_bytes();
        for end in 1..=text.len() {
            let mut found = endings.longest(&vocabulary, &text[..end]);
            for start in 0..end {
                let rank = vocabulary.rank(text, start, end);
                if rank != NONE {
                    assert_eq!(rank, found, "{start}..{end}");
                    found = endings.shorter(rank);
                }
            }
            assert_eq!(found, NONE, "to {end}");
        }
    }
}
