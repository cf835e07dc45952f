//! Text to words as BERT's normalizer and pre-tokenizer cut it, one word at a time in a buffer of bounded size.
//!
//! A word is over where white space, punctuation or an ideograph begins. What comes out is what `tokenizers` gives for
//! `BertNormalizer` and `BertPreTokenizer`: its NFD puts combining characters in canonical order before it strips accents, so
//! those that stay are held back here until the order is known.

use unicode_normalization_alignments::char::{canonical_combining_class, decompose_canonical};

use super::Options;
use super::unicode::{DROPPED, IDEOGRAPH, MARK, PUNCTUATION, WHITE, class};

/// A word in the making.
#[derive(Debug, Default)]
pub(super) struct Word {
    text: String,
    /// Its characters so far. Those beyond the limit are counted and not kept: the word is unknown whatever they are.
    characters: usize,
    /// Characters that combine, with their class, in the order of the text.
    held: Vec<(u8, char)>,
}

/// Takes words as they end. `None` stands for one that is longer than the limit. False stops the cutting.
pub(super) trait Take: FnMut(Option<&str>) -> bool {}
impl<F: FnMut(Option<&str>) -> bool> Take for F {}

struct Splitter<'a, F> {
    options: Options,
    limit: usize,
    word: &'a mut Word,
    take: F,
}

/// Hands each word of `text` to `take`, as long as it wants more. `limit` is the most characters of a word that is kept.
pub(super) fn split(text: &str, options: Options, limit: usize, word: &mut Word, take: impl Take) -> bool {
    word.clear();
    let mut splitter = Splitter { options, limit, word, take };
    splitter.run(text) && splitter.end()
}

impl Word {
    fn clear(&mut self) {
        self.text.clear();
        self.characters = 0;
        self.held.clear();
    }

    fn push(&mut self, character: char, limit: usize) {
        self.characters += 1;
        if self.characters <= limit {
            self.text.push(character);
        }
    }
}

impl<F: Take> Splitter<'_, F> {
    fn run(&mut self, text: &str) -> bool {
        for character in text.chars() {
            let class = class(character);
            let goes_on = if character.is_ascii() {
                self.ascii(character, class)
            } else if class & DROPPED != 0 && self.options.clean_text {
                true
            } else if class & IDEOGRAPH != 0 && self.options.handle_chinese_chars {
                self.end() && self.wide(character) && self.end()
            } else {
                self.wide(character)
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    fn ascii(&mut self, character: char, class: u8) -> bool {
        if class & DROPPED != 0 && self.options.clean_text {
            return true;
        }
        self.release();
        let character = if self.options.lowercase { character.to_ascii_lowercase() } else { character };
        self.put(character, class)
    }

    /// Decomposes and strips a character, where that is asked for.
    fn wide(&mut self, character: char) -> bool {
        if !self.options.strips_accents() {
            return self.lower(character);
        }
        let mut goes_on = true;
        decompose_canonical(character, |part| {
            let combining = canonical_combining_class(part);
            if combining == 0 {
                self.release();
            }
            if class(part) & MARK != 0 {
                return;
            }
            if combining == 0 {
                goes_on = goes_on && self.lower(part);
            } else if self.word.held.len() <= self.limit {
                // Nothing that combines ends a word, so a word with more of them than the limit is unknown already.
                self.word.held.push((combining, part));
            }
        });
        goes_on
    }

    /// Puts the characters that were held back into the word, in canonical order.
    fn release(&mut self) {
        if self.word.held.is_empty() {
            return;
        }
        let mut held = std::mem::take(&mut self.word.held);
        held.sort_by_key(|(combining, _)| *combining);
        for (_, character) in held.drain(..) {
            self.lower(character);
        }
        self.word.held = held;
    }

    fn lower(&mut self, character: char) -> bool {
        if self.options.lowercase {
            character.to_lowercase().all(|lower| self.put(lower, class(lower)))
        } else {
            self.put(character, class(character))
        }
    }

    fn put(&mut self, character: char, class: u8) -> bool {
        if class & (WHITE | PUNCTUATION) == 0 {
            self.word.push(character, self.limit);
            return true;
        }
        if !self.close() {
            return false;
        }
        if class & PUNCTUATION != 0 {
            self.word.push(character, self.limit);
            return self.close();
        }
        true
    }

    /// Ends the word with all that was held back for it.
    fn end(&mut self) -> bool {
        self.release();
        self.close()
    }

    fn close(&mut self) -> bool {
        if self.word.characters == 0 {
            return true;
        }
        let fits = self.word.characters <= self.limit;
        let goes_on = (self.take)(fits.then_some(self.word.text.as_str()));
        self.word.text.clear();
        self.word.characters = 0;
        goes_on
    }
}
