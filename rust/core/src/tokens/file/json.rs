//! `tokenizer.json` of Hugging Face's `tokenizers`: byte-level BPE, and a clear word on everything else.

use std::collections::{HashMap, HashSet};

use serde_json::error::Category;

use super::alphabet::decode;
use super::shapes::{Added, File, Merges, Model, Step, Vocab};
use super::{Draft, MAX_ID, refuse, singles};
use crate::error::{Error, Result};
use crate::tokens::Pattern;
use crate::tokens::merge_list::MergeList;
use crate::tokens::special::Special;
use crate::tokens::token_list::TokenList;

pub(super) fn read(file: &[u8]) -> Result<Draft> {
    let File { model, added_tokens, normalizer, pre_tokenizer } =
        serde_json::from_slice(file).map_err(|error| not_json(&error))?;
    check_model(&model)?;
    let pattern = pattern(pre_tokenizer.as_ref())?;
    let nfc = is_nfc(normalizer.as_ref())?;
    let missing = |what| refuse(format!("its model has no {what}"));
    let vocab = Keys::of(&model.vocab.ok_or_else(|| missing("vocab"))?)?;
    let singles = singles(&vocab.tokens)?;
    let merges = vocab.merges(&model.merges.ok_or_else(|| missing("merges"))?, &singles)?;
    let added = added_tokens.map_or_else(Vec::new, |few| few.0);
    let mut specials = Vec::with_capacity(added.len());
    let mut highest = None;
    for added in added {
        let special = vocab.special(added, highest)?;
        highest = highest.max(Some(special.id));
        specials.push(special);
    }
    let unspelt = vocab.unspelt.into_iter().map(|(text, id)| (id, text.into_bytes().into())).collect();
    Ok(Draft {
        pattern,
        tokens: vocab.tokens,
        unspelt,
        merges,
        whole_first: model.ignore_merges == Some(true),
        specials,
        nfc,
    })
}

/// What serde says of the file, without its words on values, which quote them.
fn not_json(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let quotes = error.classify() == Category::Data && text.starts_with("invalid");
    if quotes {
        refuse(format!("a value has the wrong type at line {} column {}", error.line(), error.column()))
    } else {
        refuse(format!("it is not the JSON of a tokenizer: {text}"))
    }
}

fn check_model(model: &Model) -> Result<()> {
    let unsupported = |what: &str| Err(refuse(format!("{what} is not supported, only byte-level BPE is")));
    let is_set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    match model.kind.as_deref() {
        None | Some("BPE") => {}
        Some(kind) => return unsupported(&format!("a model of type {}", short(kind))),
    }
    if model.byte_fallback == Some(true) {
        return unsupported("byte_fallback");
    }
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return unsupported("dropout");
    }
    if is_set(&model.continuing_subword_prefix) || is_set(&model.end_of_word_suffix) {
        return unsupported("continuing_subword_prefix or end_of_word_suffix");
    }
    Ok(())
}

/// The pattern of a pre-tokenizer: `ByteLevel` with its own regex, or one `Split` by a known one and `ByteLevel` without.
fn pattern(pre_tokenizer: Option<&Step>) -> Result<Pattern> {
    let forms = "supported are ByteLevel, and a Sequence of Split by a regex and ByteLevel without one";
    let unsupported = |what: String| Err(refuse(format!("{what}; {forms}")));
    let Some(step) = pre_tokenizer else { return unsupported("it has no pre_tokenizer".to_owned()) };
    let steps = match &step.pretokenizers {
        Some(steps) if step.kind == "Sequence" => steps.0.iter().collect(),
        _ => vec![step],
    };
    if let Some(other) = steps.iter().find(|step| step.kind != "Split" && step.kind != "ByteLevel") {
        return unsupported(format!("the pre_tokenizer {} is not supported", short(&other.kind)));
    }
    if steps.iter().any(|step| step.add_prefix_space == Some(true)) {
        return unsupported("a pre_tokenizer with add_prefix_space is not supported".to_owned());
    }
    let own_regex = |step: &Step| step.use_regex != Some(false);
    match steps.as_slice() {
        [bytes] if bytes.kind == "ByteLevel" && own_regex(bytes) => Ok(Pattern::Gpt2),
        [split, bytes] if split.kind == "Split" && bytes.kind == "ByteLevel" && !own_regex(bytes) => {
            // Both leave each match a piece of its own; that nothing lies between the matches is in every known pattern.
            let isolates = match split.behavior.as_deref() {
                Some("Isolated") => split.invert != Some(true),
                Some("Removed") => split.invert == Some(true),
                _ => false,
            };
            match split.pattern.as_ref().and_then(|pattern| pattern.regex.as_deref()) {
                Some(regex) if isolates => match Pattern::from_regex(regex)? {
                    // What is "at most three digits" to tiktoken is "any number of them" to Oniguruma, which tokenizers runs.
                    Pattern::Cl100k => unsupported(r"a Split by \p{N}{1,3}+ is not supported".to_owned()),
                    pattern => Ok(pattern),
                },
                _ => unsupported("this Split is not supported".to_owned()),
            }
        }
        _ => unsupported("this order of pre_tokenizers is not supported".to_owned()),
    }
}

fn is_nfc(normalizer: Option<&Step>) -> Result<bool> {
    let Some(step) = normalizer else { return Ok(false) };
    match &step.normalizers {
        Some(steps) if step.kind == "Sequence" => {
            steps.0.iter().try_fold(false, |nfc, step| Ok(nfc | is_nfc(Some(step))?))
        }
        _ if step.kind == "NFC" => Ok(true),
        _ => Err(refuse(format!("the normalizer {} is not supported, only NFC is", short(&step.kind)))),
    }
}

/// A vocabulary by what its keys spell.
struct Keys {
    tokens: TokenList,
    /// Keys with characters that stand for no byte: merges never make them.
    unspelt: HashMap<String, u32>,
}

impl Keys {
    fn of(vocab: &Vocab) -> Result<Self> {
        let mut keys = Self { tokens: TokenList::default(), unspelt: HashMap::new() };
        let mut bytes = Vec::new();
        for (text, id) in vocab.tokens.iter().zip(&vocab.ids) {
            bytes.clear();
            if decode(text, &mut bytes) {
                keys.tokens.add(&bytes, *id)?;
            } else if keys.unspelt.insert(text.to_owned(), *id).is_some() {
                return Err(refuse(format!("its vocabulary has the token of id {id} twice")));
            }
        }
        let mut ids = HashSet::new();
        match keys.unspelt.values().find(|id| **id > MAX_ID || keys.tokens.find_id(**id).is_some() || !ids.insert(**id))
        {
            Some(id) => Err(refuse(format!("the id {id} is above {MAX_ID}, or that of two tokens"))),
            None => Ok(keys),
        }
    }

    fn merges(&self, Merges(texts): &Merges, singles: &[u32; 256]) -> Result<MergeList> {
        let mut list = MergeList::new(singles);
        let mut sides = texts.iter();
        let (mut left_bytes, mut right_bytes) = (Vec::new(), Vec::new());
        let mut rank = 0;
        while let (Some(left), Some(right)) = (sides.next(), sides.next()) {
            left_bytes.clear();
            right_bytes.clear();
            let unknown =
                || refuse(format!("merge {rank} is of tokens that the vocabulary lacks, or makes such a one"));
            if decode(left, &mut left_bytes) && decode(right, &mut right_bytes) {
                let pair = self.tokens.find(&left_bytes).zip(self.tokens.find(&right_bytes)).ok_or_else(unknown)?;
                left_bytes.extend_from_slice(&right_bytes);
                let made = self.tokens.find(&left_bytes).ok_or_else(unknown)?;
                if !list.add(pair, rank, made) {
                    return Err(refuse(format!("merge {rank} is in the list twice")));
                }
            } else if !self.unspelt.contains_key(&[left, right].concat()) {
                return Err(unknown());
            }
            rank += 1;
        }
        Ok(list)
    }

    /// A special or added token. Whatever the file says, `tokenizers` gives it the id it has in the vocabulary, or else the
    /// next one: a file that says otherwise is refused. `highest` is the highest id of those before it.
    fn special(&self, added: Added, highest: Option<u32>) -> Result<Special> {
        let Added { id, content, single_word, lstrip, rstrip, normalized, special } = added;
        if single_word || lstrip || rstrip {
            return Err(refuse(format!("the added token of id {id} has single_word, lstrip or rstrip: not supported")));
        }
        if content.is_empty() {
            return Err(refuse(format!("the added token of id {id} has no text")));
        }
        let mut bytes = Vec::new();
        let spelt = decode(&content, &mut bytes).then(|| self.tokens.find(&bytes).map(|place| self.tokens.id(place)));
        let known = spelt.flatten().or_else(|| self.unspelt.get(&content).copied());
        let size = (self.tokens.len() + self.unspelt.len()) as u32;
        let given =
            known.unwrap_or_else(|| highest.filter(|highest| *highest >= size).map_or(size, |highest| highest + 1));
        if given != id {
            return Err(refuse(format!("the added token of id {id} would get the id {given} in tokenizers")));
        }
        Ok(Special { text: content, id, special, normalized: normalized.unwrap_or(!special) })
    }
}

/// A name from the file, short enough for an error.
fn short(name: &str) -> String {
    name.chars().take(40).collect()
}
