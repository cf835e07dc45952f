//! Pre-tokenizers: the patterns of `cl100k_base` and `o200k_base` by hand, one pass, no regex engine.
//!
//! Each function follows its pattern's alternatives in order; the patterns are quoted from tiktoken's `openai_public.py`.

use super::unicode::{CASELESS, LETTER, LOWER, MARK, NEWLINE, NUMBER, OTHER, UPPER, WHITE, class_at, skip};

/// The pattern that cuts a text into pieces; no token spans two pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    Cl100k,
    O200k,
}

impl Pattern {
    /// Where the piece that begins at `start` ends; past `start`, as `start` is before the end of the text.
    #[inline]
    pub(super) fn piece_end(self, text: &[u8], start: usize) -> usize {
        match self {
            Self::Cl100k => cl100k(text, start),
            Self::O200k => o200k(text, start),
        }
    }
}

/// `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s`
fn cl100k(text: &[u8], start: usize) -> usize {
    if text[start] == b'\'' {
        let end = contraction(text, start);
        if end > start {
            return end;
        }
    }
    let (class, length) = class_at(text, start);
    let next = start + length;
    if class & LETTER != 0 {
        return skip(text, next, LETTER);
    }
    if class & NUMBER != 0 {
        return number(text, next);
    }
    let letters = if class & NEWLINE == 0 { skip(text, next, LETTER) } else { next };
    if letters > next {
        return letters;
    }
    let end = symbols(text, start, next, class);
    if end > start {
        return skip(text, end, NEWLINE);
    }
    white(text, start, true)
}

/// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?`
/// `|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?`
/// `|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn o200k(text: &[u8], start: usize) -> usize {
    let (class, length) = class_at(text, start);
    let next = start + length;
    if class & NUMBER != 0 {
        return number(text, next);
    }
    if class & NEWLINE == 0 {
        // A mark may be a word's prefix or its beginning: the word ends at the same place.
        let begin = if class & (LETTER | MARK) == 0 { next } else { start };
        let end = word(text, begin);
        if end > begin {
            return contraction(text, end);
        }
    }
    let end = symbols(text, start, next, class);
    if end > start {
        return text[end..]
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n' | b'/'))
            .map_or(text.len(), |n| end + n);
    }
    white(text, start, false)
}

/// The end of a word in the sense of `o200k`, without prefix and contraction, or `begin` where there is none.
///
/// The first alternative ends with one or more of [`TAIL`], and gives back upper case until it does: `日AB` is `日`, then
/// `AB`. Only a word without any of those is left to the second.
#[inline]
fn word(text: &[u8], begin: usize) -> usize {
    const HEAD: u8 = UPPER | CASELESS | MARK;
    const TAIL: u8 = LOWER | CASELESS | MARK;
    let (mut at, mut last_tail) = (begin, begin);
    loop {
        let (class, length) = class_at(text, at);
        if class & HEAD == 0 {
            return if class & LOWER != 0 {
                skip(text, at + length, TAIL)
            } else if last_tail > begin {
                last_tail
            } else {
                at
            };
        }
        at += length;
        if class & TAIL != 0 {
            last_tail = at;
        }
    }
}

/// `\p{N}{1,3}` after its first character.
fn number(text: &[u8], mut at: usize) -> usize {
    for _ in 0..2 {
        let (class, length) = class_at(text, at);
        if class & NUMBER == 0 {
            break;
        }
        at += length;
    }
    at
}

/// ` ?[^\s\p{L}\p{N}]+` for a piece whose first character has `class` and ends at `next`; `start` where it does not match.
fn symbols(text: &[u8], start: usize, next: usize, class: u8) -> usize {
    const SYMBOL: u8 = MARK | OTHER;
    if class & SYMBOL != 0 {
        skip(text, next, SYMBOL)
    } else if text[start] == b' ' {
        let end = skip(text, next, SYMBOL);
        if end > next { end } else { start }
    } else {
        start
    }
}

/// White space from `start`: to the last newline of the run if it has one; else the run, but its last character is left
/// to the word that follows, if one does. With `whole_at_end` a run at the end of the text stays whole in any case.
fn white(text: &[u8], start: usize, whole_at_end: bool) -> usize {
    let (mut at, mut last, mut newline) = (start, start, start);
    loop {
        let (class, length) = class_at(text, at);
        if class & WHITE == 0 {
            break;
        }
        last = at;
        at += length;
        if class & NEWLINE != 0 {
            newline = at;
        }
    }
    let at_end = at == text.len();
    if newline > start && !(whole_at_end && at_end) {
        newline
    } else if at_end || last == start {
        at
    } else {
        last
    }
}

/// The end of a contraction (`'s`, `'t`, `'re`, `'ve`, `'m`, `'ll`, `'d`, in any case) at `start`, or `start`.
#[inline]
fn contraction(text: &[u8], start: usize) -> usize {
    if text.get(start) != Some(&b'\'') {
        return start;
    }
    let lower = |i: usize| text.get(start + i).map_or(0, u8::to_ascii_lowercase);
    let length = match (lower(1), lower(2)) {
        (b's' | b'd' | b'm' | b't', _) => 2,
        (b'l', b'l') | (b'v' | b'r', b'e') | (0xc5, 0xbf) => 3, // U+017F, the long s, folds to s
        _ => 0,
    };
    start + length
}
