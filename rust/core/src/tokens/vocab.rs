//! A vocabulary: every token's bytes and rank, expanded from a committed blob, and the look-up from bytes to rank.
//!
//! `tools/vocabulary.py` writes the blobs and describes their form. A look-up compares the bytes themselves, never only
//! a hash of them.

use super::affixes::Affixes;
use super::borders::Borders;
use super::pairs::Pairs;
use crate::error::{Error, Result};

/// The rank of bytes that are no token.
pub(super) const NONE: u32 = u32::MAX;

/// Tokens up to this length are their own key: the bytes and the length fit one word.
const SHORT: usize = 7;

/// Tokens up to this length are their own key in two words.
const MIDDLE: usize = 15;

/// The tokens of an encoding.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// The bytes of all tokens in the order of their ranks.
    bytes: Vec<u8>,
    /// Where in `bytes` each token begins, and the end of the last.
    starts: Vec<u32>,
    /// The two tokens that each of rank 256 and above is the merge of; those below are the single bytes.
    merges: Vec<(u32, u32)>,
    /// Length of the longest token.
    longest_len: usize,
    /// By two bytes: the rank of the token they make. Merging begins with these.
    pairs: Vec<u32>,
    /// Open addressing: keys of short tokens (0 is free), and their ranks at the same places.
    short_keys: Vec<u64>,
    short_ranks: Vec<u32>,
    /// The same for those up to [`MIDDLE`].
    middle_keys: Vec<[u64; 2]>,
    middle_ranks: Vec<u32>,
    /// Open addressing for the rest: upper half of the hash, then the rank; `u64::MAX` is free.
    long: Vec<u64>,
    made_of: Pairs,
    singles: [u32; 256],
    beginnings: Affixes<false>,
    borders: Borders,
}

impl Vocabulary {
    /// Expands a blob of `tools/vocabulary.py`.
    pub(super) fn unpack(blob: &[u8]) -> Result<Self> {
        const CORRUPT: Error = Error::Corrupt { what: "a token vocabulary" };
        let data = miniz_oxide::inflate::decompress_to_vec_zlib(blob).map_err(|_| CORRUPT)?;
        let (count, data) = data.split_first_chunk::<4>().ok_or(CORRUPT)?;
        let (singles, planes) = data.split_first_chunk::<256>().ok_or(CORRUPT)?;
        let count = (u32::from_le_bytes(*count) as usize).checked_sub(256).ok_or(CORRUPT)?;
        if planes.len() != count * 6 {
            return Err(CORRUPT);
        }
        let part = |plane: usize, merge: usize| {
            let byte = |shift: usize| u32::from(planes[(plane + shift) * count + merge]) << (8 * shift);
            byte(0) | byte(1) | byte(2)
        };
        let mut bytes = singles.to_vec();
        let mut starts: Vec<u32> = (0..=256).collect();
        let mut merges = Vec::with_capacity(count);
        for merge in 0..count {
            let (left, right) = (part(0, merge), part(3, merge));
            for rank in [left as usize, right as usize] {
                // Only tokens before this one are known: a blob that refers further is damaged.
                if rank >= merge + 256 {
                    return Err(CORRUPT);
                }
                bytes.extend_from_within(starts[rank] as usize..starts[rank + 1] as usize);
            }
            starts.push(u32::try_from(bytes.len()).map_err(|_| CORRUPT)?);
            merges.push((left, right));
        }
        Self::index(bytes, starts, merges).ok_or(CORRUPT)
    }

    /// Indexes tokens: `starts` are their bounds in `bytes`, the first 256 are single bytes, `merges` are of the others.
    ///
    /// `None` where so many of them crowd one place of a table that a search would take long, as a file can be made to do.
    pub(super) fn index(bytes: Vec<u8>, starts: Vec<u32>, merges: Vec<(u32, u32)>) -> Option<Self> {
        let lengths = || starts.windows(2).map(|bounds| (bounds[1] - bounds[0]) as usize);
        let shorts = lengths().filter(|length| *length <= SHORT).count();
        let middles = lengths().filter(|length| (SHORT + 1..=MIDDLE).contains(length)).count();
        let slots = |tokens: usize| (tokens * 3 / 2 + 1).next_power_of_two(); // one is free, or a search would not end
        let mut vocabulary = Self {
            longest_len: lengths().max().unwrap_or(0),
            pairs: vec![NONE; 1 << 16],
            short_keys: vec![0; slots(shorts)],
            short_ranks: vec![NONE; slots(shorts)],
            middle_keys: vec![[0; 2]; slots(middles)],
            middle_ranks: vec![NONE; slots(middles)],
            long: vec![u64::MAX; slots(starts.len() - shorts - middles)],
            bytes,
            starts,
            made_of: Pairs::new(&merges)?,
            singles: [NONE; 256],
            merges,
            beginnings: Affixes::default(),
            borders: Borders::default(),
        };
        for rank in 0..vocabulary.starts.len() as u32 - 1 {
            vocabulary.insert(rank)?;
        }
        for byte in 0..=u8::MAX {
            vocabulary.singles[usize::from(byte)] = vocabulary.rank(&[byte], 0, 1);
        }
        vocabulary.beginnings = Affixes::new(&vocabulary);
        vocabulary.borders = Borders::new(&vocabulary);
        Some(vocabulary)
    }

    fn insert(&mut self, rank: u32) -> Option<()> {
        let (start, end) = (self.starts[rank as usize] as usize, self.starts[rank as usize + 1] as usize);
        let token = &self.bytes[start..end];
        if let [first, second] = *token {
            self.pairs[usize::from(first) << 8 | usize::from(second)] = rank;
        }
        if token.len() <= SHORT {
            let key = short_key(&self.bytes, start, end);
            let mask = self.short_keys.len() - 1;
            let slot = free(spread(key), mask, |slot| self.short_keys[slot] == 0)?;
            self.short_keys[slot] = key;
            self.short_ranks[slot] = rank;
        } else if token.len() <= MIDDLE {
            let key = middle_key(token);
            let mask = self.middle_keys.len() - 1;
            let slot = free(spread_middle(key), mask, |slot| self.middle_keys[slot] == [0; 2])?;
            self.middle_keys[slot] = key;
            self.middle_ranks[slot] = rank;
        } else {
            let hash = long_hash(token);
            let mask = self.long.len() - 1;
            let slot = free(hash as usize, mask, |slot| self.long[slot] == u64::MAX)?;
            self.long[slot] = hash >> 32 << 32 | u64::from(rank);
        }
        Some(())
    }

    /// The number of tokens.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The length of the longest token.
    pub(super) fn longest_len(&self) -> usize {
        self.longest_len
    }

    /// The bytes of the token of that rank.
    pub(super) fn token(&self, rank: u32) -> Option<&[u8]> {
        let bounds = self.starts.get(rank as usize..rank as usize + 2)?;
        Some(&self.bytes[bounds[0] as usize..bounds[1] as usize])
    }

    /// The length of the token of that rank.
    #[inline]
    pub(super) fn token_len(&self, rank: u32) -> usize {
        (self.starts[rank as usize + 1] - self.starts[rank as usize]) as usize
    }

    /// The two tokens that the token of that rank is the merge of; none for a single byte.
    #[inline]
    pub(super) fn parts(&self, rank: u32) -> Option<(u32, u32)> {
        rank.checked_sub(256).map(|merge| self.merges[merge as usize])
    }

    /// The index of the longest token that a text begins with.
    pub(super) fn beginnings(&self) -> &Affixes<false> {
        &self.beginnings
    }

    /// Where merges cannot reach across.
    pub(super) fn borders(&self) -> &Borders {
        &self.borders
    }

    /// The rank of a single byte, which every vocabulary has.
    #[inline]
    pub(super) fn rank_of_byte(&self, byte: u8) -> u32 {
        self.singles[usize::from(byte)]
    }

    /// Which tokens are merged into which.
    #[inline]
    pub(super) fn pairs(&self) -> &Pairs {
        &self.made_of
    }

    /// The rank of two bytes as a token, or `NONE`.
    #[inline]
    pub(super) fn rank_of_pair(&self, first: u8, second: u8) -> u32 {
        self.pairs[usize::from(first) << 8 | usize::from(second)]
    }

    /// The rank of `text[start..end]`, which is not empty, as a token, or `NONE`.
    #[inline]
    pub(super) fn rank(&self, text: &[u8], start: usize, end: usize) -> u32 {
        if end - start <= SHORT {
            self.short_slot(text, start, end).map_or(NONE, |slot| self.short_ranks[slot])
        } else if end - start <= MIDDLE {
            self.middle_slot(&text[start..end]).map_or(NONE, |slot| self.middle_ranks[slot])
        } else {
            self.rank_of_long(&text[start..end])
        }
    }

    /// Whether `text[start..end]`, which is not empty, is a token.
    #[inline]
    pub(super) fn is_token(&self, text: &[u8], start: usize, end: usize) -> bool {
        if end - start <= SHORT {
            self.short_slot(text, start, end).is_some()
        } else if end - start <= MIDDLE {
            self.middle_slot(&text[start..end]).is_some()
        } else {
            self.rank_of_long(&text[start..end]) != NONE
        }
    }

    #[inline]
    fn short_slot(&self, text: &[u8], start: usize, end: usize) -> Option<usize> {
        let key = short_key(text, start, end);
        let mask = self.short_keys.len() - 1;
        let mut slot = spread(key) & mask;
        loop {
            match self.short_keys[slot] {
                0 => return None,
                found if found == key => return Some(slot),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    #[inline]
    fn middle_slot(&self, token: &[u8]) -> Option<usize> {
        let key = middle_key(token);
        let mask = self.middle_keys.len() - 1;
        let mut slot = spread_middle(key) & mask;
        loop {
            match self.middle_keys[slot] {
                [0, 0] => return None,
                found if found == key => return Some(slot),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn rank_of_long(&self, token: &[u8]) -> u32 {
        if token.len() > self.longest_len {
            return NONE;
        }
        let hash = long_hash(token);
        let mask = self.long.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let found = self.long[slot];
            if found == u64::MAX {
                return NONE;
            }
            if found >> 32 == hash >> 32 && self.token(found as u32) == Some(token) {
                return found as u32;
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// The first free slot of a table from `slot` on; `None` where there is none nearby.
pub(super) fn free(slot: usize, mask: usize, is_free: impl Fn(usize) -> bool) -> Option<usize> {
    const NEARBY: usize = 4096;
    (slot..slot + NEARBY).map(|slot| slot & mask).find(|slot| is_free(*slot))
}

/// The bytes `text[start..end]`, at most [`SHORT`], and above them their number: never 0.
#[inline]
fn short_key(text: &[u8], start: usize, end: usize) -> u64 {
    let length = end - start;
    let word = if let Some(word) = text[start..].first_chunk::<8>() {
        u64::from_le_bytes(*word) & ((1 << (8 * length)) - 1)
    } else {
        let mut word = [0; 8];
        word[..length].copy_from_slice(&text[start..end]);
        u64::from_le_bytes(word)
    };
    word | (length as u64) << 56
}

/// What the tables here multiply by to spread their keys; the best-mixed bits of a product are its upper ones.
pub(super) const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15; // 2^64 divided by the golden ratio, odd

/// A slot for a key.
#[inline]
fn spread(key: u64) -> usize {
    (key.wrapping_mul(MULTIPLIER) >> 40) as usize
}

/// Eight to fifteen bytes as two words that overlap, and their number in place of a byte that stands in both.
#[inline]
fn middle_key(token: &[u8]) -> [u64; 2] {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    [word(token.first_chunk()), word(token.last_chunk()) >> 8 | (token.len() as u64) << 56]
}

#[inline]
fn spread_middle([low, high]: [u64; 2]) -> usize {
    spread(low ^ high.rotate_left(21))
}

/// A hash of eight bytes or more, by words; the last two may overlap.
#[inline]
fn long_hash(token: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(MULTIPLIER).rotate_left(29);
    let mut hash = token.len() as u64;
    let mut rest = token;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        hash = mix(hash, u64::from_le_bytes(*word));
        rest = after;
    }
    if let Some(last) = token.last_chunk::<8>() {
        hash = mix(hash, u64::from_le_bytes(*last));
    }
    hash.wrapping_mul(MULTIPLIER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob of the single bytes and one merge per pair.
    fn blob(merges: &[(u32, u32)]) -> Vec<u8> {
        let mut data = (256 + merges.len() as u32).to_le_bytes().to_vec();
        data.extend(0..=255_u8);
        for side in [|merge: &(u32, u32)| merge.0, |merge: &(u32, u32)| merge.1] {
            for byte in 0..3 {
                data.extend(merges.iter().map(|merge| side(merge).to_le_bytes()[byte]));
            }
        }
        miniz_oxide::deflate::compress_to_vec_zlib(&data, 1)
    }

    #[test]
    fn every_token_is_found_by_its_bytes_and_nothing_else_is() {
        let (a, b) = (u32::from(b'a'), u32::from(b'b'));
        let vocabulary = Vocabulary::unpack(&blob(&[(a, b), (256, 256), (257, 257), (258, a)])).expect("sound");
        assert_eq!(vocabulary.token(259), Some(b"ababababa".as_slice()));
        assert_eq!(vocabulary.token(260), None);
        for (text, rank) in [("a", a), ("ab", 256), ("abab", 257), ("abababab", 258), ("ababababa", 259)] {
            assert_eq!(vocabulary.rank(text.as_bytes(), 0, text.len()), rank);
            let inside = format!("..{text}...........");
            assert_eq!(vocabulary.rank(inside.as_bytes(), 2, 2 + text.len()), rank);
        }
        for text in ["ba", "aba", "ab\0", "abababa", "babababa", "ababababb", "ababababab"] {
            assert_eq!(vocabulary.rank(text.as_bytes(), 0, text.len()), NONE, "{text}");
        }
    }

    #[test]
    fn a_damaged_blob_is_an_error() {
        let sound = blob(&[(1, 2)]);
        let few = miniz_oxide::deflate::compress_to_vec_zlib(&1_u32.to_le_bytes(), 1);
        for damaged in [&[][..], &sound[..sound.len() / 2], &few, &blob(&[(256, 1)]), &blob(&[(1, 0xff_ffff)])] {
            assert!(matches!(Vocabulary::unpack(damaged), Err(Error::Corrupt { .. })));
        }
    }

    #[test]
    fn tokens_made_to_crowd_one_place_are_refused() {
        const TOKENS: usize = 5000;
        let index = |crowded: bool| {
            let (mut bytes, mut starts): (Vec<u8>, Vec<u32>) = ((0..=255).collect(), (0..=256).collect());
            let numbers = (0_u64..).map(u64::to_le_bytes).map(|bytes| [bytes[0], bytes[1], bytes[2], bytes[3], 1, 1]);
            let slot = |token: &[u8; 6]| spread(short_key(token, 0, 6)) % 8192;
            for token in numbers.filter(|token| !crowded || slot(token) == 0).take(TOKENS) {
                bytes.extend_from_slice(&token);
                starts.push(bytes.len() as u32);
            }
            let merges = (0..TOKENS as u32).map(|n| (n % 256, n / 256)).collect();
            Vocabulary::index(bytes, starts, merges)
        };
        assert!(index(false).is_some());
        assert!(index(true).is_none());
    }
}
