//! Byte-pair merging as the textbook has it, for few bytes: look for the lowest rank, merge, look again.
#![allow(unsafe_code)]

use super::pairs::{NONE, TOKEN_BITS};
use super::vocab::Vocabulary;
use crate::cpu::{self, Level};

/// The most bytes that are merged this way.
pub(super) const SCAN_LIMIT: usize = 64;

/// Bits of a place in a key, below the rank: the lowest key is the leftmost of the lowest rank.
const PLACE_BITS: u32 = SCAN_LIMIT.trailing_zeros();
const _: () = assert!(TOKEN_BITS + PLACE_BITS <= 32);

/// Appends the tokens of `bytes`, at least one and at most [`SCAN_LIMIT`] of them.
pub(super) fn scan(vocabulary: &Vocabulary, bytes: &[u8], tokens: &mut Vec<u32>) {
    match bytes.len() {
        0..=16 => scan_within::<16>(vocabulary, bytes, tokens),
        17..=32 => scan_within::<32>(vocabulary, bytes, tokens),
        _ => scan_within::<SCAN_LIMIT>(vocabulary, bytes, tokens),
    }
}

#[inline]
fn scan_within<const N: usize>(vocabulary: &Vocabulary, bytes: &[u8], tokens: &mut Vec<u32>) {
    #[cfg(target_arch = "x86_64")]
    {
        let level = cpu::level();
        if level >= Level::Avx512 {
            // SAFETY: `level` is AVX-512 only where the processor has F and VL.
            return unsafe { scan_avx512::<N>(vocabulary, bytes, tokens) };
        }
        if level >= Level::Avx2 {
            // SAFETY: `level` is AVX2 or above only where the processor has AVX2.
            return unsafe { scan_avx2::<N>(vocabulary, bytes, tokens) };
        }
    }
    scan_plainly::<N>(vocabulary, bytes, tokens);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl")]
fn scan_avx512<const N: usize>(vocabulary: &Vocabulary, bytes: &[u8], tokens: &mut Vec<u32>) {
    scan_plainly::<N>(vocabulary, bytes, tokens);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn scan_avx2<const N: usize>(vocabulary: &Vocabulary, bytes: &[u8], tokens: &mut Vec<u32>) {
    scan_plainly::<N>(vocabulary, bytes, tokens);
}

#[inline(always)]
fn scan_plainly<const N: usize>(vocabulary: &Vocabulary, bytes: &[u8], tokens: &mut Vec<u32>) {
    let bytes = &bytes[..bytes.len().min(N)];
    let length = bytes.len();
    let key = |rank: u32, place: usize| if rank == NONE { NONE } else { rank << PLACE_BITS | place as u32 };
    // A part is known by the place of its first byte. Keys are those of a part joined with the next.
    let mut parts = [0_u32; N];
    let mut keys = [NONE; N];
    let mut next: [u8; N] = std::array::from_fn(|place| place as u8 + 1);
    let mut previous: [u8; N] = std::array::from_fn(|place| (place as u8).wrapping_sub(1));
    for (part, byte) in parts.iter_mut().zip(bytes) {
        *part = vocabulary.rank_of_byte(*byte);
    }
    for (place, pair) in bytes.windows(2).enumerate() {
        keys[place] = key(vocabulary.rank_of_pair(pair[0], pair[1]), place);
    }
    let pairs = vocabulary.pairs();
    loop {
        let lowest = keys.iter().copied().fold(NONE, u32::min);
        if lowest == NONE {
            break;
        }
        let place = lowest as usize % N;
        let second = usize::from(next[place]) % N;
        let third = usize::from(next[second]);
        parts[place] = lowest >> PLACE_BITS;
        keys[second] = NONE;
        next[place] = third as u8;
        keys[place] = NONE;
        if third < length {
            previous[third % N] = place as u8;
            keys[place] = key(pairs.merged(parts[place], parts[third % N]), place);
        }
        if place > 0 {
            let before = usize::from(previous[place]) % N;
            keys[before] = key(pairs.merged(parts[before], parts[place]), before);
        }
    }
    let mut place = 0;
    while place < length {
        tokens.push(parts[place]);
        place = usize::from(next[place % N]);
    }
}
