//! Tokenizers from files: `.tiktoken` ranks, or the byte-level BPE of a `tokenizer.json`.
//!
//! A file is hostile until it is read: what it may hold is limited below, and all that is wrong with it is a typed error.

mod alphabet;
mod json;
mod shapes;
mod tiktoken;

use std::collections::{HashMap, HashSet};

use super::compile::compile;
use super::merge_list::MergeList;
use super::special::{Special, Specials};
use super::token_list::TokenList;
use super::tokenizer::{Engine, Loaded, Merger, Tokenizer};
use super::{Encoding, Pattern};
use crate::error::{Error, Result};

/// The longest file in bytes. The largest that is published has 34 million.
pub const MAX_FILE: usize = 64 << 20;
/// The most tokens.
pub(super) const MAX_TOKENS: usize = 2_000_000;
/// The most bytes in a token.
pub(super) const MAX_TOKEN_LEN: usize = 512;
/// The highest id.
pub(super) const MAX_ID: u32 = (1 << 23) - 1;
/// The most pairs that merge.
const MAX_MERGES: usize = 8_000_000;
/// The most special tokens, and their most bytes together.
const MAX_SPECIALS: usize = 16_384;
const MAX_SPECIAL_BYTES: usize = 1 << 20;

impl Tokenizer {
    /// Reads a file: JSON where it begins with a brace, else `.tiktoken`, which needs a pattern and brings no special
    /// tokens. A `tokenizer.json` has both of its own, and is refused with another's.
    pub fn read(name: &str, file: &[u8], pattern: Option<Pattern>, specials: Vec<(String, u32)>) -> Result<Self> {
        if file.len() > MAX_FILE {
            return Err(refuse(format!("it has more than {MAX_FILE} bytes, which is the limit")));
        }
        let is_json = file.trim_ascii_start().first() == Some(&b'{');
        let draft = match (is_json, pattern) {
            (true, None) if specials.is_empty() => json::read(file)?,
            (true, _) => {
                return Err(refuse(
                    "a tokenizer.json has its own pattern and special tokens: leave these arguments out",
                ));
            }
            (false, Some(pattern)) => tiktoken::read(file, pattern, specials)?,
            (false, None) => {
                let known = Pattern::ALL.map(Pattern::name).join(", ");
                return Err(refuse(format!(
                    "a file of ranks does not say how text is cut: give a pattern ({known}, or its regex)"
                )));
            }
        };
        draft.finish(name)
    }
}

/// What a file says, before there is a tokenizer of it.
struct Draft {
    pattern: Pattern,
    tokens: TokenList,
    /// Tokens that no text has, by id.
    unspelt: HashMap<u32, Box<[u8]>>,
    merges: MergeList,
    /// A piece that is a token is that token, whether merging makes it or not.
    whole_first: bool,
    specials: Vec<Special>,
    nfc: bool,
}

impl Draft {
    fn finish(self, name: &str) -> Result<Tokenizer> {
        let Self { pattern, tokens, unspelt, merges, whole_first, specials, nfc } = self;
        check_specials(&specials, &tokens, &unspelt)?;
        let compiled = compile(&tokens, &merges);
        let unmade = match &compiled {
            Some(compiled) => compiled.unmade.clone(),
            None => (0..tokens.len() as u32).collect(),
        };
        let mut whole = HashMap::new();
        if whole_first {
            whole.extend(unmade.into_iter().map(|place| (Box::from(tokens.token(place)), tokens.id(place))));
        }
        let merger = match compiled {
            Some(compiled) => {
                let ids = compiled.places.iter().map(|place| tokens.id(*place)).collect();
                Merger::Fast(Box::new(Encoding::loaded(pattern, compiled.vocabulary)), ids)
            }
            None => Merger::List(pattern, merges),
        };
        let engine = Engine::Loaded(Box::new(Loaded { tokens, merger, whole, unspelt }));
        Ok(Tokenizer { name: name.to_owned(), engine, specials: Specials::new(specials), nfc })
    }
}

/// The places of the 256 single bytes.
fn singles(tokens: &TokenList) -> Result<[u32; 256]> {
    let mut places = [0; 256];
    for byte in 0..=255_u8 {
        places[usize::from(byte)] = tokens
            .find(&[byte])
            .ok_or_else(|| refuse(format!("no token is the single byte 0x{byte:02x}: this is no byte-level BPE")))?;
    }
    Ok(places)
}

fn check_specials(specials: &[Special], tokens: &TokenList, unspelt: &HashMap<u32, Box<[u8]>>) -> Result<()> {
    if specials.len() > MAX_SPECIALS
        || specials.iter().map(|special| special.text.len()).sum::<usize>() > MAX_SPECIAL_BYTES
    {
        return Err(refuse(format!(
            "it has more than {MAX_SPECIALS} special and added tokens or {MAX_SPECIAL_BYTES} bytes of them, which are the limits"
        )));
    }
    let (mut ids, mut texts) = (HashSet::new(), HashSet::new());
    for special in specials {
        let Special { text, id, .. } = special;
        if text.is_empty() || *id > MAX_ID {
            return Err(refuse(format!("the special token of id {id} has no text, or its id is above {MAX_ID}")));
        }
        let spelt = tokens.find_id(*id).map(|place| tokens.token(place));
        let other = spelt.or_else(|| unspelt.get(id).map(|token| &**token));
        if other.is_some_and(|other| other != text.as_bytes()) || !ids.insert(*id) {
            return Err(refuse(format!("the id {id} of a special token is that of another token too")));
        }
        if !texts.insert(text) {
            return Err(refuse(format!("the special token of id {id} has the text of another")));
        }
    }
    Ok(())
}

/// The error of a file that cannot be loaded.
pub(super) fn refuse(what: impl Into<String>) -> Error {
    Error::TokenizerFile { what: what.into() }
}
