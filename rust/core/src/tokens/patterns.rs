//! The patterns by name and by the regex texts under which they are published.
//!
//! A text is recognised letter by letter: two texts of the same meaning are two rows. That each row means what its
//! pattern does is tested against a regex engine, in [`super::split`].

use super::split::Pattern;
use crate::error::{Error, Result};

/// How much of an unknown text an error repeats.
const SHOWN: usize = 200;

impl Pattern {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::O200k, Self::Cl100k, Self::Llama3, Self::Qwen2, Self::Qwen35, Self::Gpt2, Self::Tekken];

    /// The name it goes by where a user says which.
    pub fn name(self) -> &'static str {
        match self {
            Self::O200k => "o200k",
            Self::Cl100k => "cl100k",
            Self::Llama3 => "llama3",
            Self::Qwen2 => "qwen2",
            Self::Qwen35 => "qwen3.5",
            Self::Gpt2 => "gpt2",
            Self::Tekken => "tekken",
        }
    }

    /// The pattern of that name, or of that regex text.
    pub fn find(name_or_regex: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|pattern| pattern.name() == name_or_regex);
        named.map_or_else(|| Self::from_regex(name_or_regex), Ok)
    }

    /// The pattern that is published as this regex, letter by letter.
    pub fn from_regex(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|pattern| pattern.texts().contains(&text)).ok_or_else(|| {
            let shown: String = text.chars().take(SHOWN).collect();
            let known = Self::ALL.map(Self::name).join(", ");
            Error::UnknownName {
                kind: "pattern",
                name: if shown.len() < text.len() { shown + ".." } else { shown },
                known: format!("{known}, or the text of one of these exactly as it is published"),
            }
        })
    }

    /// The texts it is published as; the first is that of its own tokenizer.
    pub(super) fn texts(self) -> &'static [&'static str] {
        match self {
            Self::O200k => &[concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            )],
            Self::Cl100k => &[
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
            ],
            Self::Llama3 => &[
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ],
            Self::Qwen2 => &[
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
            ],
            Self::Qwen35 => &[
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ],
            Self::Gpt2 => &[
                r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
                r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
                r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
                r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
            ],
            Self::Tekken => &[concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
                r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
                r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            )],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_by_its_name_and_by_each_of_its_texts() {
        for pattern in Pattern::ALL {
            assert_eq!(Pattern::find(pattern.name()), Ok(pattern));
            for text in pattern.texts() {
                assert_eq!(Pattern::find(text), Ok(pattern));
                assert!(Pattern::from_regex(&text[1..]).is_err());
            }
        }
    }

    #[test]
    fn an_unknown_pattern_is_an_error_that_lists_the_known_and_stays_short() {
        let error = Pattern::find(&r"\p{Han}+|".repeat(1000)).expect_err("not published");
        let text = error.to_string();
        assert!(text.contains("o200k, cl100k, llama3, qwen2, qwen3.5, gpt2, tekken"), "{text}");
        assert!(text.len() < 500, "{text}");
    }
}
