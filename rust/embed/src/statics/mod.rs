//! The static embedder: a text's vector is the unit sum of its tokens' vectors, which a regression onto a sentence encoder gave.
//!
//! The model is a file of the package, read where it is mapped. `training/static_embedder` makes it; `docs/embed-static.md` is its
//! card. The same text gives the same bits on every processor.

mod file;
mod kernels;

use sparecall_core::error::Result;

use crate::wordpiece::WordPiece;
pub use file::DIM;
use file::Parts;

/// Tokens that a scratch has room for between texts.
const KEPT: usize = 4096;

/// A static embedder over a model file. Immutable; any number of threads may use it at once.
#[derive(Debug)]
pub struct Statics<'a> {
    words: WordPiece,
    parts: Parts<'a>,
}

/// What one text after another needs; keep it to save allocations.
#[derive(Debug, Default)]
pub struct Scratch {
    ids: Vec<u32>,
}

impl<'a> Statics<'a> {
    /// Reads a model file. `Error::Corrupt` where it is not whole.
    pub fn read(file: &'a [u8]) -> Result<Self> {
        let parts = Parts::read(file)?;
        let words = parts.vocabulary()?;
        Ok(Self { words, parts })
    }

    /// Writes the unit vector of `text` to `out`, of `DIM` numbers; zeros, and false, where it has no token the model knows.
    ///
    /// Linear in the text, all of which counts.
    pub fn embed(&self, text: &str, scratch: &mut Scratch, out: &mut [f32]) -> bool {
        let Scratch { ids } = scratch;
        ids.clear();
        self.words.encode_ordinary(text, usize::MAX, ids);
        ids.retain(|id| self.parts.scale(*id) > 0.0);
        let out: &mut [f32; DIM] = out.try_into().expect("a row of the static embedder's width");
        if ids.is_empty() {
            out.fill(0.0);
            return false;
        }
        let unit = kernels::sum(&self.parts, ids, out);
        ids.shrink_to(KEPT);
        unit
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test a panic is the report
mod tests {
    use sparecall_core::cpu::{self, Level};
    use sparecall_core::error::Error;

    use super::*;

    fn shipped() -> Vec<u8> {
        let package = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/sparecall/static.bin");
        std::fs::read(package).unwrap()
    }

    fn vector(model: &Statics<'_>, text: &str) -> Vec<f32> {
        let mut out = vec![f32::NAN; DIM];
        model.embed(text, &mut Scratch::default(), &mut out);
        out
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let file = shipped();
        let model = Statics::read(&file).unwrap();
        let highest = cpu::level();
        let text = "How do I turn on two-factor authentication? ".repeat(9);
        let expected = vector(&model, &text);
        for level in Level::ALL {
            cpu::set(level);
            assert_eq!(vector(&model, &text), expected);
        }
        cpu::set(highest);
        let length: f32 = expected.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_text_without_a_known_token_gives_zeros() {
        let file = shipped();
        let model = Statics::read(&file).unwrap();
        for text in ["", "  \n", "[SEP]", "\u{1f984}\u{1f984}", "[UNK] [PAD]"] {
            assert_eq!(vector(&model, text), vec![0.0; DIM], "{text:?}");
        }
    }

    #[test]
    fn a_damaged_model_is_refused() {
        let file = shipped();
        for at in [0, 9, 13, 17, 21, 25, 40, 70, 2000, 200_000, file.len() - 1] {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(matches!(Statics::read(&damaged), Err(Error::Corrupt { .. })), "{at}");
        }
        for length in [0, 8, 63, 64, 5000, file.len() - 1] {
            assert!(Statics::read(&file[..length]).is_err(), "{length}");
        }
    }
}
