//! A model file: header, bias, scales, rows, vocabulary; all numbers little-endian. `training/static_embedder` writes it.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SPSTATIC` |
//! | 4 x 4 | version (1), numbers in a row (256), rows, bytes of the vocabulary |
//! | 8 | zeros |
//! | 32 | BLAKE3 of all that follows |
//! | 4 x 256 | bias, `f32` |
//! | 4 x rows | what a row is multiplied by, `f32`; zero where a token says nothing |
//! | 256 x rows | the tokens' vectors, `i8` |
//! | the rest | a `vocab.txt`: token i, on line i, has row i |

use sparecall_core::error::{Error, Result};

use crate::wordpiece::{Options, WordPiece};

/// Numbers in a vector.
pub const DIM: usize = 256;
const MAGIC: &[u8; 8] = b"SPSTATIC";
const VERSION: u32 = 1;
const HEADER: usize = 64;

/// A model file, cut into its parts.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) bias: [f32; DIM],
    scales: Vec<f32>,
    rows: &'a [[u8; DIM]],
    vocabulary: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn read(file: &'a [u8]) -> Result<Self> {
        let (header, body) = file.split_at_checked(HEADER).ok_or_else(corrupt)?;
        let field = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (rows, vocabulary) = (field(16) as usize, field(20) as usize);
        let known =
            &header[..8] == MAGIC && field(8) == VERSION && field(12) as usize == DIM && header[24..32] == [0; 8];
        let length = rows.checked_mul(4 + DIM).and_then(|length| length.checked_add(4 * DIM + vocabulary));
        if !known || length != Some(body.len()) || blake3::hash(body).as_bytes()[..] != header[32..] {
            return Err(corrupt());
        }
        let (bias, rest) = body.split_at(4 * DIM);
        let (scales, rest) = rest.split_at(4 * rows);
        let (rows, vocabulary) = rest.split_at(DIM * rows);
        let mut parts = Self { bias: [0.0; DIM], scales: numbers(scales), rows: rows.as_chunks().0, vocabulary };
        parts.bias.copy_from_slice(&numbers(bias));
        let sound = parts.scales.iter().chain(&parts.bias).all(|number| number.is_finite());
        if sound { Ok(parts) } else { Err(corrupt()) }
    }

    /// The tokenizer; its ids are rows.
    pub(super) fn vocabulary(&self) -> Result<WordPiece> {
        let words = WordPiece::from_vocab(self.vocabulary, Options::default())?;
        if words.highest_id() as usize >= self.rows.len() {
            return Err(corrupt());
        }
        Ok(words)
    }

    /// What the row of a token is multiplied by.
    pub(super) fn scale(&self, id: u32) -> f32 {
        self.scales[id as usize]
    }

    pub(super) fn row(&self, id: u32) -> &'a [u8; DIM] {
        &self.rows[id as usize]
    }
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn corrupt() -> Error {
    Error::Corrupt { what: "the static embedder's model" }
}
