//! The eight classes of code points that the pre-tokenizers tell apart, from a two-stage table.
//!
//! The classes are those of Unicode 16 as `regex-syntax` has them, because that is what tiktoken's patterns mean by
//! `\s` and `\p{..}`. `cargo test -p sparecall-core -- --ignored write_the_table` writes the table anew; another test
//! compares it with `regex-syntax` for every code point.

/// White space other than CR and LF. Each class is one bit, so that a set of classes is a mask.
pub(super) const SPACE: u8 = 1 << 0;
/// CR or LF.
pub(super) const NEWLINE: u8 = 1 << 1;
/// `\p{N}`
pub(super) const NUMBER: u8 = 1 << 2;
/// `\p{Lu}` or `\p{Lt}`
pub(super) const UPPER: u8 = 1 << 3;
/// `\p{Ll}`
pub(super) const LOWER: u8 = 1 << 4;
/// `\p{Lm}` or `\p{Lo}`
pub(super) const CASELESS: u8 = 1 << 5;
/// `\p{M}`
pub(super) const MARK: u8 = 1 << 6;
/// Everything else: punctuation, symbols, controls, what is not assigned.
pub(super) const OTHER: u8 = 1 << 7;

/// `\p{L}`
pub(super) const LETTER: u8 = UPPER | LOWER | CASELESS;
/// `\s`
pub(super) const WHITE: u8 = SPACE | NEWLINE;

/// A block number per 256 code points, then the blocks, one byte of class per code point.
static TABLE: &[u8] = include_bytes!("data/unicode_classes.bin");
const BLOCK: usize = 256;
const BLOCKS: usize = 0x11_0000 / BLOCK;

static ASCII: [u8; 128] = {
    let table = include_bytes!("data/unicode_classes.bin");
    let first = BLOCKS + table[0] as usize * BLOCK;
    let mut classes = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = table[first + byte];
        byte += 1;
    }
    classes
};

fn class_of(code_point: u32) -> u8 {
    let code_point = code_point as usize;
    TABLE[BLOCKS + usize::from(TABLE[code_point / BLOCK]) * BLOCK + code_point % BLOCK]
}

/// The class of the character that begins at byte `at`, and its length; `(0, 0)` at the end of the text.
///
/// `text` is UTF-8 and `at` a character boundary.
#[inline]
pub(super) fn class_at(text: &[u8], at: usize) -> (u8, usize) {
    match text.get(at) {
        None => (0, 0),
        Some(&byte) if byte < 128 => (ASCII[usize::from(byte)], 1),
        Some(&byte) => {
            let follow = |i: usize| u32::from(text[at + i] & 0x3f);
            let byte = u32::from(byte);
            match byte {
                ..0xe0 => (class_of((byte & 0x1f) << 6 | follow(1)), 2),
                0xe0..0xf0 => (class_of((byte & 0x0f) << 12 | follow(1) << 6 | follow(2)), 3),
                _ => (class_of((byte & 0x07) << 18 | follow(1) << 12 | follow(2) << 6 | follow(3)), 4),
            }
        }
    }
}

/// Whether a byte can be the first of a character.
#[inline]
pub(super) fn is_first(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// How many bytes a character has, by its first.
#[inline]
pub(super) fn length_of(first: u8) -> usize {
    match first {
        ..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

/// The first byte from `at` on whose character is outside the classes of `mask`.
#[inline]
pub(super) fn skip(text: &[u8], mut at: usize, mask: u8) -> usize {
    loop {
        let (class, length) = class_at(text, at);
        if class & mask == 0 {
            return at;
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The class of every code point as `regex-syntax` has it.
    fn expected() -> Vec<u8> {
        let mut classes = vec![OTHER; 0x11_0000];
        let rules = [
            (r"\s", SPACE),
            (r"[\r\n]", NEWLINE),
            (r"\p{N}", NUMBER),
            (r"[\p{Lu}\p{Lt}]", UPPER),
            (r"\p{Ll}", LOWER),
            (r"[\p{Lm}\p{Lo}]", CASELESS),
            (r"\p{M}", MARK),
        ];
        for (pattern, class) in rules {
            let hir = regex_syntax::parse(pattern).expect("a class");
            let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(set)) = hir.kind() else {
                panic!("{pattern} is not a class")
            };
            for range in set.iter() {
                classes[range.start() as usize..=range.end() as usize].fill(class);
            }
        }
        classes
    }

    #[test]
    fn every_code_point_has_the_class_that_the_patterns_mean() {
        for (code_point, class) in (0..).zip(expected()) {
            assert_eq!(class_of(code_point), class, "U+{code_point:04X}");
            if let Some(character) = char::from_u32(code_point) {
                let text = character.to_string();
                assert_eq!(class_at(text.as_bytes(), 0), (class, text.len()), "U+{code_point:04X}");
            }
        }
    }

    #[test]
    #[ignore = "writes src/tokens/data/unicode_classes.bin"]
    fn write_the_table() {
        let classes = expected();
        let (mut index, mut blocks) = (Vec::new(), Vec::<&[u8]>::new());
        for block in classes.chunks(BLOCK) {
            let known = blocks.iter().position(|other| *other == block).unwrap_or_else(|| {
                blocks.push(block);
                blocks.len() - 1
            });
            index.push(u8::try_from(known).expect("at most 256 distinct blocks"));
        }
        index.extend(blocks.concat());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tokens/data/unicode_classes.bin");
        std::fs::write(path, index).expect("the data folder is writable");
    }
}
