//! The longest token that a text begins or ends with, and the next shorter one.
//!
//! Tokens are sorted by their bytes, read from that end. Those that a text begins with are the last token not after the
//! text, where that is one, and tokens that this one begins with: a binary search and a short walk find the longest.

use std::cmp::Ordering;

use super::vocab::{NONE, Vocabulary};

/// An index over a vocabulary, to be used with that one only; of what texts end with where `LAST` is true.
#[derive(Debug, Default)]
pub(super) struct Affixes<const LAST: bool> {
    /// Ranks of the tokens of two bytes and more, in the order of their bytes.
    sorted: Vec<u32>,
    /// The first eight bytes of each as a number that compares as they do: enough for nearly all comparisons.
    keys: Vec<u64>,
    /// By the first two bytes: where in `sorted` such tokens begin; one entry more at the end.
    buckets: Vec<u32>,
    /// By rank: the longest other token that this one begins with; `NONE` for single bytes.
    shorter: Vec<u32>,
}

impl<const LAST: bool> Affixes<LAST> {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let token = |rank: u32| vocabulary.token(rank).unwrap_or_default();
        let ranks = 0..vocabulary.len() as u32;
        let mut entries: Vec<(u64, u32)> =
            ranks.filter(|rank| token(*rank).len() > 1).map(|rank| (Self::key(token(rank)), rank)).collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| Self::order(token(a.1), token(b.1))));
        let (keys, sorted): (Vec<u64>, Vec<u32>) = entries.into_iter().unzip();

        let mut buckets = vec![0; (1 << 16) + 1];
        for key in &keys {
            buckets[(key >> 48) as usize + 1] += 1;
        }
        for pair in 1..buckets.len() {
            buckets[pair] += buckets[pair - 1];
        }

        // Those that a token begins with stand before it, so they are open when it comes.
        let mut shorter = vec![NONE; vocabulary.len()];
        let mut open: Vec<u32> = Vec::new();
        for rank in &sorted {
            let bytes = token(*rank);
            while open.pop_if(|last| !Self::has(bytes, token(*last))).is_some() {}
            shorter[*rank as usize] = open.last().copied().unwrap_or_else(|| Self::single(vocabulary, bytes));
            open.push(*rank);
        }
        Self { sorted, keys, buckets, shorter }
    }

    /// The rank of the longest token that `text`, which is not empty, begins with.
    #[inline]
    pub(super) fn longest(&self, vocabulary: &Vocabulary, text: &[u8]) -> u32 {
        let text_key = Self::key(text);
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
                    Self::has(text, token) || Self::order(token, text) == Ordering::Less
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
            return Self::single(vocabulary, text);
        }
        let mut rank = self.sorted[low - 1];
        while !Self::has(text, token(rank)) {
            rank = self.shorter[rank as usize];
        }
        rank
    }

    /// The longest other token that a token begins with; `NONE` for a single byte.
    #[inline]
    pub(super) fn shorter(&self, rank: u32) -> u32 {
        self.shorter[rank as usize]
    }

    #[inline]
    fn has(text: &[u8], token: &[u8]) -> bool {
        if LAST { text.ends_with(token) } else { text.starts_with(token) }
    }

    fn order(a: &[u8], b: &[u8]) -> Ordering {
        if LAST { a.iter().rev().cmp(b.iter().rev()) } else { a.cmp(b) }
    }

    fn single(vocabulary: &Vocabulary, text: &[u8]) -> u32 {
        vocabulary.rank_of_byte(if LAST { text[text.len() - 1] } else { text[0] })
    }

    /// The first eight bytes, the very first highest; zeros stand for what is missing.
    #[inline]
    fn key(bytes: &[u8]) -> u64 {
        if LAST {
            let short = || bytes.iter().fold(0, |key, byte| key >> 8 | u64::from(*byte) << 56);
            bytes.last_chunk::<8>().map_or_else(short, |bytes| u64::from_le_bytes(*bytes))
        } else {
            let short = || bytes.iter().rev().fold(0, |key, byte| key >> 8 | u64::from(*byte) << 56);
            bytes.first_chunk::<8>().map_or_else(short, |bytes| u64::from_be_bytes(*bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "internationalisation   \t\n\0\0a\0 ________________=====zqxjk 日本語 don't ÿ\u{10ffff}";

    #[test]
    fn the_longest_token_and_all_shorter_ones_are_found_at_both_ends() {
        let vocabulary = Vocabulary::unpack(include_bytes!("data/cl100k_base.bin")).expect("sound");
        let (beginnings, endings) = (Affixes::<false>::new(&vocabulary), Affixes::<true>::new(&vocabulary));
        let text = TEXT.as_bytes();
        for at in 0..text.len() {
            let mut found = beginnings.longest(&vocabulary, &text[at..]);
            for end in (at + 1..=text.len()).rev() {
                let rank = vocabulary.rank(text, at, end);
                if rank != NONE {
                    assert_eq!(rank, found, "{at}..{end}");
                    found = beginnings.shorter(rank);
                }
            }
            assert_eq!(found, NONE, "from {at}");

            let end = at + 1;
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
