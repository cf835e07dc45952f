//! How many tokens short pieces have: two small tables that forget, so that a common word costs one look-up.
//!
//! A piece is its own key, all its bytes and their number, so what is found is never another piece's.

use super::vocab::MULTIPLIER;

/// The longest piece that has a place here, in bytes; others are never known.
const LONGEST: usize = Key::<4>::LONGEST;

/// Sets of four places: a megabyte of pieces up to 14 bytes, so that they stay in a core's own cache, and half as much of
/// longer ones.
const SHORT_SETS: usize = 1 << 14;
const LONG_SETS: usize = 1 << 12;
const PLACES: usize = 4;

/// A piece as `N` words: its bytes, zeros, and in the two last bytes its length and, where it is known, its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key<const N: usize>([u64; N]);

impl<const N: usize> Key<N> {
    const LONGEST: usize = 8 * N - 2;
    /// Where the length and the count stand in the last word: eight bits each.
    const LENGTH: u32 = 48;
    const COUNT: u32 = 56;
    /// By a length: what of the words belongs to the piece.
    const MASKS: [[u64; N]; 32] = {
        let mut masks = [[0; N]; 32];
        let mut place = 0;
        while place < 32 * 8 * N {
            let (length, byte) = (place / (8 * N), place % (8 * N));
            if byte < length {
                masks[length][byte / 8] |= 0xff << (byte % 8 * 8);
            }
            place += 1;
        }
        masks
    };

    /// The piece `text[start..end]`, at most `LONGEST` bytes.
    #[inline]
    fn of(text: &[u8], start: usize, end: usize) -> Self {
        let length = end - start;
        let mut words = [0; N];
        if let Some(bytes) = text[start..].get(..8 * N) {
            for ((word, bytes), mask) in words.iter_mut().zip(bytes.as_chunks::<8>().0).zip(&Self::MASKS[length]) {
                *word = u64::from_le_bytes(*bytes) & mask;
            }
        } else {
            for (place, byte) in text[start..end].iter().enumerate() {
                words[place / 8] |= u64::from(*byte) << (place % 8 * 8);
            }
        }
        words[N - 1] |= (length as u64) << Self::LENGTH;
        Self(words)
    }

    #[inline]
    fn set(self, sets: usize) -> usize {
        let folded = self.0.iter().fold(0_u64, |folded, word| folded.rotate_left(21) ^ word);
        (folded.wrapping_mul(MULTIPLIER) >> 40) as usize % sets
    }

    /// The count in a place that holds this piece.
    #[inline]
    fn count_in(self, place: [u64; N]) -> Option<usize> {
        let mut key = place;
        key[N - 1] &= (1 << Self::COUNT) - 1;
        (key == self.0).then_some((place[N - 1] >> Self::COUNT) as usize)
    }
}

/// Sets of places. A new piece comes second, and one that is found again moves up by one: those that come once do not
/// displace the first, and pass through the rest.
#[derive(Debug)]
struct Table<const N: usize>(Vec<[[u64; N]; PLACES]>);

impl<const N: usize> Table<N> {
    fn new(sets: usize) -> Self {
        Self(vec![[[0; N]; PLACES]; sets]) // pages that no piece comes to are never touched
    }

    #[inline]
    fn get(&mut self, piece: Key<N>) -> Option<usize> {
        let sets = self.0.len();
        let set = &mut self.0[piece.set(sets)];
        if let Some(count) = piece.count_in(set[0]) {
            return Some(count);
        }
        let (place, count) = (1..PLACES).find_map(|place| Some((place, piece.count_in(set[place])?)))?;
        set.swap(place - 1, place);
        Some(count)
    }

    fn set(&mut self, piece: Key<N>, count: usize) {
        let sets = self.0.len();
        let set = &mut self.0[piece.set(sets)];
        set.copy_within(1..PLACES - 1, 2);
        set[1] = piece.0;
        set[1][N - 1] |= (count as u64) << Key::<N>::COUNT;
    }
}

/// The tables. A lost entry costs time, never a wrong count.
#[derive(Debug)]
pub(super) struct PieceCache {
    short: Table<2>,
    long: Table<4>,
}

impl Default for PieceCache {
    fn default() -> Self {
        Self { short: Table::new(SHORT_SETS), long: Table::new(LONG_SETS) }
    }
}

impl PieceCache {
    /// The count of the piece `text[start..end]`, if it is known.
    #[inline]
    pub(super) fn get(&mut self, text: &[u8], start: usize, end: usize) -> Option<usize> {
        if end - start <= Key::<2>::LONGEST {
            self.short.get(Key::of(text, start, end))
        } else if end - start <= LONGEST {
            self.long.get(Key::of(text, start, end))
        } else {
            None
        }
    }

    /// Remembers it, where it is no longer than [`LONGEST`].
    pub(super) fn set(&mut self, text: &[u8], start: usize, end: usize, count: usize) {
        if end - start <= Key::<2>::LONGEST {
            self.short.set(Key::of(text, start, end), count);
        } else if end - start <= LONGEST {
            self.long.set(Key::of(text, start, end), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_that_begin_alike_or_end_with_zeros_are_told_apart() {
        let text = [0_u8; 64];
        let mut cache = PieceCache::default();
        for length in 1..=LONGEST {
            assert_eq!(cache.get(&text, 3, 3 + length), None);
            cache.set(&text, 3, 3 + length, length);
            assert_eq!(cache.get(&text, 3, 3 + length), Some(length));
            assert_eq!(cache.get(&text[..5 + length], 5, 5 + length), Some(length), "at the end of a text");
        }
    }

    proptest! {
        /// Few bytes, so that pieces are often alike; the table may forget, but what it says is what was last set.
        #[test]
        fn what_is_known_of_a_piece_is_what_was_said_of_it(text in "[ab\\x00é]{40,200}", cuts in prop::collection::vec((0_usize..160, 1..=LONGEST), 1..200)) {
            let text = text.as_bytes();
            let mut cache = PieceCache::default();
            let mut said = std::collections::HashMap::new();
            for (count, (start, length)) in cuts.into_iter().enumerate() {
                let start = start.min(text.len() - LONGEST);
                let piece = &text[start..start + length];
                let known = cache.get(text, start, start + length);
                prop_assert!(known.is_none() || known == said.get(piece).copied());
                let count = *said.entry(piece).or_insert(1 + count % 30);
                if known.is_none() {
                    cache.set(text, start, start + length, count);
                    prop_assert_eq!(cache.get(text, start, start + length), Some(count));
                }
            }
        }
    }
}
