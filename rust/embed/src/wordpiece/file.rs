//! Reads a `vocab.txt` or a `tokenizer.json`. A file is hostile until it is read: sizes are limited, and all that is wrong or not
//! supported is a typed error that quotes no more of it than a short name.

use std::collections::BTreeMap;
use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use sparecall_core::error::{Error, Result};

use super::trie::Trie;
use super::{Options, WordPiece};

/// The longest file in bytes. Those of the multilingual models have three million.
pub const MAX_FILE: usize = 32 << 20;
const MAX_TOKENS: usize = 2_000_000;
/// The most bytes of a token: what a search for the longest one may have to read.
const MAX_TOKEN_LEN: usize = 512;
const MAX_ID: u32 = (1 << 23) - 1;
const MAX_CHARACTERS: usize = 1000;
const MAX_SPECIALS: usize = 1024;
/// What stands before a token that continues a word.
const PREFIX: &str = "##";

#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    added_tokens: Option<Vec<Added>>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<Kind>,
    post_processor: Option<PostProcessor>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    max_input_chars_per_word: Option<usize>,
    vocab: Vocab,
}

/// Tokens and their ids; none where it is the list of another kind of model, which is refused by its name.
struct Vocab(BTreeMap<String, u32>);

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(VocabVisitor)
    }
}

struct VocabVisitor;

impl<'de> Visitor<'de> for VocabVisitor {
    type Value = Vocab;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("tokens and their ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Vocab, A::Error> {
        let mut vocab = BTreeMap::new();
        while let Some((token, id)) = map.next_entry()? {
            vocab.insert(token, id);
        }
        Ok(Vocab(vocab))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Vocab, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Vocab(BTreeMap::new()))
    }
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    clean_text: Option<bool>,
    handle_chinese_chars: Option<bool>,
    strip_accents: Option<bool>,
    lowercase: Option<bool>,
}

/// Both forms that put `[CLS]` before and `[SEP]` after a text.
#[derive(Deserialize)]
struct PostProcessor {
    #[serde(rename = "type")]
    kind: String,
    /// Of `BertProcessing`: the token and its id.
    cls: Option<(String, u32)>,
    sep: Option<(String, u32)>,
    /// Of `TemplateProcessing`.
    single: Option<Vec<Piece>>,
    special_tokens: Option<BTreeMap<String, Ids>>,
}

#[derive(Deserialize)]
enum Piece {
    SpecialToken { id: String },
    Sequence { id: String },
}

#[derive(Deserialize)]
struct Ids {
    ids: Vec<u32>,
}

/// What a file says, before there is a tokenizer of it.
struct Draft {
    options: Options,
    vocab: BTreeMap<String, u32>,
    unknown: String,
    classify: u32,
    separate: u32,
    max_characters: usize,
    specials: Vec<(String, u32)>,
}

impl WordPiece {
    /// Reads a `tokenizer.json`.
    pub fn from_json(file: &[u8]) -> Result<Self> {
        check_size(file)?;
        let file: File = serde_json::from_slice(file).map_err(|error| not_json(&error))?;
        let model = file.model;
        check_model(&model)?;
        let options = options(file.normalizer.as_ref())?;
        match file.pre_tokenizer {
            Some(Kind { kind }) if kind == "BertPreTokenizer" => {}
            other => {
                let kind = other.map_or_else(|| "none".to_owned(), |other| short(&other.kind));
                return Err(refuse(format!("the pre_tokenizer {kind} is not supported, only BertPreTokenizer is")));
            }
        }
        let Vocab(vocab) = model.vocab;
        let (classify, separate) = ends(file.post_processor.as_ref())?;
        Draft {
            options,
            specials: specials(file.added_tokens.unwrap_or_default(), &vocab)?,
            vocab,
            unknown: model.unk_token.unwrap_or_else(|| "[UNK]".to_owned()),
            classify,
            separate,
            max_characters: model.max_input_chars_per_word.unwrap_or(100),
        }
        .finish()
    }

    /// Reads a `vocab.txt`: a token a line, its id the number of the line. `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]` and `[MASK]` are
    /// special.
    pub fn from_vocab(file: &[u8], options: Options) -> Result<Self> {
        check_size(file)?;
        let text = std::str::from_utf8(file).map_err(|_| refuse("it is neither JSON nor a list of tokens in UTF-8"))?;
        let vocab: BTreeMap<String, u32> =
            text.lines().zip(0..).map(|(line, id)| (line.trim_end().to_owned(), id)).collect();
        let id =
            |token: &str| vocab.get(token).copied().ok_or_else(|| refuse(format!("its vocabulary has no {token}")));
        let (classify, separate) = (id("[CLS]")?, id("[SEP]")?);
        let specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
            .into_iter()
            .filter_map(|token| Some((token.to_owned(), *vocab.get(token)?)))
            .collect();
        let unknown = "[UNK]".to_owned();
        Draft { options, vocab, unknown, classify, separate, max_characters: 100, specials }.finish()
    }
}

impl Draft {
    fn finish(self) -> Result<WordPiece> {
        let Self { options, vocab, unknown, classify, separate, max_characters, specials } = self;
        if vocab.len() > MAX_TOKENS {
            return Err(refuse(format!("it has {} tokens; at most {MAX_TOKENS} are supported", vocab.len())));
        }
        if !(1..=MAX_CHARACTERS).contains(&max_characters) {
            return Err(refuse(format!(
                "its max_input_chars_per_word is {max_characters}; 1 to {MAX_CHARACTERS} are supported"
            )));
        }
        if vocab.keys().any(|token| token.len() > MAX_TOKEN_LEN) {
            return Err(refuse(format!("it has a token of more than {MAX_TOKEN_LEN} bytes, which is the limit")));
        }
        let all = vocab.values().chain(specials.iter().map(|(_, id)| id)).chain([&classify, &separate]);
        let highest = all.copied().max().unwrap_or(0);
        if highest > MAX_ID {
            return Err(refuse(format!("it has the id {highest}; at most {MAX_ID} is supported")));
        }
        let id = *vocab.get(&unknown).ok_or_else(|| refuse("its vocabulary has no token for unknown words"))?;
        // `#` is punctuation, so no word but `#` alone begins with the prefix: tokens with it only continue words.
        let (mut first, mut further) = (Vec::new(), Vec::new());
        for (token, id) in &vocab {
            match token.strip_prefix(PREFIX) {
                Some(rest) if !rest.is_empty() => further.push((rest.as_bytes(), *id)),
                None if !token.is_empty() => first.push((token.as_bytes(), *id)),
                _ => {}
            }
        }
        Ok(WordPiece {
            options,
            first: Trie::new(&first),
            further: Trie::new(&further),
            unknown: id,
            classify,
            separate,
            max_characters,
            specials: finder(specials)?,
            tokens: vocab.len(),
            highest,
        })
    }
}

fn finder(specials: Vec<(String, u32)>) -> Result<Option<(AhoCorasick, Vec<u32>)>> {
    if specials.is_empty() {
        return Ok(None);
    }
    let (texts, ids): (Vec<String>, Vec<u32>) = specials.into_iter().unzip();
    if texts.len() > MAX_SPECIALS || texts.iter().any(|text| text.len() > MAX_TOKEN_LEN) {
        return Err(refuse(format!(
            "it has more than {MAX_SPECIALS} added tokens, or one of more than {MAX_TOKEN_LEN} bytes"
        )));
    }
    let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts);
    Ok(Some((finder.map_err(|_| refuse("its added tokens are too many or too long"))?, ids)))
}

fn check_size(file: &[u8]) -> Result<()> {
    if file.len() > MAX_FILE {
        return Err(refuse(format!("it has {} bytes; at most {MAX_FILE} are read", file.len())));
    }
    Ok(())
}

fn check_model(model: &Model) -> Result<()> {
    match model.kind.as_deref() {
        None | Some("WordPiece") => {}
        Some(kind) => {
            return Err(refuse(format!("a model of type {} is not supported, only WordPiece is", short(kind))));
        }
    }
    match model.continuing_subword_prefix.as_deref() {
        None | Some(PREFIX) => Ok(()),
        Some(prefix) => Err(refuse(format!(
            "the continuing_subword_prefix {:?} is not supported, only {PREFIX:?} is",
            short(prefix)
        ))),
    }
}

fn options(normalizer: Option<&Normalizer>) -> Result<Options> {
    let none = Options { clean_text: false, handle_chinese_chars: false, strip_accents: Some(false), lowercase: false };
    let Some(normalizer) = normalizer else { return Ok(none) };
    match normalizer.kind.as_str() {
        "BertNormalizer" => Ok(Options {
            clean_text: normalizer.clean_text.unwrap_or(true),
            handle_chinese_chars: normalizer.handle_chinese_chars.unwrap_or(true),
            strip_accents: normalizer.strip_accents,
            lowercase: normalizer.lowercase.unwrap_or(true),
        }),
        "Lowercase" => Ok(Options { lowercase: true, ..none }),
        kind => Err(refuse(format!(
            "the normalizer {} is not supported, only BertNormalizer and Lowercase are",
            short(kind)
        ))),
    }
}

/// The ids that stand before and after a text.
fn ends(processor: Option<&PostProcessor>) -> Result<(u32, u32)> {
    let unsupported =
        || refuse("its post_processor is not supported: it must put [CLS] before a text and [SEP] after it");
    let processor = processor.ok_or_else(unsupported)?;
    match processor.kind.as_str() {
        "BertProcessing" => {
            let (cls, sep) = processor.cls.as_ref().zip(processor.sep.as_ref()).ok_or_else(unsupported)?;
            Ok((cls.1, sep.1))
        }
        "TemplateProcessing" => {
            let Some(
                [Piece::SpecialToken { id: before }, Piece::Sequence { id: text }, Piece::SpecialToken { id: after }],
            ) = processor.single.as_deref()
            else {
                return Err(unsupported());
            };
            let id = |name: &String| match processor.special_tokens.as_ref()?.get(name)?.ids.as_slice() {
                [id] => Some(*id),
                _ => None,
            };
            id(before).zip(id(after)).filter(|_| text == "A").ok_or_else(unsupported)
        }
        _ => Err(unsupported()),
    }
}

/// Tokens that are found in a text before it is normalised. Those with `lstrip` or `rstrip` only take white space along, which is
/// no token anyway.
fn specials(added: Vec<Added>, vocab: &BTreeMap<String, u32>) -> Result<Vec<(String, u32)>> {
    let mut found = Vec::new();
    for Added { id, content, single_word, normalized, special } in added {
        if content.is_empty() {
            continue;
        }
        if single_word || normalized.unwrap_or(!special) {
            return Err(refuse(format!("the added token of id {id} is single_word or normalized: not supported")));
        }
        if vocab.get(&content).is_some_and(|known| *known != id) {
            return Err(refuse(format!("the added token of id {id} has another id in the vocabulary")));
        }
        found.push((content, id));
    }
    Ok(found)
}

/// What serde says of the file, without its words on values, which quote them.
fn not_json(error: &serde_json::Error) -> Error {
    if error.classify() == Category::Data {
        refuse(format!("a value is missing or has the wrong type at line {} column {}", error.line(), error.column()))
    } else {
        refuse(format!("it is not JSON: {error}"))
    }
}

/// A name from the file, short enough for an error.
fn short(name: &str) -> String {
    name.chars().take(40).collect()
}

fn refuse(what: impl Into<String>) -> Error {
    Error::TokenizerFile { what: what.into() }
}
