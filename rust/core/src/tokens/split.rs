//! Pre-tokenizers: the published patterns of byte-level BPE by hand, one pass, no regex engine.
//!
//! They are one family: each is a choice of [`Rules`], and [`cut`] follows the alternatives of the pattern in their
//! order. [`super::patterns`] has their texts. Every named pattern gets a copy of `cut` in which its rules are constants.

use super::unicode::{CASELESS, LETTER, LOWER, MARK, NEWLINE, NUMBER, OTHER, UPPER, WHITE, class_at, skip};

/// The pattern that cuts a text into pieces; no token spans two pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// `o200k_base`, and Llama 4's.
    O200k,
    /// `cl100k_base` as tiktoken has it: white space at the end of the text stays whole.
    Cl100k,
    /// Llama 3's, which is `cl100k_base` before that rule; also GLM 4's and many others'.
    Llama3,
    /// Qwen 2's to 3's: single digits.
    Qwen2,
    /// Qwen 3.5's: marks belong to words.
    Qwen35,
    /// GPT-2's, `r50k_base`'s and `p50k_base`'s.
    Gpt2,
    /// Mistral's Tekken.
    Tekken,
}

impl Pattern {
    /// Where the piece that begins at `start` ends; past `start`, as `start` is before the end of the text.
    #[inline]
    pub(super) fn piece_end(self, text: &[u8], start: usize) -> usize {
        match self {
            Self::O200k => cut(&O200K, text, start),
            Self::Cl100k => cut(&CL100K, text, start),
            Self::Llama3 => cut(&LLAMA3, text, start),
            Self::Qwen2 => cut(&QWEN2, text, start),
            Self::Qwen35 => cut(&QWEN35, text, start),
            Self::Gpt2 => cut(&GPT2, text, start),
            Self::Tekken => cut(&TEKKEN, text, start),
        }
    }

    /// Its choices.
    pub(super) fn rules(self) -> &'static Rules {
        match self {
            Self::O200k => &O200K,
            Self::Cl100k => &CL100K,
            Self::Llama3 => &LLAMA3,
            Self::Qwen2 => &QWEN2,
            Self::Qwen35 => &QWEN35,
            Self::Gpt2 => &GPT2,
            Self::Tekken => &TEKKEN,
        }
    }
}

/// What the patterns of the family differ in.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) contraction: Contraction,
    /// `'S` is a contraction as `'s` is.
    pub(super) contraction_ignores_case: bool,
    pub(super) word: Word,
    /// What may stand before a word's first letter.
    pub(super) prefix: Prefix,
    /// `\p{N}{1,n}`
    pub(super) digits: usize,
    /// ` ?\p{N}`: a number takes the space before it.
    space_before_number: bool,
    /// What may follow a run of symbols.
    pub(super) tail: Tail,
    pub(super) white: White,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Contraction {
    None,
    /// The first alternative: `'s` anywhere.
    First,
    /// The end of a word: `(..)?`.
    OfWord,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Word {
    /// `\p{L}+`
    Letters,
    /// `[\p{L}\p{M}]+`, and symbols without marks: `[^\s\p{L}\p{M}\p{N}]+`
    LettersAndMarks,
    /// `U*L+|U+L*` with `U` upper case, `L` lower case, and caseless letters and marks in both.
    Cased,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Prefix {
    /// ` ?`
    Space,
    /// `[^\r\n\p{L}\p{N}]?`
    AnySymbol,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Tail {
    Nothing,
    /// `[\r\n]*`
    Newlines,
    /// `[\r\n/]*`
    NewlinesAndSlashes,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum White {
    /// `\s+(?!\S)|\s+`
    Run,
    /// `\s*[\r\n]+|\s+(?!\S)|\s+`
    ToNewline,
    /// `\s++$|\s*[\r\n]|\s+(?!\S)|\s`
    ToNewlineOrWholeAtEnd,
}

const O200K: Rules = Rules {
    contraction: Contraction::OfWord,
    contraction_ignores_case: true,
    word: Word::Cased,
    prefix: Prefix::AnySymbol,
    digits: 3,
    space_before_number: false,
    tail: Tail::NewlinesAndSlashes,
    white: White::ToNewline,
};
const TEKKEN: Rules = Rules { contraction: Contraction::None, digits: 1, ..O200K };
const LLAMA3: Rules = Rules { contraction: Contraction::First, word: Word::Letters, tail: Tail::Newlines, ..O200K };
const CL100K: Rules = Rules { white: White::ToNewlineOrWholeAtEnd, ..LLAMA3 };
const QWEN2: Rules = Rules { digits: 1, ..LLAMA3 };
const QWEN35: Rules = Rules { word: Word::LettersAndMarks, ..QWEN2 };
const GPT2: Rules = Rules {
    contraction: Contraction::First,
    contraction_ignores_case: false,
    word: Word::Letters,
    prefix: Prefix::Space,
    digits: usize::MAX,
    space_before_number: true,
    tail: Tail::Nothing,
    white: White::Run,
};

#[allow(clippy::inline_always)] // so that each pattern's copy has its rules as constants
#[inline(always)]
fn cut(rules: &Rules, text: &[u8], start: usize) -> usize {
    if rules.contraction == Contraction::First && text[start] == b'\'' {
        let end = contraction(text, start, rules.contraction_ignores_case);
        if end > start {
            return end;
        }
    }
    let (class, length) = class_at(text, start);
    let next = start + length;
    let after_space = text[start] == b' ';
    if class & NUMBER != 0 {
        return number(text, next, rules.digits);
    }
    let may_be_prefix = if rules.prefix == Prefix::Space { after_space } else { class & NEWLINE == 0 };
    let end = match rules.word {
        Word::Letters => simple_word(text, start, next, class, LETTER, may_be_prefix),
        Word::LettersAndMarks => simple_word(text, start, next, class, LETTER | MARK, may_be_prefix),
        Word::Cased if may_be_prefix => {
            // A mark may be a word's prefix or its beginning: the word ends at the same place.
            let begin = if class & (LETTER | MARK) == 0 { next } else { start };
            let end = cased_word(text, begin);
            if end > begin { end } else { start }
        }
        Word::Cased => start,
    };
    if end > start {
        let ends_in_contraction = rules.contraction == Contraction::OfWord;
        return if ends_in_contraction { contraction(text, end, rules.contraction_ignores_case) } else { end };
    }
    if rules.space_before_number && after_space {
        let (class, length) = class_at(text, next);
        if class & NUMBER != 0 {
            return number(text, next + length, rules.digits);
        }
    }
    let symbol = if rules.word == Word::LettersAndMarks { OTHER } else { OTHER | MARK };
    let end = symbols(text, start, next, class, symbol);
    if end > start {
        return match rules.tail {
            Tail::Nothing => end,
            Tail::Newlines => skip(text, end, NEWLINE),
            Tail::NewlinesAndSlashes => {
                let rest = text[end..].iter().position(|byte| !matches!(byte, b'\r' | b'\n' | b'/'));
                rest.map_or(text.len(), |n| end + n)
            }
        };
    }
    white(text, start, rules.white)
}

/// The end of a word of the classes in `letters` whose first character, before `next`, has `class`; `start` where there
/// is none.
#[inline]
fn simple_word(text: &[u8], start: usize, next: usize, class: u8, letters: u8, may_be_prefix: bool) -> usize {
    if class & letters != 0 {
        return skip(text, next, letters);
    }
    let end = if may_be_prefix { skip(text, next, letters) } else { next };
    if end > next { end } else { start }
}

/// The end of a [`Word::Cased`], without prefix and contraction, or `begin` where there is none.
///
/// The first alternative ends with one or more of [`TAIL`], and gives back upper case until it does: `日AB` is `日`, then
/// `AB`. Only a word without any of those is left to the second.
#[inline]
fn cased_word(text: &[u8], begin: usize) -> usize {
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

/// `\p{N}{1,digits}` after its first character.
#[inline]
fn number(text: &[u8], mut at: usize, digits: usize) -> usize {
    for _ in 1..digits {
        let (class, length) = class_at(text, at);
        if class & NUMBER == 0 {
            break;
        }
        at += length;
    }
    at
}

/// ` ?[^\s\p{L}\p{N}]+` for a piece whose first character has `class` and ends at `next`; `start` where it does not match.
#[inline]
fn symbols(text: &[u8], start: usize, next: usize, class: u8, symbol: u8) -> usize {
    if class & symbol != 0 {
        skip(text, next, symbol)
    } else if text[start] == b' ' {
        let end = skip(text, next, symbol);
        if end > next { end } else { start }
    } else {
        start
    }
}

/// White space from `start`: where the rules have newlines, to the last one of the run if it has one; else the run, but
/// its last character is left to the word that follows, if one does.
#[inline]
fn white(text: &[u8], start: usize, rules: White) -> usize {
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
    let to_newline = match rules {
        White::Run => false,
        White::ToNewline => true,
        White::ToNewlineOrWholeAtEnd => !at_end,
    };
    if to_newline && newline > start {
        newline
    } else if at_end || last == start {
        at
    } else {
        last
    }
}

/// The end of a contraction (`'s`, `'t`, `'re`, `'ve`, `'m`, `'ll`, `'d`) at `start`, or `start`.
#[inline]
pub(super) fn contraction(text: &[u8], start: usize, ignore_case: bool) -> usize {
    if text.get(start) != Some(&b'\'') {
        return start;
    }
    let lower = |i: usize| match text.get(start + i) {
        Some(byte) if ignore_case => byte.to_ascii_lowercase(),
        Some(byte) => *byte,
        None => 0,
    };
    let length = match (lower(1), lower(2)) {
        (b's' | b'd' | b'm' | b't', _) => 2,
        (b'l', b'l') | (b'v' | b'r', b'e') => 3,
        (0xc5, 0xbf) if ignore_case => 3, // U+017F, the long s, folds to s
        _ => 0,
    };
    start + length
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use fancy_regex::Regex;
    use proptest::prelude::*;

    use super::*;

    /// One or two characters of each class, and those that a pattern names.
    const ALPHABET: [&str; 16] = [
        "s",
        "x",
        "A",
        "\u{1c5}",
        "日",
        "\u{301}",
        "7",
        " ",
        "\u{3000}",
        "\n",
        "\r",
        "'",
        "/",
        "!",
        "\u{17f}",
        "\u{10ffff}",
    ];

    /// Every pattern with every text it is published under.
    static PATTERNS: LazyLock<Vec<(Pattern, Regex)>> = LazyLock::new(|| {
        let regex = |text: &str| Regex::new(text).expect("a published pattern");
        let texts = |pattern: Pattern| pattern.texts().iter().map(move |text| (pattern, regex(text)));
        Pattern::ALL.into_iter().flat_map(texts).collect()
    });

    /// Fails where a text is cut otherwise than the engine that tiktoken uses cuts it.
    fn check(pattern: Pattern, regex: &Regex, text: &str) {
        let mut start = 0;
        let pieces = std::iter::from_fn(|| {
            let begin = start;
            (start < text.len()).then(|| {
                start = pattern.piece_end(text.as_bytes(), begin);
                &text[begin..start]
            })
        });
        let expected = regex.find_iter(text).map(|piece| piece.expect("no limit is reached").as_str());
        assert!(pieces.eq(expected), "{pattern:?} does not cut {text:?} as {regex} does");
    }

    #[test]
    fn every_short_text_is_cut_as_the_pattern_says() {
        for number in 0..ALPHABET.len().pow(4) {
            let text: String =
                (0..4).map(|place| ALPHABET[number / ALPHABET.len().pow(place) % ALPHABET.len()]).collect();
            for (pattern, regex) in PATTERNS.iter() {
                check(*pattern, regex, &text);
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_cut_as_the_pattern_says(
            text in "\\PC{0,40}|(?s:.){0,40}|[a-zA-Z' ]{0,40}|[\\s\\pN/]{0,20}|[\\p{Lu}\\p{Ll}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]{0,20}",
            drawn in proptest::collection::vec(proptest::sample::select(&ALPHABET[..]), 0..30),
        ) {
            for (pattern, regex) in PATTERNS.iter() {
                check(*pattern, regex, &text);
                check(*pattern, regex, &drawn.concat());
            }
        }

        #[test]
        fn contractions_are_cut_as_the_pattern_says(text in "(I|日|1| |\u{301})?'([sSdDmMtT\u{17f}]|[lL]{1,2}|[vVrR][eE]?)(x|S| |'s)?") {
            for (pattern, regex) in PATTERNS.iter() {
                check(*pattern, regex, &text);
            }
        }
    }
}
