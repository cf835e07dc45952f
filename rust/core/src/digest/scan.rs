//! Finds where the plain part of a JSON string ends: the next quote, backslash or control byte. The hot loop of the reader.
#![allow(unsafe_code)]

use crate::cpu::Level;

/// How many bytes of `bytes` stand before its first `"`, `\` or byte below 0x20; all of them where there is none.
#[inline]
pub(super) fn plain_length(level: Level, bytes: &[u8]) -> usize {
    // Keys and short values end here, without a call.
    if let Some((word, _)) = bytes.split_first_chunk::<8>() {
        let mask = special_in_word(u64::from_le_bytes(*word));
        if mask != 0 {
            return mask.trailing_zeros() as usize / 8;
        }
    }
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        // SAFETY: `level` is AVX2 or above only where the processor has AVX2.
        return unsafe { plain_length_avx2(bytes) };
    }
    let _ = level;
    plain_length_scalar(bytes, 0)
}

/// Appends the plain bytes at the start of `from` to `to` and returns how many they are: [`plain_length`] that copies as it looks.
#[inline]
pub(super) fn copy_plain(level: Level, from: &[u8], to: &mut Vec<u8>) -> usize {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        // SAFETY: `level` is AVX2 or above only where the processor has AVX2.
        return unsafe { copy_plain_avx2(from, to) };
    }
    let length = plain_length(level, from);
    to.extend_from_slice(&from[..length]);
    length
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The high bit of each byte that ends a plain run. Only the lowest such bit is exact: a borrow can set later ones.
#[inline]
fn special_in_word(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let control = word.wrapping_sub(ONES * 0x20);
    (quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash | control & !word) & HIGH
}

/// From `start` on, eight bytes at a time and then one by one.
fn plain_length_scalar(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    for chunk in bytes[start..].chunks_exact(8) {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        let mask = special_in_word(u64::from_le_bytes(word));
        if mask != 0 {
            return at + mask.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    bytes[at..].iter().position(|&byte| is_special(byte)).map_or(bytes.len(), |more| at + more)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn special_in_vector(block: std::arch::x86_64::__m256i) -> u32 {
    use std::arch::x86_64::{
        _mm256_cmpeq_epi8, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    };
    let last_control = _mm256_set1_epi8(0x1f);
    let control = _mm256_cmpeq_epi8(_mm256_max_epu8(block, last_control), last_control);
    let quote = _mm256_cmpeq_epi8(block, _mm256_set1_epi8(0x22));
    let backslash = _mm256_cmpeq_epi8(block, _mm256_set1_epi8(0x5c));
    _mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(quote, backslash), control)).cast_unsigned()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn plain_length_avx2(bytes: &[u8]) -> usize {
    use std::arch::x86_64::_mm256_loadu_si256;
    let mut at = 0;
    while at + 32 <= bytes.len() {
        // SAFETY: the loop's condition leaves 32 readable bytes at `at`; the load needs no alignment.
        let mask = special_in_vector(unsafe { _mm256_loadu_si256(bytes.as_ptr().add(at).cast()) });
        if mask != 0 {
            return at + mask.trailing_zeros() as usize;
        }
        at += 32;
    }
    plain_length_scalar(bytes, at)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_plain_avx2(from: &[u8], to: &mut Vec<u8>) -> usize {
    use std::arch::x86_64::{_mm256_loadu_si256, _mm256_storeu_si256};
    to.reserve(from.len());
    let start = to.len();
    let mut at = 0;
    while at + 32 <= from.len() {
        // SAFETY: the loop's condition leaves 32 readable bytes at `at` of `from`, and `to` has `from.len()` bytes of
        // spare capacity after `start`, so 32 writable ones at `start + at`. Neither access needs alignment.
        let mask = unsafe {
            let block = _mm256_loadu_si256(from.as_ptr().add(at).cast());
            _mm256_storeu_si256(to.as_mut_ptr().add(start + at).cast(), block);
            special_in_vector(block)
        };
        if mask != 0 {
            let length = at + mask.trailing_zeros() as usize;
            // SAFETY: the stores above wrote every byte before `at + 32`, and `length` is below that.
            unsafe { to.set_len(start + length) };
            return length;
        }
        at += 32;
    }
    // SAFETY: the stores above wrote the first `at` bytes.
    unsafe { to.set_len(start + at) };
    let length = plain_length_scalar(from, at);
    to.extend_from_slice(&from[at..length]);
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_agrees_with_one_byte_at_a_time_at_every_length_alignment_and_place() {
        let mut text = [b'a'; 200];
        for (index, byte) in text.iter_mut().enumerate() {
            *byte = [b'a', b' ', 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']', 0xa2, 0xdc][index % 11];
        }
        for level in Level::ALL.into_iter().filter(|&level| level <= crate::cpu::detect()) {
            for start in 0..40 {
                for length in 0..140 {
                    for special in [None, Some(b'"'), Some(b'\\'), Some(0), Some(0x1f)] {
                        let mut bytes = text[start..start + length].to_vec();
                        if let Some(special) = special {
                            // A second one behind it must not be found first.
                            for place in [length * 5 / 7, length - length.min(1)] {
                                if let Some(byte) = bytes.get_mut(place) {
                                    *byte = special;
                                }
                            }
                        }
                        let expected = bytes.iter().position(|&byte| is_special(byte)).unwrap_or(length);
                        assert_eq!(plain_length(level, &bytes), expected, "{level:?} {start} {length} {special:?}");
                        let mut copy = b"before".to_vec();
                        assert_eq!(copy_plain(level, &bytes, &mut copy), expected);
                        assert_eq!(&copy[6..], &bytes[..expected]);
                    }
                }
            }
        }
    }
}
