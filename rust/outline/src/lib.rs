//! Source code to symbols, by tree-sitter: what a file defines and where.
//!
//! - [`outline`]`(source, language)` gives an [`Outline`]: its [`Symbol`]s in the order they stand, each with kind, name path, byte and line
//!   range, signature, first docstring line and parent. [`Parser`] does the same for many files, and keeps its memory.
//! - [`Outline::skeleton`] leaves out what functions do.
//! - [`SymbolIndex`] holds the symbols of many files; [`SymbolIndex::update`] tells what an edit changed as a [`Diff`], and
//!   [`SymbolIndex::key`] under which key a result derived from a symbol may be kept.
//! - [`Language::of_path`], [`Language::of_shebang`] and [`Language::from_name`] say what a file is written in; [`decode`] makes text of bytes.
//! - [`merge::merge`] merges two edits of a source; [`search::WordIndex`] finds symbols by their words.
//!
//! Nothing here knows Python, threads or a clock. Nothing recurses: nesting is bounded by memory, work by the length of the source.

mod decode;
mod derived;
mod diff;
mod doc;
mod facts;
mod index;
mod kind;
mod language;
pub mod merge;
mod outline;
mod parse;
mod rules;
mod saved;
pub mod search;
mod skeleton;
mod walk;

pub use decode::{Decoded, decode};
pub use derived::Subject;
pub use diff::{Diff, Was};
pub use index::{Entry, Held, SymbolIndex, Update, Updated};
pub use kind::Kind;
pub use language::Language;
pub use outline::{Outline, Symbol};
pub use parse::{MAX_SOURCE, Parser};
pub use skeleton::Skeleton;

use sparecall_core::error::Result;

/// What `source` defines. Errors: [`MAX_SOURCE`] bytes are exceeded, or the parse takes more steps than such a length should.
pub fn outline(source: &str, language: Language) -> Result<Outline> {
    Parser::new().outline(source, language)
}
