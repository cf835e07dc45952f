//! Three-way merge of sources: by lines, and where these conflict by symbols; accepted only where the result keeps what both sides did.
//!
//! A merge is clean if it parses as well as its sides, and if each symbol that one side added, changed or took out is so in the result. What both
//! sides changed is merged by lines, and named. Everything else is a conflict, with both texts: nothing is guessed. The same two sides give the same
//! result in either order.

mod imports;
mod lines;
mod order;
mod rule;
mod symbols;
mod text;
mod units;

use std::borrow::Cow;
use std::ops::Range;

use sparecall_core::error::Result;

use crate::language::Language;
use crate::parse::Parser;
use crate::walk;
use rule::Version;
use text::Shape;

/// How a merge came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// At most one side changed anything, or both the same.
    Side,
    Lines,
    Symbols,
    /// It did not.
    None,
}

/// Why there is a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    BothChanged,
    BothAdded,
    /// One side took out what the other changed.
    Removed,
    /// The merge of the lines has a symbol more often than it should,
    Twice,
    /// or not as a side has it,
    Lost,
    /// or more errors of syntax than its sides.
    Errors,
}

impl Reason {
    pub const fn name(self) -> &'static str {
        match self {
            Self::BothChanged => "both changed",
            Self::BothAdded => "both added",
            Self::Removed => "removed and changed",
            Self::Twice => "defined twice",
            Self::Lost => "symbol lost",
            Self::Errors => "does not parse",
        }
    }
}

/// What one version has where there is a conflict. No lines: it has nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    pub text: String,
    /// Counted from 0.
    pub lines: Option<Range<usize>>,
}

/// A place where the sides do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub reason: Reason,
    /// The name path of the symbol it is in; empty outside of all.
    pub symbol: String,
    pub base: Excerpt,
    pub ours: Excerpt,
    pub theirs: Excerpt,
}

/// A merge, or the conflicts that stand in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    pub by: By,
    pub conflicts: Vec<Conflict>,
    /// The symbols that both sides changed, whose text here is neither side's.
    pub combined: Vec<String>,
    /// The texts around the conflicts: one more than there are of these.
    parts: Vec<String>,
    line_ending: &'static str,
}

impl Merged {
    fn whole(text: &str) -> Self {
        Self { by: By::Side, conflicts: vec![], combined: vec![], parts: vec![text.to_owned()], line_ending: "\n" }
    }

    /// None where there are conflicts.
    pub fn text(&self) -> Option<&str> {
        if let [text] = self.parts.as_slice() { Some(text) } else { None }
    }

    /// The text with the usual markers at each conflict; with the base's version too, where `base` names it.
    pub fn marked(&self, ours: &str, base: Option<&str>, theirs: &str) -> String {
        let mut text = String::new();
        let line = |text: &mut String, line: &str| {
            if !text.is_empty() && !text.ends_with('\n') {
                *text += self.line_ending;
            }
            *text += line;
        };
        for (conflict, part) in self.conflicts.iter().zip(&self.parts) {
            text += part;
            for (marker, name, excerpt) in [
                ("<<<<<<<", Some(ours), Some(&conflict.ours)),
                ("|||||||", base, Some(&conflict.base)),
                ("=======", Some(""), Some(&conflict.theirs)),
                (">>>>>>>", Some(theirs), None),
            ] {
                if let Some(name) = name {
                    line(&mut text, format!("{marker} {name}").trim_end());
                    text += self.line_ending;
                    text += excerpt.map_or("", |excerpt| &excerpt.text);
                }
            }
        }
        text + self.parts.last().map_or("", String::as_str)
    }
}

/// A stretch of a merge. Texts are slices of the versions.
enum Piece<'a> {
    Text(Cow<'a, str>),
    Conflict { reason: Reason, symbol: String, base: &'a str, ours: &'a str, theirs: &'a str },
}

impl Parser {
    /// Merges what `ours` and `theirs` made of `base`. Takes some four parses and four differences of lines, whose search is cut short where it would be
    /// quadratic. Errors: those of [`Parser::outline`].
    pub fn merge(&mut self, base: &str, ours: &str, theirs: &str, language: Language) -> Result<Merged> {
        self.merge_until([base, ours, theirs], language, &mut || false)
    }

    /// Likewise for the base, ours and theirs; given up, with an error, once `expired` says so while one of them is parsed.
    pub fn merge_until(
        &mut self,
        [base, ours, theirs]: [&str; 3],
        language: Language,
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<Merged> {
        if let Some(text) = symbols::either(base, ours, theirs) {
            return Ok(Merged::whole(text));
        }
        let shape = Shape::of([base, ours, theirs]);
        let texts = [base, ours, theirs].map(|text| shape.plain(text));
        let [base, ours, theirs] = [&*texts[0], &*texts[1], &*texts[2]];
        let mut version = |text| self.version(text, language, expired);
        let versions = [version(base)?, version(ours)?, version(theirs)?];
        let by_lines = symbols::merge_lines(base, ours, theirs);
        let (by_lines, broken) = match self.accept(by_lines, &versions, expired)? {
            Accepted::Clean(text, combined) => return Ok(shape.merged(By::Lines, text, combined)),
            Accepted::Conflicts(pieces) => (Some(pieces), None),
            Accepted::Broken(reason, symbol) => (None, Some((reason, symbol))),
        };
        let [b, o, t] = versions.each_ref().map(|version| units::cut(version.source, &version.tree, &version.outline));
        let pieces = match (self.accept(symbols::merge(&b, &o, &t), &versions, expired)?, by_lines, broken) {
            (Accepted::Clean(text, combined), ..) => return Ok(shape.merged(By::Symbols, text, combined)),
            (_, Some(pieces), _) | (Accepted::Conflicts(pieces), ..) => pieces,
            (Accepted::Broken(reason, symbol), _, broken) => {
                let (reason, symbol) = broken.unwrap_or((reason, symbol));
                vec![Piece::Conflict { reason, symbol, base, ours, theirs }]
            }
        };
        Ok(shape.conflicts(pieces, &versions))
    }

    fn version<'a>(
        &mut self,
        source: &'a str,
        language: Language,
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<Version<'a>> {
        let tree = self.parse(source, language, None, expired)?;
        let outline = walk::outline(source, language, tree.clone());
        Ok(Version { source, tree, outline })
    }

    fn accept<'a>(
        &mut self,
        pieces: Vec<Piece<'a>>,
        versions: &[Version<'_>; 3],
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<Accepted<'a>> {
        let mut text = String::new();
        for piece in &pieces {
            let Piece::Text(piece) = piece else { return Ok(Accepted::Conflicts(pieces)) };
            text += piece;
        }
        let merged = self.version(&text, versions[0].outline.language, expired)?;
        let checked = rule::check(versions.each_ref(), &merged);
        Ok(match checked {
            Ok(combined) => Accepted::Clean(text, combined),
            Err((reason, symbol)) => Accepted::Broken(reason, symbol),
        })
    }
}

enum Accepted<'a> {
    Clean(String, Vec<String>),
    Conflicts(Vec<Piece<'a>>),
    Broken(Reason, String),
}

/// Merges what `ours` and `theirs` made of `base`; see [`Parser::merge`].
pub fn merge(base: &str, ours: &str, theirs: &str, language: Language) -> Result<Merged> {
    Parser::new().merge(base, ours, theirs, language)
}
