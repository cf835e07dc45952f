//! tokens: how many tokens a text has, exactly as tiktoken's `encode_ordinary` counts them.
//!
//! [`split`] cuts the text into pieces, [`vocab`] knows the pieces that are one token, [`merge`] breaks up the
//! others, the long ones with the help of [`longest`]. A [`Tokenizer`] adds ids and special tokens, for shipped encodings
//! and for those of a user's [`file`](Tokenizer::read).

mod compile;
mod file;
mod longest;
mod merge;
mod merge_list;
mod patterns;
mod special;
mod split;
mod token_list;
mod tokenizer;
mod unicode;
mod vocab;

use std::fmt;
use std::sync::OnceLock;

pub use file::MAX_FILE;
pub use merge::Scratch;
pub use special::{Allowed, Special, first_of};

use crate::error::{Error, Result};
pub use split::Pattern;
pub use tokenizer::{Tokenizer, TokenizerScratch};
use vocab::{NONE, Vocabulary};

/// The longest text in bytes: positions are 32-bit while a piece is merged.
pub const MAX_TEXT: usize = u32::MAX as usize;

/// A pattern and a vocabulary under a name.
pub struct Encoding {
    name: &'static str,
    pattern: Pattern,
    vocabulary: Vocabulary,
}

/// What is needed to make a shipped encoding, and the one all threads share once it is made.
struct Shipped {
    name: &'static str,
    pattern: Pattern,
    blob: &'static [u8],
    encoding: OnceLock<Result<Encoding>>,
}

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
        Self { name: "loaded", pattern, vocabulary }
    }

    /// The shipped encoding of that name. The first call for each expands its vocabulary (about 35 ms).
    pub fn by_name(name: &str) -> Result<&'static Self> {
        let shipped = find(name)?;
        let make = || {
            let vocabulary = Vocabulary::unpack(shipped.blob)?;
            Ok(Self { name: shipped.name, pattern: shipped.pattern, vocabulary })
        };
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
        let mut total = 0;
        self.pieces(text.as_bytes(), |text, start, end, rank| {
            if rank == NONE {
                merge::merge(&self.vocabulary, text, (start, end), scratch, |_, _| total += 1);
            } else {
                total += 1;
            }
        });
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
        self.pieces(text.as_bytes(), |text, start, end, rank| {
            if rank != NONE {
                each(id(rank));
            } else if let Some(token) = whole(&text[start..end]) {
                each(token);
            } else {
                merge::merge(&self.vocabulary, text, (start, end), scratch, |start, end| {
                    each(id(self.vocabulary.rank(text, start, end)));
                });
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

    /// The bytes of the token of that rank, if there is one.
    pub fn token(&self, rank: u32) -> Option<&[u8]> {
        self.vocabulary.token(rank)
    }

    /// Calls `each` with the bounds of every piece and its rank, `NONE` where it is more than one token.
    #[inline]
    fn pieces(&self, text: &[u8], mut each: impl FnMut(&[u8], usize, usize, u32)) {
        assert!(text.len() <= MAX_TEXT, "the text is longer than MAX_TEXT");
        let mut start = 0;
        while start < text.len() {
            let end = self.pattern.piece_end(text, start);
            each(text, start, end, self.vocabulary.rank(text, start, end));
            start = end;
        }
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
