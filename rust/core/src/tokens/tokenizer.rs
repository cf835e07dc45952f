//! A whole tokenizer: an encoding, shipped or read from a file, with its ids, its special tokens and its normalizer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::merge_list::{ListScratch, MergeList};
use super::special::{Allowed, Part, Special, Specials};
use super::token_list::TokenList;
use super::{Encoding, MAX_TEXT, Pattern, Scratch};
use crate::error::Result;

/// Texts to ids and back.
pub struct Tokenizer {
    pub(super) name: String,
    pub(super) engine: Engine,
    pub(super) specials: Specials,
    /// Texts are brought into Unicode's form C first, with the tables of Unicode 9 as in `tokenizers`.
    pub(super) nfc: bool,
}

/// What turns text without special tokens into ids.
pub(super) enum Engine {
    /// Ids are ranks.
    Shipped(&'static Encoding),
    Loaded(Box<Loaded>),
}

/// The tokens of a file.
pub(super) struct Loaded {
    pub(super) tokens: TokenList,
    pub(super) merger: Merger,
    /// Pieces that are one token although merging does not make it.
    pub(super) whole: HashMap<Box<[u8]>, u32>,
    /// By id: the bytes of tokens that no text has.
    pub(super) unspelt: HashMap<u32, Box<[u8]>>,
}

/// Both ways to merge; see [`super::compile`].
pub(super) enum Merger {
    /// With the id of each rank.
    Fast(Box<Encoding>, Vec<u32>),
    List(Pattern, MergeList),
}

/// Memory that calls reuse; making one is free.
#[derive(Debug, Default)]
pub struct TokenizerScratch {
    /// That of an [`Encoding`].
    pub fast: Scratch,
    list: ListScratch,
}

impl Tokenizer {
    /// The names of the shipped tokenizers.
    pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
        Encoding::names()
    }

    /// The shipped tokenizer of that name; the first call for each expands its vocabulary.
    pub fn by_name(name: &str) -> Result<&'static Self> {
        static SHIPPED: [OnceLock<Tokenizer>; 3] = [const { OnceLock::new() }; 3];
        let encoding = Encoding::by_name(name)?;
        let slot = Self::names().position(|known| known == name).unwrap_or(0);
        Ok(SHIPPED[slot].get_or_init(|| Self {
            name: name.to_owned(),
            engine: Engine::Shipped(encoding),
            specials: Specials::new(shipped_specials(name)),
            nfc: false,
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tokens that stand for their own text.
    pub fn specials(&self) -> &[Special] {
        self.specials.entries()
    }

    /// The first special token in `text` that `is_meant`, the longest of those that begin there.
    pub fn first_special(&self, text: &str, is_meant: impl Fn(&str) -> bool) -> Option<&str> {
        self.specials.first(text, is_meant)
    }

    /// The highest id.
    pub fn max_id(&self) -> u32 {
        let highest = match &self.engine {
            Engine::Shipped(encoding) => encoding.vocabulary_len() as u32 - 1,
            Engine::Loaded(loaded) => loaded.unspelt.keys().fold(loaded.tokens.max_id(), |max, id| max.max(*id)),
        };
        self.specials().iter().map(|special| special.id).fold(highest, u32::max)
    }

    /// The number of tokens of `text` without special ones, at most [`MAX_TEXT`] bytes.
    pub fn count(&self, text: &str, scratch: &mut TokenizerScratch) -> usize {
        if let Some(encoding) = self.plain() {
            return encoding.count_with(text, &mut scratch.fast);
        }
        let mut count = 0;
        self.each(text, Allowed::Nothing, scratch, &mut |_| count += 1);
        count
    }

    /// The encoding whose counts are those of the whole, where nothing else comes in between.
    pub fn plain(&self) -> Option<&Encoding> {
        let finds = |normalized| self.specials.has_always(normalized);
        match &self.engine {
            Engine::Shipped(encoding) => Some(encoding),
            Engine::Loaded(loaded) => match &loaded.merger {
                Merger::Fast(encoding, _) if !self.nfc && loaded.whole.is_empty() && !finds(false) && !finds(true) => {
                    Some(encoding)
                }
                _ => None,
            },
        }
    }

    /// Appends the ids of `text`, at most [`MAX_TEXT`] bytes, to `ids`.
    pub fn encode(&self, text: &str, allowed: Allowed<'_>, scratch: &mut TokenizerScratch, ids: &mut Vec<u32>) {
        self.each(text, allowed, scratch, &mut |id| ids.push(id));
    }

    fn each(&self, text: &str, allowed: Allowed<'_>, scratch: &mut TokenizerScratch, each: &mut impl FnMut(u32)) {
        self.specials.split(text, allowed, false, |part| match part {
            Part::Token(id) => each(id),
            Part::Text(text) => self.specials.split(&self.normalize(text), allowed, true, |part| match part {
                Part::Token(id) => each(id),
                Part::Text(text) => self.engine.each(text, scratch, each),
            }),
        });
    }

    fn normalize<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.nfc || text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text.nfc().map(|(character, _)| character).collect())
    }

    /// The id of the token that is spelt with these bytes, special ones too.
    pub fn id(&self, token: &[u8]) -> Option<u32> {
        let merged = match &self.engine {
            Engine::Shipped(encoding) => encoding.rank(token),
            Engine::Loaded(loaded) => loaded.tokens.find(token).map(|place| loaded.tokens.id(place)),
        };
        merged.or_else(|| {
            let special = self.specials().iter().find(|special| special.text.as_bytes() == token)?;
            Some(special.id)
        })
    }

    /// The bytes of the token of that id, special ones too.
    pub fn token(&self, id: u32) -> Option<&[u8]> {
        let merged = match &self.engine {
            Engine::Shipped(encoding) => encoding.token(id),
            Engine::Loaded(loaded) => loaded.token(id),
        };
        merged.or_else(|| self.special(id).map(|special| special.text.as_bytes()))
    }

    /// The token of that id, if it stands for its own text.
    pub fn special(&self, id: u32) -> Option<&Special> {
        self.specials.of_id(id)
    }

    /// The bytes of every token of the vocabulary; special tokens that were added to it are left out.
    pub fn tokens(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match &self.engine {
            Engine::Shipped(encoding) => {
                Box::new((0..encoding.vocabulary_len() as u32).filter_map(|rank| encoding.token(rank)))
            }
            Engine::Loaded(loaded) => Box::new((0..loaded.tokens.len() as u32).map(|place| loaded.tokens.token(place))),
        }
    }
}

impl Engine {
    fn each(&self, text: &str, scratch: &mut TokenizerScratch, each: &mut impl FnMut(u32)) {
        match self {
            Self::Shipped(encoding) => encoding.each_token(text, &mut scratch.fast, |rank| rank, |_| None, each),
            Self::Loaded(loaded) => loaded.each(text, scratch, each),
        }
    }
}

impl Loaded {
    fn token(&self, id: u32) -> Option<&[u8]> {
        let place = self.tokens.find_id(id);
        place.map(|place| self.tokens.token(place)).or_else(|| self.unspelt.get(&id).map(|token| &**token))
    }

    fn each(&self, text: &str, scratch: &mut TokenizerScratch, each: &mut impl FnMut(u32)) {
        let whole = |piece: &[u8]| if self.whole.is_empty() { None } else { self.whole.get(piece).copied() };
        match &self.merger {
            Merger::Fast(encoding, ids) => {
                encoding.each_token(text, &mut scratch.fast, |rank| ids[rank as usize], whole, each);
            }
            Merger::List(pattern, merges) => {
                let text = text.as_bytes();
                assert!(text.len() <= MAX_TEXT, "the text is longer than MAX_TEXT");
                let mut start = 0;
                while start < text.len() {
                    let end = pattern.piece_end(text, start);
                    let piece = &text[start..end];
                    match whole(piece) {
                        Some(id) => each(id),
                        None => drop(merges.merge(piece, &mut scratch.list, |place| each(self.tokens.id(place)))),
                    }
                    start = end;
                }
            }
        }
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tokenizer({})", self.name)
    }
}

/// The special tokens of the shipped encodings, as tiktoken's `openai_public.py` has them.
fn shipped_specials(name: &str) -> Vec<Special> {
    let special = |text: &str, id| Special { text: text.to_owned(), id, special: true, normalized: false };
    let mut specials = match name {
        "cl100k_base" => vec![
            special("<|endoftext|>", 100_257),
            special("<|fim_prefix|>", 100_258),
            special("<|fim_middle|>", 100_259),
            special("<|fim_suffix|>", 100_260),
            special("<|endofprompt|>", 100_276),
        ],
        _ => vec![special("<|endoftext|>", 199_999), special("<|endofprompt|>", 200_018)],
    };
    if name == "o200k_harmony" {
        specials.push(special("<|startoftext|>", 199_998));
        for id in 200_000..201_088 {
            let named = match id {
                200_002 => "<|return|>",
                200_003 => "<|constrain|>",
                200_005 => "<|channel|>",
                200_006 => "<|start|>",
                200_007 => "<|end|>",
                200_008 => "<|message|>",
                200_012 => "<|call|>",
                _ => "",
            };
            let reserved = || format!("<|reserved_{id}|>");
            // 200018 has two texts, <|endofprompt|> before it was reserved.
            specials.push(if named.is_empty() { special(&reserved(), id) } else { special(named, id) });
        }
    }
    specials
}
