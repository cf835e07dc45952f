//! Where the pieces of ASCII text begin, for 64 bytes at once: the patterns of [`super::split`] as arithmetic on bit masks.
//!
//! A block starts where a piece starts, so nothing is carried from one to the next: what the last bytes of a block leave
//! open begins the next block. Whatever this cannot tell, a long piece or characters outside ASCII, is left to `split`.

use super::classes::{BLOCK, Classes};
use super::split::{Contraction, Prefix, Rules, Tail, White, Word, contraction};

/// What of a block may be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// How many of its bytes are ASCII characters of the text, at most 64; 63 at the end of the text.
    pub(super) bytes: u32,
    /// Whether the text ends there.
    pub(super) at_end: bool,
}

/// Whether blocks can be cut by these rules: GPT-2's, which nobody uses for new models, are left to `split`.
#[inline]
pub(super) fn can_cut(rules: &Rules) -> bool {
    rules.prefix == Prefix::AnySymbol && matches!(rules.digits, 1 | 3) && rules.contraction_ignores_case
}

/// A bit at each byte where a piece begins, the end of the text included; bit 0 is always set.
///
/// Only what later bytes cannot change is told: where bit 0 stands alone, the first piece ends past what is known.
#[inline]
pub(super) fn boundaries(rules: &Rules, classes: &Classes, block: &[u8; BLOCK], known: Known) -> u64 {
    if known.bytes == 0 {
        return 1;
    }
    let within = up_to(known.bytes);
    let (mut upper, mut lower) = (classes.upper & within, classes.lower & within);
    let (number, white) = (classes.number & within, classes.white & within);
    let (mut newline, space) = (classes.newline & within, classes.space & within);
    let mut symbol = within & !(upper | lower | number | newline | white);

    if rules.contraction == Contraction::OfWord {
        let mut after_letter = classes.apostrophe & within & (upper | lower) << 1;
        let mut taken: u64 = 0;
        while after_letter != 0 {
            let at = after_letter.trailing_zeros();
            after_letter &= after_letter - 1;
            if taken >> (at - 1) & 1 == 0 {
                taken |= contracted(block, at);
            }
        }
        (upper, lower, symbol) = (upper & !taken, lower & !taken, symbol & !taken);
    }

    // What a run of symbols takes along: newlines right after it and, in newer patterns, slashes after those.
    let tail = if rules.tail == Tail::NewlinesAndSlashes { newline | classes.slash & within } else { newline };
    let taken = from(newline & symbol << 1, tail);
    (symbol, newline) = (symbol & !taken, newline & !taken);

    // A run of white space ends with its last newline; of what follows, the last one is left to the next piece.
    let blank = white | newline;
    let run = blank & !(blank << 1);
    let mut after_newline = white & newline << 1;
    if white.wrapping_add(after_newline) & !white & newline != 0 {
        let before_newline = white & newline >> 1;
        after_newline &= !from(before_newline.reverse_bits(), white.reverse_bits()).reverse_bits();
    }
    let last = white & !(blank >> 1);
    let symbol_run = symbol & !(symbol << 1);
    let after_space = symbol_run & (last & space) << 1;

    if rules.contraction == Contraction::First {
        let mut candidates = classes.apostrophe & symbol_run & !after_space;
        while candidates != 0 {
            let at = candidates.trailing_zeros();
            candidates &= candidates - 1;
            let taken = contracted(block, at);
            (upper, lower, symbol) = (upper & !taken, lower & !taken, symbol & !taken);
        }
    }

    let letter = upper | lower;
    let prefix = symbol_run & !(symbol >> 1) & !after_space | last;
    let mut begin = run | after_newline | last | symbol_run & !after_space | letter & !(letter << 1) & !(prefix << 1);
    if rules.word == Word::Cased {
        begin |= upper & lower << 1;
    }
    if rules.digits == 1 {
        begin |= number;
    } else {
        // Numbers are cut after every third digit.
        let mut every_third = number & !(number << 1);
        let four = number & number << 1 & number << 2 & number << 3;
        while every_third != 0 {
            begin |= every_third;
            every_third = every_third << 3 & four;
        }
    }

    // White space that reaches the end of what is known.
    let open = (!(blank << (64 - known.bytes))).leading_zeros().min(known.bytes);
    let mut sure = within;
    if known.at_end {
        if open > 0 && rules.white == White::ToNewlineOrWholeAtEnd {
            sure = up_to(known.bytes - open + 1);
        } else if open > 0 {
            sure &= !(1 << (known.bytes - 1)) | run | after_newline;
        }
        begin |= 1 << known.bytes;
        sure |= 1 << known.bytes;
    } else {
        sure = up_to((known.bytes - open + 1).min(known.bytes.saturating_sub(2)));
    }
    begin & sure | 1
}

/// A word whose lowest `bits` bits are set; all where there are 64 and more.
#[inline]
fn up_to(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// The bits of each run of ones in `runs` from the ones of `first` that are in it up to its end.
#[inline]
fn from(first: u64, runs: u64) -> u64 {
    (runs.wrapping_add(first) ^ runs) & runs | first
}

/// A bit at each byte of the contraction at an apostrophe; none where none is there.
#[inline]
fn contracted(block: &[u8; BLOCK], at: u32) -> u64 {
    let length = contraction(block, at as usize, true) as u32 - at;
    up_to(length) << at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::classes::classify;
    use super::super::split::Pattern;
    use super::*;
    use crate::cpu::Level;

    /// One or two characters of each class, and those that a pattern names.
    const ALPHABET: &[u8; 14] = b"sxlA7 \t\n'/!\r\0-";

    /// Fails where a text of at most 63 bytes, or its first bytes where more are to come, is cut otherwise than `split` cuts it.
    fn check(text: &[u8], known: usize) {
        let mut block = [0; BLOCK];
        block[..text.len()].copy_from_slice(text);
        let known = Known { bytes: known as u32, at_end: known == text.len() };
        for pattern in Pattern::ALL.into_iter().filter(|pattern| can_cut(pattern.rules())) {
            let found = boundaries(pattern.rules(), &classify(Level::Scalar, &block), &block, known);
            let mut expected = 0_u64;
            let mut at = 0;
            while at < text.len() {
                expected |= 1 << at;
                at = pattern.piece_end(text, at);
            }
            expected |= 1 << text.len();
            // Those past the last one found may be left open, but none may be missing before it.
            expected &= up_to(64 - found.leading_zeros());
            assert_eq!(
                found,
                expected,
                "{pattern:?}: {:?}, {known:?}: {found:b} {expected:b}",
                text.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn every_short_text_is_cut_as_the_pattern_says() {
        for number in 0..ALPHABET.len().pow(5) {
            let text: [u8; 5] =
                std::array::from_fn(|place| ALPHABET[number / ALPHABET.len().pow(place as u32) % ALPHABET.len()]);
            for known in 1..=text.len() {
                check(&text, known);
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_cut_as_the_pattern_says(
            text in "[\\x00-\\x7f]{1,63}|[a-zA-Z' ]{1,63}|[ \t\r\na0-9/]{1,63}|[a-c'A-C!/ \n\t0-9]{1,63}|('(s|ll|re|T)|x| ){1,20}",
            share in 0.0..1.0,
        ) {
            let text = &text.as_bytes()[..text.len().min(63)];
            check(text, text.len());
            check(text, 1 + ((text.len() - 1) as f64 * share) as usize);
        }
    }
}
