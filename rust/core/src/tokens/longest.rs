//! The longest token that a text begins with, and the next shorter one: what backtracking asks for.
//!
//! Tokens are sorted by their bytes. Those that a text begins with are the last token not after the text, where that
//! is one, and tokens that this one begins with: a binary search and a short walk find the longest.

use std::cmp::Ordering;

use super::vocab::Vocabulary;

/// An index over a vocabulary, to be used with that one only.
#[derive(Debug, Default)]
pub(super) struct Longest {
    /// Ranks of the tokens of two bytes and more, in the order of their bytes.
    sorted: Vec<u32>,
    /// The first eight bytes of each as a big-endian number: enough for nearly all comparisons.
    keys: Vec<u64>,
    /// By the first two bytes: where in `sorted` such tokens begin; one entry more at the end.
    buckets: Vec<u32>,
    /// By rank: the longest other token that this one begins with; unused for single bytes.
    shorter: Vec<u32>,
}

impl Longest {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let token = |rank: u32| vocabulary.token(rank).unwrap_or_default();
        let mut entries: Vec<(u64, u32)> = (0..vocabulary.len() as u32)
            .filter(|rank| token(*rank).len() > 1)
            .map(|rank| (key(token(rank)), rank))
            .collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| token(a.1).cmp(token(b.1))));
        let (keys, sorted): (Vec<u64>, Vec<u32>) = entries.into_iter().unzip();

        let mut buckets = vec![0; (1 << 16) + 1];
        for key in &keys {
            buckets[(key >> 48) as usize + 1] += 1;
        }
        for pair in 1..buckets.len() {
            buckets[pair] += buckets[pair - 1];
        }

        // Those that a token begins with stand before it, so they are open when it comes.
        let mut shorter = vec![0; vocabulary.len()];
        let mut open: Vec<u32> = Vec::new();
        for rank in &sorted {
            while open.pop_if(|last| !token(*rank).starts_with(token(*last))).is_some() {}
            shorter[*rank as usize] = open.last().copied().unwrap_or_else(|| vocabulary.rank_of_byte(token(*rank)[0]));
            open.push(*rank);
        }
        Self { sorted, keys, buckets, shorter }
    }

    /// The rank of the longest token that `text`, which is not empty, begins with.
    #[inline]
    pub(super) fn of(&self, vocabulary: &Vocabulary, text: &[u8]) -> u32 {
        let text_key = key(text);
        let pair = (text_key >> 48) as usize;
        let (first, last) = (self.buckets[pair] as usize, self.buckets[pair + 1] as usize);
        let token = |rank: u32| vocabulary.token(rank).unwrap_or_default();
        let (mut low, mut high) = (first, last);
        while low < high {
            let middle = usize::midpoint(low, high);
            let not_after = match self.keys[middle].cmp(&text_key) {
                Ordering::Less => true,
                Ordering::Equal => token(self.sorted[middle]) <= text,
                Ordering::Greater => false,
            };
            if not_after {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == first {
            return vocabulary.rank_of_byte(text[0]);
        }
        let mut rank = self.sorted[low - 1];
        while !text.starts_with(token(rank)) {
            rank = self.shorter[rank as usize];
        }
        rank
    }

    /// The longest other token that a token of two bytes or more begins with.
    #[inline]
    pub(super) fn shorter(&self, rank: u32) -> u32 {
        self.shorter[rank as usize]
    }
}

/// The first eight bytes as a number that compares as they do; zeros stand for what is missing.
#[inline]
fn key(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or_else(
        || bytes.iter().zip([56, 48, 40, 32, 24, 16, 8]).fold(0, |key, (byte, shift)| key | u64::from(*byte) << shift),
        |bytes| u64::from_be_bytes(*bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::super::vocab::NONE;
    use super::*;

    #[test]
    fn the_longest_token_and_all_shorter_ones_are_found() {
        let vocabulary = Vocabulary::unpack(include_bytes!("data/cl100k_base.bin")).expect("sound");
        let text = "internationalisation   \t\n\0\0a\0 ________________=====zqxjk 日本語 don't ÿ\u{10ffff}".as_bytes();
        for at in 0..text.len() {
            let rest = &text[at..];
            let mut found = vocabulary.longest().of(&vocabulary, rest);
            for length in (1..=rest.len()).rev() {
                let rank = vocabulary.rank(rest, 0, length);
                if rank != NONE {
                    assert_eq!(rank, found, "{length} bytes from {at}");
                    found = if length > 1 { vocabulary.longest().shorter(rank) } else { NONE };
                }
            }
            assert_eq!(found, NONE, "from {at}");
        }
    }
}
