//! The shape of a text beside its lines: their endings, and whether the last one has one. Merged as properties of their own.

use std::borrow::Cow;

use super::rule::Version;
use super::symbols::either;
use super::{By, Conflict, Excerpt, Merged, Piece, Reason};

/// What the merged text is to look like, and how the versions are read.
pub(super) struct Shape {
    /// Whether each version ends its lines in one way, so that they can be compared without.
    uniform: bool,
    line_ending: &'static str,
    last_line_ends: bool,
}

impl Shape {
    pub(super) fn of(texts: [&str; 3]) -> Self {
        let endings = texts.map(|text| {
            let (all, long) = (text.matches('\n').count(), text.matches("\r\n").count());
            match long {
                0 => Some("\n"),
                _ if long == all => Some("\r\n"),
                _ => None,
            }
        });
        let merged = |[base, ours, theirs]: [&'static str; 3]| either(base, ours, theirs);
        let ending = match endings {
            [Some(base), Some(ours), Some(theirs)] => merged([base, ours, theirs]),
            _ => None,
        };
        let [base, ours, theirs] = texts.map(|text| text.ends_with('\n'));
        Self {
            uniform: ending.is_some(),
            line_ending: ending.unwrap_or("\n"),
            last_line_ends: either(base, ours, theirs).unwrap_or(true),
        }
    }

    /// The text as it is merged: each line ends in a line feed.
    pub(super) fn plain<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut plain = Cow::Borrowed(text);
        if self.uniform && text.contains("\r\n") {
            plain = Cow::Owned(text.replace("\r\n", "\n"));
        }
        if !plain.is_empty() && !plain.ends_with('\n') {
            plain.to_mut().push('\n');
        }
        plain
    }

    fn back(&self, text: String) -> String {
        if self.uniform && self.line_ending == "\r\n" { text.replace('\n', "\r\n") } else { text }
    }

    fn last(&self, mut text: String) -> String {
        if !self.last_line_ends && text.ends_with('\n') {
            text.pop();
            if !self.uniform && text.ends_with('\r') {
                text.pop();
            }
        }
        text
    }

    pub(super) fn merged(&self, by: By, text: String, combined: Vec<String>) -> Merged {
        Merged { by, combined, parts: vec![self.back(self.last(text))], ..self.none() }
    }

    fn none(&self) -> Merged {
        Merged { by: By::None, conflicts: vec![], combined: vec![], parts: vec![], line_ending: self.line_ending }
    }

    pub(super) fn conflicts(&self, pieces: Vec<Piece<'_>>, versions: &[Version<'_>; 3]) -> Merged {
        let mut merged = self.none();
        let mut part = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => part += &text,
                Piece::Conflict { reason, symbol, base, ours, theirs } => {
                    merged.parts.push(self.back(std::mem::take(&mut part)));
                    let is_known = !symbol.is_empty() || reason == Reason::Errors;
                    let symbol = if is_known { symbol } else { symbol_at([base, ours, theirs], versions) };
                    let [base, ours, theirs] =
                        [(base, 0), (ours, 1), (theirs, 2)].map(|(text, at)| self.excerpt(text, versions[at].source));
                    merged.conflicts.push(Conflict { reason, symbol, base, ours, theirs });
                }
            }
        }
        merged.parts.push(self.back(self.last(part)));
        merged
    }

    fn excerpt(&self, text: &str, source: &str) -> Excerpt {
        let lines = offset(text, source).map(|start| {
            let first = memchr::memchr_iter(b'\n', &source.as_bytes()[..start]).count();
            first..first + text.lines().count()
        });
        Excerpt { text: self.back(text.to_owned()), lines }
    }
}

/// Where `text`, which is a slice of `source` or of nothing, starts in it.
fn offset(text: &str, source: &str) -> Option<usize> {
    let start = (text.as_ptr() as usize).checked_sub(source.as_ptr() as usize)?;
    (start + text.len() <= source.len()).then_some(start)
}

/// The innermost symbol around the first line of an excerpt: in the first version that has one there.
fn symbol_at(texts: [&str; 3], versions: &[Version<'_>; 3]) -> String {
    for at in [0, 1, 2] {
        let (text, version) = (texts[at], &versions[at]);
        let start = offset(text, version.source).map(|start| start + text.len() - text.trim_start().len());
        let Some(start) = start.filter(|_| !text.is_empty()) else { continue };
        let around = |symbol: &&crate::outline::Symbol| {
            symbol.range.start as usize <= start && start < symbol.range.end as usize
        };
        if let Some(symbol) = version.outline.symbols.iter().rfind(around) {
            return symbol.name_path.to_string();
        }
    }
    String::new()
}
