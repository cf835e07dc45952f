//! tokens: how many tokens a text has, exactly as tiktoken's `encode_ordinary` counts them.
//!
//! [`split`] cuts the text into pieces, [`vocab`] knows the pieces that are one token, [`merge`] breaks up the
//! others, the long ones with the help of [`longest`]. [`meter`], [`prefix`] and [`truncate`] count texts that grow, parts
//! of texts, and what fits a limit.

mod characters;
mod endings;
mod growth;
mod interval;
mod longest;
mod merge;
mod meter;
mod monotony;
mod open;
mod prefix;
mod run;
mod split;
mod truncate;
mod unicode;
mod view;
mod vocab;

use std::fmt;
use std::sync::OnceLock;

pub use characters::Characters;
pub use merge::Scratch;
pub use meter::Meter;
pub use prefix::Prefix;
pub use truncate::{Cut, Keep};

use crate::error::{Error, Result};
use endings::Endings;
use split::Pattern;
use vocab::{NONE, Vocabulary};

/// The longest text in bytes: positions are 32-bit while a piece is merged.
pub const MAX_TEXT: usize = u32::MAX as usize;

/// A pattern and a vocabulary under a name.
pub struct Encoding {
    name: &'static str,
    pattern: Pattern,
    vocabulary: Vocabulary,
    endings: OnceLock<Endings>,
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

impl Encoding {
    /// The names of the shipped encodings.
    pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
        SHIPPED.iter().map(|shipped| shipped.name)
    }

    /// The shipped encoding of that name. The first call for each expands its vocabulary (about 35 ms).
    pub fn by_name(name: &str) -> Result<&'static Self> {
        let shipped = find(name)?;
        let make = || {
            let vocabulary = Vocabulary::unpack(shipped.blob)?;
            Ok(Self { name: shipped.name, pattern: shipped.pattern, vocabulary, endings: OnceLock::new() })
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
        let (mut tokens, mut scratch) = (Vec::new(), Scratch::default());
        self.pieces(text.as_bytes(), |text, start, end, rank| {
            if rank == NONE {
                merge::merge(&self.vocabulary, text, (start, end), &mut scratch, |start, end| {
                    tokens.push(self.vocabulary.rank(text, start, end));
                });
            } else {
                tokens.push(rank);
            }
        });
        tokens
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

    /// Whether what [`Meter`], [`Prefix`] and [`Encoding::truncate`] need for long pieces is there; it takes about 20 ms.
    pub fn is_indexed(&self) -> bool {
        self.endings.get().is_some()
    }

    /// The index of the tokens by their ends, made when it is first asked for.
    fn endings(&self) -> &Endings {
        self.endings.get_or_init(|| Endings::new(&self.vocabulary))
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
    SHIPPED.iter().find(|shipped| shipped.name == name).ok_or_else(|| Error::UnknownName {
        kind: "encoding",
        name: name.to_owned(),
        known: Encoding::names().collect::<Vec<_>>().join(", "),
    })
}
