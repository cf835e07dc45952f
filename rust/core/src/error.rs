//! The one error enum of the core. A message says what, the value, the limit and the next step, and never quotes user text.

use std::fmt;

use crate::frame::Refusal;

/// Everything the core refuses. The binding maps each variant to one Python class.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not the document they should be; `offset` is the byte where that shows.
    InvalidDocument { what: &'static str, offset: usize },
    /// An argument is outside its range. `limit` says which values are allowed.
    InvalidArgument { name: &'static str, value: String, limit: String },
    /// A name that is not in a closed list; `known` lists it.
    UnknownName { kind: &'static str, name: String, known: String },
    /// Data shipped with the package or read from a file is damaged.
    Corrupt { what: &'static str },
    /// A cache snapshot that cannot be used; nothing of it was.
    Snapshot { what: &'static str },
    /// A saved index that cannot be loaded; nothing of it was.
    IndexFile { what: &'static str },
    /// A tokenizer's file that cannot be loaded; nothing of it was.
    TokenizerFile { what: String },
    /// A model's file that cannot be loaded; nothing of it was.
    ModelFile { what: String },
    /// Bytes that are no frame, or a frame beyond a limit; nothing of it was read.
    Frame(Refusal),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidDocument { what, offset } => write!(out, "{what} at byte {offset}"),
            Self::InvalidArgument { name, value, limit } => write!(out, "{name} is {value}; {limit}"),
            Self::UnknownName { kind, name, known } => write!(out, "unknown {kind} {name:?}; known: {known}"),
            Self::Corrupt { what } => write!(out, "{what} is corrupt; reinstall or rebuild it"),
            Self::IndexFile { what } => {
                write!(
                    out,
                    "the index file cannot be loaded: {what}; nothing was loaded; use an older file or fill the index anew"
                )
            }
            Self::TokenizerFile { what } => write!(out, "the tokenizer file cannot be loaded: {what}"),
            Self::ModelFile { what } => write!(out, "the model cannot be loaded: {what}"),
            Self::Frame(refusal) => write!(out, "{refusal}"),
            Self::Snapshot { what } => {
                write!(
                    out,
                    "the snapshot cannot be loaded: {what}; the cache is unchanged; delete the file to start cold"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

/// What every fallible function of the core returns.
pub type Result<T> = std::result::Result<T, Error>;
