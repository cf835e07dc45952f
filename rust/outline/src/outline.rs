//! What a source defines.

use std::ops::Range;

use tree_sitter::Tree;

use crate::kind::Kind;
use crate::language::Language;
use crate::skeleton::{self, Skeleton};

/// A symbol. Offsets are bytes of the source; lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    pub kind: Kind,
    /// Its names from the outermost in, joined by dots: `Class.method`. Not unique: an overload shares its name.
    pub name_path: Box<str>,
    /// Where its own name starts in `name_path`.
    pub(crate) name_at: u32,
    /// Which symbol of the same outline holds it.
    pub parent: Option<u32>,
    /// All of it: with its decorators, attributes, modifiers and the comments that stand directly above.
    pub range: Range<u32>,
    pub first_line: u32,
    /// The line that its last character is on.
    pub last_line: u32,
    /// Where its definition starts: after the comments above it. Decorators and attributes are part of it.
    pub(crate) head: u32,
    /// From its first word, decorators left out, to its body.
    pub signature: Range<u32>,
    /// What a skeleton leaves out: statements, with their braces where the language has them; the inside of a long literal's brackets.
    pub(crate) body: Option<Range<u32>>,
    /// The first line of its docstring or doc comment, without quotes and comment signs.
    pub docstring: Option<Range<u32>>,
}

impl Symbol {
    /// Its own name.
    pub fn name(&self) -> &str {
        &self.name_path[self.name_at as usize..]
    }
}

/// The symbols of one source, in the order they start; a parent stands before its children.
#[derive(Debug, Clone)]
pub struct Outline {
    pub language: Language,
    pub symbols: Vec<Symbol>,
    /// Whether parts could not be parsed. The symbols around them are there.
    pub has_errors: bool,
    pub(crate) tree: Tree,
}

/// The text of a range of `source`.
pub(crate) fn text<'a>(source: &'a str, range: &Range<u32>) -> &'a str {
    // Tokens begin and end between characters, but a damaged tree must not be a panic.
    source.get(range.start as usize..range.end as usize).unwrap_or_default()
}

impl Outline {
    /// All of the symbol's text.
    pub fn text<'a>(&self, source: &'a str, symbol: &Symbol) -> &'a str {
        text(source, &symbol.range)
    }

    pub fn signature<'a>(&self, source: &'a str, symbol: &Symbol) -> &'a str {
        text(source, &symbol.signature)
    }

    pub fn docstring<'a>(&self, source: &'a str, symbol: &Symbol) -> Option<&'a str> {
        symbol.docstring.as_ref().map(|range| text(source, range))
    }

    /// The source without what its functions do. `keep`: symbols that stay whole, by name path or the end of one (`method` for
    /// `Class.method`); with a class, all that is in it. Names that are not there are passed over.
    pub fn skeleton(&self, source: &str, keep: &[&str]) -> Skeleton {
        skeleton::skeleton(source, self, keep)
    }
}
