//! The hot loops of the reader: finding where the plain part of a JSON string ends, and copying it while its escapes are undone.
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

/// What stands for each letter after a backslash; 0 where none does. A table, because which escape comes next cannot be predicted.
const MEANING: [u8; 256] = {
    let mut table = [0; 256];
    let pairs = *b"\"\"\\\\//b\x08f\x0cn\nr\rt\t";
    let mut at = 0;
    while at < pairs.len() {
        table[pairs[at] as usize] = pairs[at + 1];
        at += 2;
    }
    table
};

fn meaning(letter: Option<&u8>) -> u8 {
    letter.map_or(0, |&letter| MEANING[usize::from(letter)])
}

/// Appends the text at the start of `from` to `to`, escapes of one letter undone, and returns how many bytes of `from` that took.
///
/// Ends before a quote, a control byte, any other escape, or at the end of `from`.
#[inline]
pub(super) fn copy_text(level: Level, from: &[u8], to: &mut Vec<u8>) -> usize {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        // SAFETY: `level` is AVX2 or above only where the processor has AVX2.
        return unsafe { copy_text_avx2(from, to) };
    }
    let _ = level;
    copy_text_scalar(from, 0, to)
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

/// From `at` on, one plain run after another.
fn copy_text_scalar(from: &[u8], mut at: usize, to: &mut Vec<u8>) -> usize {
    loop {
        let end = plain_length_scalar(from, at);
        to.extend_from_slice(&from[at..end]);
        if from.get(end) != Some(&b'\\') {
            return end;
        }
        let meaning = meaning(from.get(end + 1));
        if meaning == 0 {
            return end;
        }
        to.push(meaning);
        at = end + 2;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_text_avx2(from: &[u8], to: &mut Vec<u8>) -> usize {
    use std::arch::x86_64::{_mm256_loadu_si256, _mm256_storeu_si256};
    // An escape is longer than its meaning, so what is written never overtakes what is read, and this is room enough.
    to.reserve(from.len());
    let start = to.len();
    let (mut at, mut written) = (0, 0);
    let ended = loop {
        if at + 32 > from.len() {
            break false;
        }
        // SAFETY: 32 bytes are readable at `at` of `from`, as just tested. `written <= at`, so `written + 32` is within
        // the `from.len()` bytes of capacity after `start`, and 32 bytes are writable there. Neither access needs alignment.
        let mask = unsafe {
            let block = _mm256_loadu_si256(from.as_ptr().add(at).cast());
            _mm256_storeu_si256(to.as_mut_ptr().add(start + written).cast(), block);
            special_in_vector(block)
        };
        if mask == 0 {
            (at, written) = (at + 32, written + 32);
            continue;
        }
        let plain = mask.trailing_zeros() as usize;
        (at, written) = (at + plain, written + plain);
        let meaning = if from[at] == b'\\' { meaning(from.get(at + 1)) } else { 0 };
        if meaning == 0 {
            break true;
        }
        // SAFETY: `written <= at < from.len()`, so this byte too is within the reserved capacity.
        unsafe { to.as_mut_ptr().add(start + written).write(meaning) };
        (at, written) = (at + 2, written + 1);
    };
    // SAFETY: the first `written` bytes after `start` were written above: each block up to its first special byte, and
    // each meaning in the place of that byte.
    unsafe { to.set_len(start + written) };
    if ended { at } else { copy_text_scalar(from, at, to) }
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
                        let consumed = copy_text(level, &bytes, &mut copy);
                        assert_eq!(consumed, copy_text_scalar(&bytes, 0, &mut Vec::new()));
                        assert_eq!(&copy[..6 + expected], [b"before", &bytes[..expected]].concat());
                    }
                }
            }
        }
    }

    #[test]
    fn every_level_undoes_escapes_of_one_letter_and_stops_before_all_else() {
        let stops = [&b""[..], b"\"", b"\n", b"\\u0041", b"\\x", b"\\"];
        for level in Level::ALL.into_iter().filter(|&level| level <= crate::cpu::detect()) {
            for gap in 0..40 {
                for (stop, tail) in stops.into_iter().flat_map(|stop| [0, 3, 50].map(|tail| (stop, tail))) {
                    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
                    for (letter, meaning) in br#"bfnrt"\/"#.iter().zip(b"\x08\x0c\n\r\t\"\\/") {
                        bytes.extend([&vec![b'p'; gap][..], &[b'\\', *letter]].concat());
                        expected.extend([&vec![b'p'; gap][..], &[*meaning]].concat());
                    }
                    let length = bytes.len();
                    bytes.extend(stop);
                    if !stop.is_empty() && stop != b"\\" {
                        bytes.extend(vec![b'q'; tail]);
                    }
                    let mut copy = Vec::new();
                    assert_eq!(copy_text(level, &bytes, &mut copy), length, "{level:?} {gap} {stop:?} {tail}");
                    assert_eq!(copy, expected);
                }
            }
        }
    }
}
