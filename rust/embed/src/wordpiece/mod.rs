//! BERT's `WordPiece`: text to token ids, as the `tokenizers` library gives them, in time linear in the text and bounded memory.
//!
//! Text is cut into words (`split`), each word greedily into the longest tokens there are (`trie`): Schuster and Nakajima,
//! "Japanese and Korean voice search", 2012, in the form that BERT gave it.

mod file;
mod split;
mod trie;
mod unicode;

use aho_corasick::AhoCorasick;
pub use file::MAX_FILE;
use split::{Word, split};
use trie::Trie;

/// How text is normalised before it is cut, named as in a `tokenizer.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // four switches of the file format
pub struct Options {
    /// Leaves out controls and the like, and U+FFFD.
    pub clean_text: bool,
    /// Makes each ideograph a word.
    pub handle_chinese_chars: bool,
    /// Decomposes characters and leaves out the accents; `None` does as `lowercase` says.
    pub strip_accents: Option<bool>,
    /// Makes letters lower case.
    pub lowercase: bool,
}

impl Options {
    fn strips_accents(self) -> bool {
        self.strip_accents.unwrap_or(self.lowercase)
    }
}

impl Default for Options {
    /// Those of the uncased models.
    fn default() -> Self {
        Self { clean_text: true, handle_chinese_chars: true, strip_accents: None, lowercase: true }
    }
}

/// A tokenizer. Immutable; any number of threads may use it at once.
#[derive(Debug)]
pub struct WordPiece {
    options: Options,
    /// Tokens that begin a word.
    first: Trie,
    /// Tokens that continue one, without their prefix.
    further: Trie,
    unknown: u32,
    classify: u32,
    separate: u32,
    /// The most characters of a word that is not unknown.
    max_characters: usize,
    /// Texts that are a token wherever they stand, and their ids.
    specials: Option<(AhoCorasick, Vec<u32>)>,
    tokens: usize,
    highest: u32,
}

impl WordPiece {
    /// Appends the ids of `text` between those of `[CLS]` and `[SEP]`, at most `limit` in all: what goes beyond is cut off.
    ///
    /// A text of special tokens, such as `[SEP]`, is that token, as in `tokenizers`. Time is linear in the part of the text
    /// that is read.
    pub fn encode(&self, text: &str, limit: usize, ids: &mut Vec<u32>) {
        ids.push(self.classify);
        self.encode_ordinary(text, limit.saturating_sub(2), ids);
        ids.push(self.separate);
    }

    /// Appends the ids of `text` alone, at most `limit` of them.
    pub fn encode_ordinary(&self, text: &str, limit: usize, ids: &mut Vec<u32>) {
        let mut word = Word::default();
        let end = ids.len().saturating_add(limit);
        let mut rest = 0;
        if let Some((finder, special)) = &self.specials {
            for found in finder.find_iter(text) {
                self.words(&text[rest..found.start()], end, &mut word, ids);
                if ids.len() >= end {
                    return;
                }
                ids.push(special[found.pattern().as_usize()]);
                rest = found.end();
            }
        }
        self.words(&text[rest..], end, &mut word, ids);
    }

    /// How many tokens the vocabulary has.
    pub fn len(&self) -> usize {
        self.tokens
    }

    /// Whether there is none; never, once it is loaded.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    /// The highest id that `encode` can give.
    pub fn highest_id(&self) -> u32 {
        self.highest
    }

    fn words(&self, text: &str, end: usize, word: &mut Word, ids: &mut Vec<u32>) {
        if text.is_empty() || ids.len() >= end {
            return;
        }
        split(text, self.options, self.max_characters, word, |word: Option<&str>| {
            self.word(word, ids);
            ids.truncate(end);
            ids.len() < end
        });
    }

    fn word(&self, word: Option<&str>, ids: &mut Vec<u32>) {
        let start = ids.len();
        let Some(mut rest) = word.map(str::as_bytes) else { return ids.push(self.unknown) };
        let mut trie = &self.first;
        while !rest.is_empty() {
            let Some((length, id)) = trie.longest(rest) else {
                ids.truncate(start);
                return ids.push(self.unknown);
            };
            ids.push(id);
            rest = &rest[length..];
            trie = &self.further;
        }
    }
}
