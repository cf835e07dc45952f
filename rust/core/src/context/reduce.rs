//! One text by itself within a budget: the same choice as of a whole conversation, with nothing beside it.

use super::board::Board;
use super::document::{Document, Reading};
use super::kind::Kind;
use super::options::Options;
use super::render::{HANDLE, MARKER, Marks, gaps, render_marked};
use super::select::{Item, select};
use crate::tokens::{Encoding, Scratch};

/// Choices until the text fits: parts may have other tokens together than by themselves.
const TRIES: usize = 8;
/// What a kind says of a line decides here, before the values it holds: nothing else in a text says which of them matter.
const PRIOR: f32 = 3.0;
const RELEVANCE: f32 = 2.0;
/// A line with an identifier of the query comes before all others.
const LATER: f32 = 8.0;
/// And then what belongs to a symbol that it names.
const NAMED: f32 = 6.0;

/// What is left of a text.
#[derive(Debug, PartialEq)]
pub struct Reduced {
    pub text: String,
    /// What is not in it, piece by piece, as it stands in the document.
    pub removed: Vec<String>,
}

/// Cuts a document to `budget` tokens of `encoding`; nothing is left where not even a mark fits. O(segments log segments).
#[must_use]
pub fn reduce(
    document: &Document,
    budget: u32,
    query: &str,
    handle: &str,
    encoding: &Encoding,
    scratch: &mut Scratch,
) -> Reduced {
    if document.tokens() <= budget {
        return Reduced { text: document.text().to_owned(), removed: Vec::new() };
    }
    // What is asked stands below, and costs nothing.
    let tokens = encoding.count_with(query, scratch);
    let asked =
        Document::read(query, tokens, Reading { kind: Some(Kind::Prose), ..Reading::default() }, encoding, scratch);
    let items = [
        Item { document, atom: 0, is_fixed: false, weight: 1.0 },
        Item { document: &asked, atom: 1, is_fixed: true, weight: 1.0 },
    ];
    let mut board = Board::default();
    let mut free = budget;
    for _ in 0..TRIES {
        let options = Options {
            budget: free,
            marker: MARKER,
            handle: if handle.is_empty() { 0 } else { HANDLE },
            relevance: if query.is_empty() { 0.0 } else { RELEVANCE },
            prior: PRIOR,
            later: LATER,
            named: NAMED,
            crowd: f32::INFINITY,
            ..Options::default()
        };
        let choice = select(&items, &[0, 0], query, None, &options, &mut board);
        let Some(kept) = &choice.kept[0] else { break };
        let text = render_marked(document, kept, Marks { handle, below: &[] });
        let tokens = u32::try_from(encoding.count_with(&text, scratch)).unwrap_or(u32::MAX);
        if tokens <= budget {
            let removed = gaps(kept, document.len() as u32).map(|gap| joined(document, gap)).collect();
            return Reduced { text, removed };
        }
        free = free.saturating_sub(tokens - budget);
    }
    Reduced { text: String::new(), removed: vec![document.text().to_owned()] }
}

fn joined(document: &Document, (start, end): (u32, u32)) -> String {
    (start..end).map(|at| document.part(at as usize)).collect()
}
