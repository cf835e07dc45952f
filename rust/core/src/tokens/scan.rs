//! Byte-pair merging as the textbook has it, for few bytes: look for the lowest rank, merge, look again.
#![allow(unsafe_code)]
#![allow(clippy::inline_always)] // what is not inlined into the function with the instructions is not compiled to them

use super::pairs::TOKEN_BITS;
use super::unicode::length_of;
use super::vocab::{NONE, Vocabulary};
use crate::cpu::{self, Level};

/// The most parts that are merged at once.
pub(super) const SCAN_LIMIT: usize = 64;

/// Bits of a place in a key, below the rank: the lowest key is the leftmost of the lowest rank.
const PLACE_BITS: u32 = SCAN_LIMIT.trailing_zeros();
const _: () = assert!(TOKEN_BITS + PLACE_BITS <= 32);

/// Appends the tokens of as many of `bytes` as are merged at once, all where there are at most [`SCAN_LIMIT`]; their number.
pub(super) fn scan(vocabulary: &Vocabulary, bytes: &[u8], tokens: &mut Vec<u32>) -> usize {
    let mut parts = [0; SCAN_LIMIT];
    let (length, taken) = parts_of(vocabulary, bytes, &mut parts);
    let parts = Parts { tokens: &parts[..length], bytes: &bytes[..taken] };
    match length {
        0..=16 => scan_within::<16, 1>(vocabulary, parts, tokens),
        17..=32 => scan_within::<32, 2>(vocabulary, parts, tokens),
        _ => scan_within::<SCAN_LIMIT, 4>(vocabulary, parts, tokens),
    }
    taken
}

/// What merging begins with.
#[derive(Clone, Copy)]
struct Parts<'a> {
    tokens: &'a [u32],
    bytes: &'a [u8],
}

impl Parts<'_> {
    /// Calls `each` with the place of every part but the last, and what it makes with the next.
    #[inline(always)]
    fn pairs(&self, vocabulary: &Vocabulary, mut each: impl FnMut(usize, u32)) {
        if self.tokens.len() == self.bytes.len() {
            for (place, pair) in self.bytes.windows(2).enumerate() {
                each(place, vocabulary.rank_of_pair(pair[0], pair[1]));
            }
        } else {
            for (place, pair) in self.tokens.windows(2).enumerate() {
                each(place, vocabulary.pairs().merged(pair[0], pair[1]));
            }
        }
    }
}

/// What merging begins with: bytes, and characters where their bytes are merged before anything else is. Returns how many
/// parts there are, and of how many bytes.
///
/// A character's bytes are merged first where no token crosses its borders with a part of it or of its neighbour: what
/// crosses them holds it whole, so its pieces never take part in another merge.
#[inline]
fn parts_of(vocabulary: &Vocabulary, bytes: &[u8], parts: &mut [u32; SCAN_LIMIT]) -> (usize, usize) {
    let apart = |at: usize| at == 0 || at == bytes.len() || !vocabulary.borders().crosses_in_part(bytes, at);
    let (mut length, mut at) = (0, 0);
    while at < bytes.len() {
        let end = bytes.len().min(at + length_of(bytes[at]));
        if length + end - at > SCAN_LIMIT {
            break;
        }
        if end > at + 1 && apart(at) && apart(end) {
            let token = vocabulary.rank(bytes, at, end);
            if token != NONE {
                parts[length] = token;
                (length, at) = (length + 1, end);
                continue;
            }
        }
        for byte in &bytes[at..end] {
            parts[length] = vocabulary.rank_of_byte(*byte);
            length += 1;
        }
        at = end;
    }
    (length, at)
}

/// `N` places are `V` vectors of sixteen.
#[inline]
fn scan_within<const N: usize, const V: usize>(vocabulary: &Vocabulary, parts: Parts<'_>, tokens: &mut Vec<u32>) {
    #[cfg(target_arch = "x86_64")]
    {
        let level = cpu::level();
        if level >= Level::Avx512 {
            // SAFETY: `level` is AVX-512 only where the processor has F.
            return unsafe { scan_avx512::<N, V>(vocabulary, parts, tokens) };
        }
        if level >= Level::Avx2 {
            // SAFETY: `level` is AVX2 or above only where the processor has AVX2.
            return unsafe { scan_avx2::<N>(vocabulary, parts, tokens) };
        }
    }
    scan_with::<N, [u32; N]>(vocabulary, parts, tokens);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn scan_avx512<const N: usize, const V: usize>(vocabulary: &Vocabulary, parts: Parts<'_>, tokens: &mut Vec<u32>) {
    scan_with::<N, Vectors<V>>(vocabulary, parts, tokens);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn scan_avx2<const N: usize>(vocabulary: &Vocabulary, parts: Parts<'_>, tokens: &mut Vec<u32>) {
    scan_with::<N, [u32; N]>(vocabulary, parts, tokens);
}

/// The keys of the pairs that are there, by place.
trait Keys<const N: usize> {
    fn new(keys: &[u32; N]) -> Self;
    fn set(&mut self, place: usize, key: u32);
    /// The lowest key; [`NONE`] where there is none.
    fn lowest(&self) -> u32;
}

impl<const N: usize> Keys<N> for [u32; N] {
    #[inline(always)]
    fn new(keys: &[u32; N]) -> Self {
        *keys
    }

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
impl<const N: usize, const V: usize> Keys<N> for Vectors<V> {
    #[inline(always)]
    fn new(keys: &[u32; N]) -> Self {
        const { assert!(N == 16 * V) };
        // SAFETY: only `scan_avx512` makes these, where the processor has F. The `V` vectors of sixteen are the `N` keys.
        Self(std::array::from_fn(|at| unsafe {
            std::arch::x86_64::_mm512_loadu_si512(keys.as_ptr().add(16 * at).cast())
        }))
    }

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

/// A part is known by the place where it begins. Its key is that of it joined with the next part.
#[inline(always)]
fn scan_with<const N: usize, K: Keys<N>>(vocabulary: &Vocabulary, begin: Parts<'_>, tokens: &mut Vec<u32>) {
    let length = begin.tokens.len().min(N);
    let key = |rank: u32, place: usize| if rank == NONE { NONE } else { rank << PLACE_BITS | place as u32 };
    let mut parts = [0_u32; N];
    parts[..length].copy_from_slice(&begin.tokens[..length]);
    let mut next: [u8; N] = std::array::from_fn(|place| place as u8 + 1);
    let mut previous: [u8; N] = std::array::from_fn(|place| (place as u8).wrapping_sub(1));
    let mut keys = [NONE; N];
    begin.pairs(vocabulary, |place, rank| keys[place % N] = key(rank, place));
    let mut keys = K::new(&keys);
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
