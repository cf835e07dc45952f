//! tokens: how many tokens a text has, exactly as tiktoken's `encode_ordinary` counts them.
//!
//! [`split`] cuts the text into pieces, [`vocab`] knows the pieces that are one token, [`merge`] breaks up the
//! others, the long ones with the help of [`affixes`]. A [`Tokenizer`] adds ids and special tokens, for shipped encodings
//! and for those of a user's [`file`](Tokenizer::read). [`meter`], [`prefix`] and [`truncate`] count texts that grow, parts
//! of texts, and what fits a limit.

mod affixes;
mod borders;
mod boundaries;
mod characters;
mod classes;
mod compile;
mod endings;
mod file;
mod growth;
mod interval;
mod merge;
mod merge_list;
mod meter;
mod monotony;
mod open;
mod pairs;
mod patterns;
mod piece_cache;
mod pieces;
mod prefix;
mod run;
mod scan;
mod special;
mod split;
mod token_list;
mod tokenizer;
mod truncate;
mod unicode;
mod view;
mod vocab;

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub use characters::Characters;
pub use file::MAX_FILE;
pub use meter::Meter;
pub use prefix::Prefix;
pub use special::{Allowed, Special, first_of};
pub use split::Pattern;
pub use tokenizer::{Tokenizer, TokenizerScratch};
pub use truncate::{Cut, Keep};

use crate::error::{Error, Result};
use endings::Endings;
use piece_cache::PieceCache;
use vocab::{NONE, Vocabulary};

/// The longest text in bytes: positions are 32-bit while a piece is merged.
pub const MAX_TEXT: usize = u32::MAX as usize;

/// Pieces up to this many bytes are merged as they are, longer ones in the parts they fall into.
const SHORT: usize = 14;

/// Memory that counts reuse.
#[derive(Debug, Default)]
pub struct Scratch {
    merge: merge::Scratch,
    /// By the number of the encoding, the last one used first.
    caches: Vec<(u64, PieceCache)>,
}

/// How many encodings a thread remembers pieces of.
const MAX_CACHES: usize = 4;

impl Scratch {
    /// The memory for merges, and the pieces of that encoding that are known.
    #[inline]
    fn of(&mut self, encoding: &Encoding) -> (&mut merge::Scratch, &mut PieceCache) {
        if self.caches.first().is_none_or(|(id, _)| *id != encoding.id) {
            let found = self.caches.iter().position(|(id, _)| *id == encoding.id);
            let cache = found.map_or_else(|| (encoding.id, PieceCache::default()), |at| self.caches.remove(at));
            self.caches.truncate(MAX_CACHES - 1);
            self.caches.insert(0, cache);
        }
        (&mut self.merge, &mut self.caches[0].1)
    }
}

/// A pattern and a vocabulary under a name.
pub struct Encoding {
    /// Another one for each that is made.
    id: u64,
    name: &'static str,
    pattern: Pattern,
    vocabulary: Vocabulary,
    /// Made when it is first asked for.
    endings: OnceLock<Endings>,
}

/// What is needed to make a shipped encoding, and the one all threads share once it is made.
struct Shipped {
    name: &'static str,
    pattern: Pattern,
    blob: &'static [u8],
    encoding: OnceLock<Result<Encoding>>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

static SHIPPED: [Shipped; 2] = [
    Shipped {
        name: "o200k_base",
        pattern: Pattern::O200k,
        blob: include_bytes!("data/o200k_base.bin"),
        encoding: OnceLock::new(),
    },
    Shipped {
        name: "cl100k_base",
        pattern: Pattern::Cl100k,
        blob: include_bytes!("data/cl100k_base.bin"),
        encoding: OnceLock::new(),
    },
];

/// `o200k_base` with other special tokens: the same encoding of text.
const HARMONY: &str = "o200k_harmony";
const NAMES: [&str; 3] = ["o200k_base", HARMONY, "cl100k_base"];

impl Encoding {
    /// The names of the shipped encodings.
    pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
        NAMES.into_iter()
    }

    /// An encoding that is not shipped.
    fn loaded(pattern: Pattern, vocabulary: Vocabulary) -> Self {
        Self::new("loaded", pattern, vocabulary)
    }

    fn new(name: &'static str, pattern: Pattern, vocabulary: Vocabulary) -> Self {
        Self { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), name, pattern, vocabulary, endings: OnceLock::new() }
    }

    /// The shipped encoding of that name. The first call for each expands its vocabulary (about 45 ms).
    pub fn by_name(name: &str) -> Result<&'static Self> {
        let shipped = find(name)?;
        let make = || Ok(Self::new(shipped.name, shipped.pattern, Vocabulary::unpack(shipped.blob)?));
        shipped.encoding.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// Whether [`Encoding::by_name`] would answer at once.
    pub fn is_ready(name: &str) -> Result<bool> {
        Ok(find(name)?.encoding.get().is_some())
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The number of tokens of `text`, at most [`MAX_TEXT`] bytes, in linear time.
    pub fn count(&self, text: &str) -> usize {
        self.count_with(text, &mut Scratch::default())
    }

    /// [`Encoding::count`] with memory that other calls reuse.
    pub fn count_with(&self, text: &str, scratch: &mut Scratch) -> usize {
        self.count_bytes(text.as_bytes(), scratch)
    }

    /// The number of tokens of a text, which is UTF-8.
    fn count_bytes(&self, text: &[u8], scratch: &mut Scratch) -> usize {
        let (merge, cache) = scratch.of(self);
        let mut total = 0;
        pieces::each(self.pattern, text, |text, start, end, _| {
            total +=
                cache.get(text, start, end).unwrap_or_else(|| self.count_new_piece(text, start, end, merge, cache));
        });
        total
    }

    /// The number of tokens of the piece `text[start..end]`.
    fn count_piece(&self, text: &[u8], start: usize, end: usize, scratch: &mut Scratch) -> usize {
        let (merge, cache) = scratch.of(self);
        cache.get(text, start, end).unwrap_or_else(|| self.count_new_piece(text, start, end, merge, cache))
    }

    /// The number of tokens of a piece that is not known yet.
    fn count_new_piece(
        &self,
        text: &[u8],
        start: usize,
        end: usize,
        merge: &mut merge::Scratch,
        cache: &mut PieceCache,
    ) -> usize {
        let mut total = 0;
        if self.vocabulary.is_token(text, start, end) {
            total = 1;
        } else if end - start <= SHORT {
            total = merge::merge(&self.vocabulary, &text[start..end], merge).len();
        } else {
            self.vocabulary.borders().parts(text, start, end, |start, end| {
                let known = if end - start <= SHORT { cache.get(text, start, end) } else { None };
                total += known.unwrap_or_else(|| {
                    let tokens = merge::merge(&self.vocabulary, &text[start..end], merge).len();
                    if end - start <= SHORT {
                        cache.set(text, start, end, tokens);
                    }
                    tokens
                });
            });
        }
        cache.set(text, start, end, total);
        total
    }

    /// The tokens of `text`; there are [`Encoding::count`] of them.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.each_token(text, &mut Scratch::default(), |rank| rank, |_| None, |token| tokens.push(token));
        tokens
    }

    /// Calls `each` with the id of every token of `text`: `id` is that of a rank, `whole` of a piece that is no token.
    fn each_token(
        &self,
        text: &str,
        scratch: &mut Scratch,
        id: impl Fn(u32) -> u32,
        whole: impl Fn(&[u8]) -> Option<u32>,
        mut each: impl FnMut(u32),
    ) {
        pieces::each(self.pattern, text.as_bytes(), |text, start, end, _| {
            let rank = self.vocabulary.rank(text, start, end);
            if rank != NONE {
                each(id(rank));
            } else if let Some(token) = whole(&text[start..end]) {
                each(token);
            } else {
                for rank in merge::merge(&self.vocabulary, &text[start..end], &mut scratch.merge) {
                    each(id(*rank));
                }
            }
        });
    }

    /// The rank of the token of these bytes.
    pub fn rank(&self, token: &[u8]) -> Option<u32> {
        let rank = if token.is_empty() { NONE } else { self.vocabulary.rank(token, 0, token.len()) };
        (rank != NONE).then_some(rank)
    }

    /// The number of mergeable tokens; their ranks are `0..vocabulary_len()`.
    pub fn vocabulary_len(&self) -> usize {
        self.vocabulary.len()
    }

    /// The length of the longest token in bytes: so many bytes have a token at least.
    pub fn longest_token(&self) -> usize {
        self.vocabulary.longest_len()
    }

    /// The bytes of the token of that rank, if there is one.
    pub fn token(&self, rank: u32) -> Option<&[u8]> {
        self.vocabulary.token(rank)
    }

    /// Where the piece that begins at `start` ends.
    #[inline]
    fn piece_end(&self, text: &[u8], start: usize) -> usize {
        self.pattern.piece_end(text, start)
    }

    /// Whether what [`Meter`], [`Prefix`] and [`Encoding::truncate`] need for long pieces is there; it takes about 20 ms.
    pub fn is_indexed(&self) -> bool {
        self.endings.get().is_some()
    }

    /// The index of the tokens by their ends, made when it is first asked for.
    fn endings(&self) -> &Endings {
        self.endings.get_or_init(|| Endings::new(&self.vocabulary))
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Encoding({})", self.name)
    }
}

fn find(name: &str) -> Result<&'static Shipped> {
    let encoding = if name == HARMONY { "o200k_base" } else { name };
    SHIPPED.iter().find(|shipped| shipped.name == encoding).ok_or_else(|| Error::UnknownName {
        kind: "encoding",
        name: name.to_owned(),
        known: Encoding::names().collect::<Vec<_>>().join(", "),
    })
}
