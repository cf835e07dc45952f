//! The classes of 64 bytes at once: one bit per byte in a word per class. Bytes outside ASCII are in none but their own.
#![allow(unsafe_code)]

use crate::cpu::Level;

/// How many bytes are classified together.
pub(super) const BLOCK: usize = 64;

/// Bit `i` of each word tells whether byte `i` of a block is in that class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Classes {
    pub(super) upper: u64,
    pub(super) lower: u64,
    pub(super) number: u64,
    /// CR and LF.
    pub(super) newline: u64,
    /// White space other than those.
    pub(super) white: u64,
    /// The space itself.
    pub(super) space: u64,
    pub(super) slash: u64,
    pub(super) apostrophe: u64,
    /// Bytes of characters outside ASCII.
    pub(super) wide: u64,
}

/// The classes of a block.
#[inline]
pub(super) fn classify(level: Level, block: &[u8; BLOCK]) -> Classes {
    #[cfg(target_arch = "x86_64")]
    {
        if level >= Level::Avx512 {
            // SAFETY: `level` is AVX-512 only where the processor has F and BW.
            return unsafe { classify_avx512(block) };
        }
        if level >= Level::Avx2 {
            // SAFETY: `level` is AVX2 or above only where the processor has AVX2.
            return unsafe { classify_avx2(block) };
        }
    }
    let _ = level;
    classify_scalar(block)
}

fn classify_scalar(block: &[u8; BLOCK]) -> Classes {
    let mask =
        |is: fn(u8) -> bool| block.iter().enumerate().fold(0, |mask, (at, &byte)| mask | u64::from(is(byte)) << at);
    Classes {
        upper: mask(|byte| byte.is_ascii_uppercase()),
        lower: mask(|byte| byte.is_ascii_lowercase()),
        number: mask(|byte| byte.is_ascii_digit()),
        newline: mask(|byte| byte == b'\n' || byte == b'\r'),
        white: mask(|byte| matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)),
        space: mask(|byte| byte == b' '),
        slash: mask(|byte| byte == b'/'),
        apostrophe: mask(|byte| byte == b'\''),
        wide: mask(|byte| byte >= 0x80),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn classify_avx512(block: &[u8; BLOCK]) -> Classes {
    use std::arch::x86_64::{
        _mm512_cmpeq_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512, _mm512_movepi8_mask, _mm512_set1_epi8,
        _mm512_sub_epi8,
    };
    // SAFETY: a block has the 64 bytes that are read; the load needs no alignment.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    let all = |byte: u8| _mm512_set1_epi8(byte.cast_signed());
    let is = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, all(byte));
    let within = |first: u8, number: u8| _mm512_cmplt_epu8_mask(_mm512_sub_epi8(bytes, all(first)), all(number));
    let (newline, space) = (is(b'\n') | is(b'\r'), is(b' '));
    Classes {
        upper: within(b'A', 26),
        lower: within(b'a', 26),
        number: within(b'0', 10),
        newline,
        white: within(b'\t', 5) & !newline | space,
        space,
        slash: is(b'/'),
        apostrophe: is(b'\''),
        wide: _mm512_movepi8_mask(bytes),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn classify_avx2(block: &[u8; BLOCK]) -> Classes {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_set1_epi8,
        _mm256_sub_epi8,
    };
    // SAFETY: a block has the two times 32 bytes that are read; the loads need no alignment.
    let halves: [__m256i; 2] =
        unsafe { [_mm256_loadu_si256(block.as_ptr().cast()), _mm256_loadu_si256(block.as_ptr().add(32).cast())] };
    let all = |byte: u8| _mm256_set1_epi8(byte.cast_signed());
    let join = |masks: [__m256i; 2]| {
        let [low, high] = masks.map(|mask| u64::from(_mm256_movemask_epi8(mask).cast_unsigned()));
        low | high << 32
    };
    let is = |byte: u8| join(halves.map(|half| _mm256_cmpeq_epi8(half, all(byte))));
    let within = |first: u8, number: u8| {
        let last = all(number - 1);
        join(halves.map(|half| _mm256_cmpeq_epi8(_mm256_max_epu8(_mm256_sub_epi8(half, all(first)), last), last)))
    };
    let (newline, space) = (is(b'\n') | is(b'\r'), is(b' '));
    Classes {
        upper: within(b'A', 26),
        lower: within(b'a', 26),
        number: within(b'0', 10),
        newline,
        white: within(b'\t', 5) & !newline | space,
        space,
        slash: is(b'/'),
        apostrophe: is(b'\''),
        wide: join(halves),
    }
}

#[cfg(test)]
mod tests {
    use super::super::unicode::{LOWER, NEWLINE, NUMBER, SPACE, UPPER, class_at};
    use super::*;

    #[test]
    fn every_byte_has_the_class_that_the_table_says_at_every_place_and_level() {
        for byte in 0..=u8::MAX {
            let class = if byte < 0x80 { class_at(&[byte], 0).0 } else { 0 };
            for at in 0..BLOCK {
                let mut block = [b'!'; BLOCK];
                block[at] = byte;
                let word = |is: bool| u64::from(is) << at;
                let expected = Classes {
                    upper: word(class == UPPER),
                    lower: word(class == LOWER),
                    number: word(class == NUMBER),
                    newline: word(class == NEWLINE),
                    white: word(class == SPACE),
                    space: word(byte == b' '),
                    slash: word(byte == b'/'),
                    apostrophe: word(byte == b'\''),
                    wide: word(byte >= 0x80),
                };
                for level in Level::ALL.into_iter().filter(|level| *level <= crate::cpu::detect()) {
                    assert_eq!(classify(level, &block), expected, "{byte:#x} at {at}, {level:?}");
                }
            }
        }
    }
}
