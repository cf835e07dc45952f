//! What of a text a decision needs, made once when the text is stored: its words, numbers and digests, as bytes too.

use super::words::{MAX_WORDS, Split, Word};
use crate::error::{Error, Result};

const VERSION: u8 = 2;
const HEAD: usize = 1 + 8 + 8 + 4 + 1 + 1 + 1;
const WORD: usize = 4 + 4 + 4 + 8 + 2 + 1;
const MAX_NUMBERS: usize = 32;
const MAX_QUOTED: usize = 32;

/// A text's side of a comparison. Bounded, whatever the text's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub(super) words: Vec<Word>,
    pub(super) numbers: Vec<(u32, u32)>,
    pub(super) quoted: Vec<u32>,
    pub(super) digest: u64,
    pub(super) rest: u64,
    pub(super) total: u32,
}

impl Profile {
    /// Linear in the text.
    pub fn of(text: &str) -> Self {
        let Split { words, numbers, mut quoted, digest, rest, total, .. } = Split::of(text);
        quoted.truncate(MAX_QUOTED);
        Self { words, numbers, quoted, digest, rest, total }
    }

    /// Words kept.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Hashes of their stems, for counting how common stems are.
    pub fn stems(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().map(|word| word.stem)
    }

    /// Whether the text has no word at all.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether a trivial respelling leads from one text to the other.
    pub fn same(&self, other: &Self) -> bool {
        self.digest == other.digest && self.total == other.total
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(HEAD + self.words.len() * WORD + self.numbers.len() * 8 + self.quoted.len() * 4);
        out.push(VERSION);
        out.extend_from_slice(&self.digest.to_le_bytes());
        out.extend_from_slice(&self.rest.to_le_bytes());
        out.extend_from_slice(&self.total.to_le_bytes());
        out.extend([self.words.len() as u8, self.numbers.len() as u8, self.quoted.len() as u8]);
        for word in &self.words {
            out.extend_from_slice(&word.whole.to_le_bytes());
            out.extend_from_slice(&word.stem.to_le_bytes());
            out.extend_from_slice(&word.affirmed.to_le_bytes());
            out.extend_from_slice(&word.letters.to_le_bytes());
            out.extend_from_slice(&word.flags.to_le_bytes());
            out.push(word.length);
        }
        for &(value, unit) in &self.numbers {
            out.extend_from_slice(&value.to_le_bytes());
            out.extend_from_slice(&unit.to_le_bytes());
        }
        for quoted in &self.quoted {
            out.extend_from_slice(&quoted.to_le_bytes());
        }
        out
    }

    /// What `to_bytes` gave; anything else is an error.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bad = |offset| Error::InvalidDocument { what: "not a profile of this version", offset };
        let mut reader = super::reader::Reader::new(bytes);
        let read = |reader: &mut super::reader::Reader<'_>| -> Option<Self> {
            if reader.u8()? != VERSION {
                return None;
            }
            let (digest, rest, total) = (reader.u64()?, reader.u64()?, reader.u32()?);
            let (words, numbers, quoted) =
                (usize::from(reader.u8()?), usize::from(reader.u8()?), usize::from(reader.u8()?));
            if words > MAX_WORDS || numbers > MAX_NUMBERS || quoted > MAX_QUOTED || (total as usize) < words {
                return None;
            }
            let words = (0..words)
                .map(|_| {
                    Some(Word {
                        whole: reader.u32()?,
                        stem: reader.u32()?,
                        affirmed: reader.u32()?,
                        letters: reader.u64()?,
                        flags: reader.u16()?,
                        length: reader.u8()?,
                    })
                })
                .collect::<Option<_>>()?;
            let numbers = (0..numbers).map(|_| Some((reader.u32()?, reader.u32()?))).collect::<Option<_>>()?;
            let quoted = (0..quoted).map(|_| reader.u32()).collect::<Option<_>>()?;
            reader.ended().then_some(Self { words, numbers, quoted, digest, rest, total })
        };
        read(&mut reader).ok_or_else(|| bad(reader.at()))
    }
}
