//! Byte-pair merging as the textbook has it, for few bytes: look for the lowest rank, merge, look again.
#![allow(unsafe_code)]
#![allow(clippy::inline_always)] // what is not inlined into the function with the instructions is not compiled to them

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
        0..=16 => scan_within::<16, 1>(vocabulary, bytes, tokens),
        17..=32 => scan_within::<32, 2>(vocabulary, bytes, tokens),
        _ => scan_within::<SCAN_LIMIT, 4>(vocabulary, bytes, tokens),
    }
}

/// `N` places are `V` vectors of sixteen.
#[inline]
fn scan_within<const N: usize, const V: usize>(vocabulary: &Vocabulary, bytes: &[u8], tokens: &mut Vec<u32>) {
    #[cfg(target_arch = "x86_64")]
    {
        let level = cpu::level();
        if level >= Level::Avx512 {
            // SAFETY: `level` is AVX-512 only where the processor has F.
            return unsafe { scan_avx512::<N, V>(vocabulary, bytes, tokens) };
        }
        if level >= Level::Avx2 {
            // SAFETY: `level` is AVX2 or above only where the processor has AVX2.
            return unsafe { scan_avx2::<N>(vocabulary, bytes, tokens) };
        }
    }
    scan_with::<N, [u32; N]>([NONE; N], vocabulary, bytes, tokens);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn scan_avx512<const N: usize, const V: usize>(vocabulary: &Vocabulary, bytes: &[u8], tokens: &mut Vec<u32>) {
    let keys = [std::arch::x86_64::_mm512_set1_epi32(-1); V];
    scan_with::<N, _>(Vectors(keys), vocabulary, bytes, tokens);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn scan_avx2<const N: usize>(vocabulary: &Vocabulary, bytes: &[u8], tokens: &mut Vec<u32>) {
    scan_with::<N, [u32; N]>([NONE; N], vocabulary, bytes, tokens);
}

/// The keys of the pairs that are there, by place.
trait Keys {
    fn set(&mut self, place: usize, key: u32);
    /// The lowest key; [`NONE`] where there is none.
    fn lowest(&self) -> u32;
}

impl<const N: usize> Keys for [u32; N] {
    #[inline(always)]
    fn set(&mut self, place: usize, key: u32) {
        self[place] = key;
    }

    #[inline(always)]
    fn lowest(&self) -> u32 {
        self.iter().copied().fold(NONE, u32::min)
    }
}

/// Keys that stay in registers: reading a vector back right after a part of it was written waits for the memory.
#[cfg(target_arch = "x86_64")]
struct Vectors<const V: usize>([std::arch::x86_64::__m512i; V]);

#[cfg(target_arch = "x86_64")]
impl<const V: usize> Keys for Vectors<V> {
    #[inline(always)]
    fn set(&mut self, place: usize, key: u32) {
        for (at, vector) in self.0.iter_mut().enumerate() {
            let lane = (1_u64 << place >> (16 * at)) as u16;
            // SAFETY: only `scan_avx512` makes these, where the processor has F.
            *vector = unsafe { std::arch::x86_64::_mm512_mask_set1_epi32(*vector, lane, key.cast_signed()) };
        }
    }

    #[inline(always)]
    fn lowest(&self) -> u32 {
        use std::arch::x86_64::{_mm512_min_epu32, _mm512_reduce_min_epu32};
        let mut lowest = self.0[0];
        for vector in &self.0[1..] {
            // SAFETY: only `scan_avx512` makes these, where the processor has F.
            lowest = unsafe { _mm512_min_epu32(lowest, *vector) };
        }
        // SAFETY: as above.
        unsafe { _mm512_reduce_min_epu32(lowest) }
    }
}

/// A part is known by the place of its first byte. Its key is that of it joined with the next part.
#[inline(always)]
fn scan_with<const N: usize, K: Keys>(mut keys: K, vocabulary: &Vocabulary, bytes: &[u8], tokens: &mut Vec<u32>) {
    let bytes = &bytes[..bytes.len().min(N)];
    let length = bytes.len();
    let key = |rank: u32, place: usize| if rank == NONE { NONE } else { rank << PLACE_BITS | place as u32 };
    let mut parts = [0_u32; N];
    let mut next: [u8; N] = std::array::from_fn(|place| place as u8 + 1);
    let mut previous: [u8; N] = std::array::from_fn(|place| (place as u8).wrapping_sub(1));
    for (part, byte) in parts.iter_mut().zip(bytes) {
        *part = vocabulary.rank_of_byte(*byte);
    }
    for (place, pair) in bytes.windows(2).enumerate() {
        keys.set(place, key(vocabulary.rank_of_pair(pair[0], pair[1]), place));
    }
    let pairs = vocabulary.pairs();
    loop {
        let lowest = keys.lowest();
        if lowest == NONE {
            break;
        }
        let place = lowest as usize % N;
        let second = usize::from(next[place]) % N;
        let third = usize::from(next[second]);
        parts[place] = lowest >> PLACE_BITS;
        next[place] = third as u8;
        keys.set(second, NONE);
        let mut joined = NONE;
        if third < length {
            previous[third % N] = place as u8;
            joined = key(pairs.merged(parts[place], parts[third % N]), place);
        }
        keys.set(place, joined);
        if place > 0 {
            let before = usize::from(previous[place]) % N;
            keys.set(before, key(pairs.merged(parts[before], parts[place]), before));
        }
    }
    let mut place = 0;
    while place < length {
        tokens.push(parts[place]);
        place = usize::from(next[place % N]);
    }
}
