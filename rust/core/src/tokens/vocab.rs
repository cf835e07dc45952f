//! A vocabulary: every token's bytes and rank, expanded from a committed blob, and the look-up from bytes to rank.
//!
//! `tools/vocabulary.py` writes the blobs and describes their form. A look-up compares the bytes themselves, never only
//! a hash of them.

use crate::error::{Error, Result};

/// The rank of bytes that are no token.
pub(super) const NONE: u32 = u32::MAX;

/// Tokens up to this length are their own key: the bytes and the length fit one word.
const SHORT: usize = 7;

/// The tokens of an encoding.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// The bytes of all tokens in the order of their ranks.
    bytes: Vec<u8>,
    /// Where in `bytes` each token begins, and the end of the last.
    starts: Vec<u32>,
    /// Length of the longest token.
    longest: usize,
    /// By two bytes: the rank of the token they make. Merging begins with these.
    pairs: Vec<u32>,
    /// Open addressing: keys of short tokens (0 is free), and their ranks at the same places.
    short_keys: Vec<u64>,
    short_ranks: Vec<u32>,
    /// Open addressing for the rest: upper half of the hash, then the rank; `u64::MAX` is free.
    long: Vec<u64>,
}

impl Vocabulary {
    /// Expands a blob of `tools/vocabulary.py`.
    pub(super) fn unpack(blob: &[u8]) -> Result<Self> {
        const CORRUPT: Error = Error::Corrupt { what: "a token vocabulary" };
        let data = miniz_oxide::inflate::decompress_to_vec_zlib(blob).map_err(|_| CORRUPT)?;
        let (count, data) = data.split_first_chunk::<4>().ok_or(CORRUPT)?;
        let (singles, planes) = data.split_first_chunk::<256>().ok_or(CORRUPT)?;
        let merges = (u32::from_le_bytes(*count) as usize).checked_sub(256).ok_or(CORRUPT)?;
        if planes.len() != merges * 6 {
            return Err(CORRUPT);
        }
        let part = |plane: usize, merge: usize| {
            let byte = |shift: usize| usize::from(planes[(plane + shift) * merges + merge]) << (8 * shift);
            byte(0) | byte(1) | byte(2)
        };
        let mut bytes = singles.to_vec();
        let mut starts: Vec<u32> = (0..=256).collect();
        for merge in 0..merges {
            for rank in [part(0, merge), part(3, merge)] {
                // Only tokens before this one are known: a blob that refers further is damaged.
                if rank >= merge + 256 {
                    return Err(CORRUPT);
                }
                bytes.extend_from_within(starts[rank] as usize..starts[rank + 1] as usize);
            }
            starts.push(u32::try_from(bytes.len()).map_err(|_| CORRUPT)?);
        }
        Ok(Self::index(bytes, starts))
    }

    fn index(bytes: Vec<u8>, starts: Vec<u32>) -> Self {
        let lengths = || starts.windows(2).map(|bounds| (bounds[1] - bounds[0]) as usize);
        let shorts = lengths().filter(|length| *length <= SHORT).count();
        let slots = |tokens: usize| (tokens * 3 / 2).next_power_of_two();
        let mut vocabulary = Self {
            longest: lengths().max().unwrap_or(0),
            pairs: vec![NONE; 1 << 16],
            short_keys: vec![0; slots(shorts)],
            short_ranks: vec![NONE; slots(shorts)],
            long: vec![u64::MAX; slots(starts.len() - shorts)],
            bytes,
            starts,
        };
        for rank in 0..vocabulary.starts.len() as u32 - 1 {
            vocabulary.insert(rank);
        }
        vocabulary
    }

    fn insert(&mut self, rank: u32) {
        let (start, end) = (self.starts[rank as usize] as usize, self.starts[rank as usize + 1] as usize);
        let token = &self.bytes[start..end];
        if let [first, second] = *token {
            self.pairs[usize::from(first) << 8 | usize::from(second)] = rank;
        }
        if token.len() <= SHORT {
            let key = short_key(&self.bytes, start, end);
            let mask = self.short_keys.len() - 1;
            let mut slot = spread(key) & mask;
            while self.short_keys[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.short_keys[slot] = key;
            self.short_ranks[slot] = rank;
        } else {
            let hash = long_hash(token);
            let mask = self.long.len() - 1;
            let mut slot = hash as usize & mask;
            while self.long[slot] != u64::MAX {
                slot = (slot + 1) & mask;
            }
            self.long[slot] = hash >> 32 << 32 | u64::from(rank);
        }
    }

    /// The number of tokens.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The bytes of the token of that rank.
    pub(super) fn token(&self, rank: u32) -> Option<&[u8]> {
        let bounds = self.starts.get(rank as usize..rank as usize + 2)?;
        Some(&self.bytes[bounds[0] as usize..bounds[1] as usize])
    }

    /// The rank of two bytes as a token, or `NONE`.
    #[inline]
    pub(super) fn rank_of_pair(&self, first: u8, second: u8) -> u32 {
        self.pairs[usize::from(first) << 8 | usize::from(second)]
    }

    /// The rank of `text[start..end]`, which is not empty, as a token, or `NONE`.
    #[inline]
    pub(super) fn rank(&self, text: &[u8], start: usize, end: usize) -> u32 {
        if end - start > SHORT {
            return self.rank_of_long(&text[start..end]);
        }
        let key = short_key(text, start, end);
        let mask = self.short_keys.len() - 1;
        let mut slot = spread(key) & mask;
        loop {
            match self.short_keys[slot] {
                0 => return NONE,
                found if found == key => return self.short_ranks[slot],
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn rank_of_long(&self, token: &[u8]) -> u32 {
        if token.len() > self.longest {
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

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15; // 2^64 divided by the golden ratio, odd

/// A slot for a key: the best-mixed bits of a product are its upper ones.
#[inline]
fn spread(key: u64) -> usize {
    (key.wrapping_mul(MULTIPLIER) >> 40) as usize
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
