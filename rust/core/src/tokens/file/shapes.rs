//! The parts of a `tokenizer.json` that matter, read without ever holding more than a few times the file.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{MAX_MERGES, MAX_SPECIALS, MAX_TOKENS};

#[derive(Deserialize)]
pub(super) struct File {
    pub(super) model: Model,
    #[serde(default)]
    pub(super) added_tokens: Option<Few<Added, MAX_SPECIALS>>,
    #[serde(default)]
    pub(super) normalizer: Option<Step>,
    #[serde(default)]
    pub(super) pre_tokenizer: Option<Step>,
}

#[derive(Deserialize)]
pub(super) struct Model {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) dropout: Option<f64>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) byte_fallback: Option<bool>,
    #[serde(default)]
    pub(super) ignore_merges: Option<bool>,
    #[serde(default)]
    pub(super) vocab: Option<Vocab>,
    #[serde(default)]
    pub(super) merges: Option<Merges>,
}

#[allow(clippy::struct_excessive_bools)] // as the file has them
#[derive(Deserialize)]
pub(super) struct Added {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: Option<bool>,
    #[serde(default)]
    pub(super) special: bool,
}

/// A normalizer or a pre-tokenizer: its type and the options of those types that can be loaded.
#[derive(Deserialize)]
pub(super) struct Step {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) pretokenizers: Option<Few<Step, 8>>,
    #[serde(default)]
    pub(super) normalizers: Option<Few<Step, 8>>,
    #[serde(default)]
    pub(super) pattern: Option<SplitPattern>,
    #[serde(default)]
    pub(super) behavior: Option<String>,
    #[serde(default)]
    pub(super) invert: Option<bool>,
    #[serde(default)]
    pub(super) add_prefix_space: Option<bool>,
    #[serde(default)]
    pub(super) use_regex: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct SplitPattern {
    #[serde(default, rename = "Regex")]
    pub(super) regex: Option<String>,
}

/// A list of at most `N`.
pub(super) struct Few<T, const N: usize>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<T, N> {
            type Value = Few<T, N>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    if list.len() == N {
                        return Err(A::Error::custom(format!("a list has more than {N} entries, which is the limit")));
                    }
                    list.push(item);
                }
                Ok(Few(list))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// Many short texts in one, with where each ends.
#[derive(Default)]
pub(super) struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start as usize..*end as usize])
    }
}

/// Appends the string that comes to the texts.
struct Into<'a>(&'a mut Texts);

impl<'de> DeserializeSeed<'de> for Into<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Into<'_> {
    type Value = ();
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }
    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push(text);
        Ok(())
    }
}

/// Tokens and their ids; a list in their place, as Unigram has it, is passed over.
#[derive(Default)]
pub(super) struct Vocab {
    pub(super) tokens: Texts,
    pub(super) ids: Vec<u32>,
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tokens;
        impl<'de> Visitor<'de> for Tokens {
            type Value = Vocab;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a vocabulary")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vocab, A::Error> {
                let mut vocab = Vocab::default();
                while entries.next_key_seed(Into(&mut vocab.tokens))?.is_some() {
                    if vocab.ids.len() == MAX_TOKENS {
                        return Err(A::Error::custom(format!(
                            "it has more than {MAX_TOKENS} tokens, which is the limit"
                        )));
                    }
                    vocab.ids.push(entries.next_value()?);
                }
                Ok(vocab)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vocab, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Vocab::default())
            }
        }
        deserializer.deserialize_any(Tokens)
    }
}

/// Pairs of tokens, as `"a b"` or `["a", "b"]`: the two sides one after the other.
#[derive(Default)]
pub(super) struct Merges(pub(super) Texts);

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Merges;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of merges")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Merges, A::Error> {
                let mut merges = Merges::default();
                while items.next_element_seed(Pair(&mut merges.0))?.is_some() {
                    if merges.0.ends.len() > 2 * MAX_MERGES {
                        return Err(A::Error::custom(format!(
                            "it has more than {MAX_MERGES} merges, which is the limit"
                        )));
                    }
                }
                Ok(merges)
            }
        }
        deserializer.deserialize_seq(Pairs)
    }
}

/// Appends both sides of a merge to the texts.
struct Pair<'a>(&'a mut Texts);

const TWO: &str = "a merge is not of two tokens";

impl<'de> DeserializeSeed<'de> for Pair<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = ();
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a merge")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let sides = text.split_once(' ').filter(|(_, right)| !right.contains(' '));
        let (left, right) = sides.ok_or_else(|| E::custom(TWO))?;
        self.0.push(left);
        self.0.push(right);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sides: A) -> Result<(), A::Error> {
        for _ in 0..2 {
            sides.next_element_seed(Into(self.0))?.ok_or_else(|| A::Error::custom(TWO))?;
        }
        sides.next_element::<IgnoredAny>()?.map_or(Ok(()), |_| Err(A::Error::custom(TWO)))
    }
}
