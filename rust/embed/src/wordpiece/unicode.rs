//! The classes of code points that BERT's tokenizer tells apart, from a two-stage table.
//!
//! The categories are those of `unicode_categories`, an old Unicode, because the `tokenizers` library takes them from there
//! and a model's vocabulary was made with them. `cargo test -p sparecall-embed -- --ignored write_the_table` writes the
//! table anew; another test compares it with that crate for every code point.

/// White space: it ends a word.
pub(super) const WHITE: u8 = 1 << 0;
/// What `clean_text` leaves out: controls and the like, U+0000 and U+FFFD. Some white space is among it.
pub(super) const DROPPED: u8 = 1 << 1;
/// `\p{Mn}`: what `strip_accents` leaves out.
pub(super) const MARK: u8 = 1 << 2;
/// A word of its own: ASCII punctuation and `\p{P}`.
pub(super) const PUNCTUATION: u8 = 1 << 3;
/// Ideographs: a word of their own under `handle_chinese_chars`.
pub(super) const IDEOGRAPH: u8 = 1 << 4;

/// A block number per 128 code points, then the blocks, one byte of class per code point.
static TABLE: &[u8] = include_bytes!("data/unicode_classes.bin");
const BLOCK: usize = 128;
const BLOCKS: usize = 0x11_0000 / BLOCK;

/// The classes of a character, a bit each.
#[inline]
pub(super) fn class(character: char) -> u8 {
    let code_point = character as usize;
    TABLE[BLOCKS + usize::from(TABLE[code_point / BLOCK]) * BLOCK + code_point % BLOCK]
}

#[cfg(test)]
mod tests {
    use unicode_categories::UnicodeCategories;
    use unicode_normalization_alignments::char::canonical_combining_class;

    use super::*;

    fn expected(character: char) -> u8 {
        let bit = |class, is: bool| if is { class } else { 0 };
        let kept = matches!(character, '\t' | '\n' | '\r');
        let ideograph = matches!(
            character,
            '\u{4E00}'..='\u{9FFF}'
                | '\u{3400}'..='\u{4DBF}'
                | '\u{20000}'..='\u{2A6DF}'
                | '\u{2A700}'..='\u{2B73F}'
                | '\u{2B740}'..='\u{2B81F}'
                | '\u{2B920}'..='\u{2CEAF}'
                | '\u{F900}'..='\u{FAFF}'
                | '\u{2F800}'..='\u{2FA1F}'
        );
        bit(WHITE, character.is_whitespace())
            | bit(DROPPED, matches!(character, '\0' | '\u{FFFD}') || !kept && character.is_other())
            | bit(MARK, character.is_mark_nonspacing())
            | bit(PUNCTUATION, character.is_ascii_punctuation() || character.is_punctuation())
            | bit(IDEOGRAPH, ideograph)
    }

    #[test]
    fn every_character_has_the_classes_that_the_tokenizers_library_gives_it() {
        for character in '\0'..=char::MAX {
            assert_eq!(class(character), expected(character), "U+{:04X}", character as u32);
        }
    }

    #[test]
    fn what_combines_ends_no_word() {
        for character in '\0'..=char::MAX {
            if canonical_combining_class(character) != 0 {
                assert_eq!(class(character) & (WHITE | PUNCTUATION | IDEOGRAPH), 0, "U+{:04X}", character as u32);
            }
        }
    }

    #[test]
    #[ignore = "writes src/wordpiece/data/unicode_classes.bin"]
    fn write_the_table() {
        let classes: Vec<u8> = (0..0x11_0000).map(|point| char::from_u32(point).map_or(0, expected)).collect();
        let (mut index, mut blocks) = (Vec::new(), Vec::<&[u8]>::new());
        for block in classes.chunks(BLOCK) {
            let known = blocks.iter().position(|other| *other == block).unwrap_or_else(|| {
                blocks.push(block);
                blocks.len() - 1
            });
            index.push(u8::try_from(known).expect("at most 256 distinct blocks"));
        }
        index.extend(blocks.concat());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wordpiece/data/unicode_classes.bin");
        std::fs::write(path, index).expect("the data folder is writable");
    }
}
