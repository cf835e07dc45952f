//! The most of a text that fits a limit of tokens: its head, its tail, or some of both with a marker in between.
//!
//! One character more can make a text one token less, so what fits is searched in two steps: halving finds a character
//! that fits before one that does not, then the next characters are tried one by one, until none of [`AHEAD`] fits.
//! Every try is a count by [`Prefix`], made of no more of the text than can matter.

use super::open::closed;
use super::prefix::Prefix;
use super::{Encoding, Scratch};
use crate::error::{Error, Result};

/// How many characters more are tried after the first that does not fit.
const AHEAD: usize = 32;

/// Which part of a text is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Head,
    Tail,
    Both,
}

/// What is kept: the text up to `head`, and from `tail` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub head: usize,
    pub tail: usize,
}

impl Encoding {
    /// Where to cut `text` so that what is kept, with `marker` in place of the rest, has at most `limit` tokens; none
    /// where the text itself has no more.
    ///
    /// An error where the limit is 0 or the marker alone has more.
    pub fn truncate(
        &self,
        text: &str,
        limit: usize,
        keep: Keep,
        marker: &str,
        scratch: &mut Scratch,
    ) -> Result<Option<Cut>> {
        if limit == 0 {
            let limit = "it must be at least 1".to_owned();
            return Err(Error::InvalidArgument { name: "limit", value: "0".to_owned(), limit });
        }
        let marked = self.count_with(marker, scratch);
        if marked > limit {
            let value = format!("{marked} tokens long");
            let limit = format!("it must fit the limit of {limit}: shorten it or raise the limit");
            return Err(Error::InvalidArgument { name: "marker", value, limit });
        }
        let Some(size) = self.too_much(text, limit, scratch) else { return Ok(None) };
        let cut = match keep {
            Keep::Head => Cut { head: self.head(text, size, limit, marker, scratch), tail: text.len() },
            Keep::Tail => Cut { head: 0, tail: self.tail(text, 0, size, limit, marker, scratch) },
            Keep::Both => {
                // Half of what the marker leaves, rounded down, for the head; what then is left for the tail.
                let head = self.head(text, size / 2, marked + (limit - marked) / 2, marker, scratch);
                let begin = [&text[..head], marker].concat();
                Cut { head, tail: self.tail(text, head, size / 2, limit, &begin, scratch) }
            }
        };
        Ok(Some(cut))
    }

    /// Where the head of `text` ends that fits with `after` behind it; at least one character is left out.
    /// The search begins with `size` bytes, as if more did not fit.
    fn head(&self, text: &str, mut size: usize, limit: usize, after: &str, scratch: &mut Scratch) -> usize {
        loop {
            let bad = floor(text, size.min(text.len()));
            let edge = floor(text, (bad + 4 * AHEAD).min(text.len()));
            let prefix = Prefix::new(self, text[..edge].into(), scratch);
            let mut fits = |to| prefix.count_between(self, "", (0, to), after, scratch) <= limit;
            if bad == text.len() || !fits(bad) {
                let found = furthest(text, 0, bad, edge, fits);
                if found < bad || edge == text.len() {
                    return found;
                }
            }
            size = size.saturating_mul(2);
        }
    }

    /// Where the tail of `text` begins that fits with `before` ahead of it, at least a character after `low`.
    fn tail(
        &self,
        text: &str,
        low: usize,
        mut size: usize,
        limit: usize,
        before: &str,
        scratch: &mut Scratch,
    ) -> usize {
        let (counted, open) = self.without_closed(before, scratch);
        loop {
            let bad = floor(text, text.len().saturating_sub(size)).max(low);
            let edge = floor(text, bad.saturating_sub(4 * AHEAD)).max(low);
            let prefix = Prefix::new(self, text[edge..].into(), scratch);
            let end = text.len() - edge;
            let mut fits =
                |from| counted + prefix.count_between(self, &before[open..], (from - edge, end), "", scratch) <= limit;
            if bad == low || !fits(bad) {
                let found = furthest(text, text.len(), bad, edge, fits);
                if found > bad || edge == low {
                    return found;
                }
            }
            size = size.saturating_mul(2);
        }
    }

    /// The number of tokens of the pieces of `text` that are closed, and where these end.
    fn without_closed(&self, text: &str, scratch: &mut Scratch) -> (usize, usize) {
        let text = text.as_bytes();
        let (mut at, mut total) = (0, 0);
        while at < text.len() {
            let end = self.piece_end(text, at);
            if !closed(text, at, end) {
                break;
            }
            total += self.count_piece(text, at, end, scratch);
            at = end;
        }
        (total, at)
    }

    /// So many bytes as have more than `limit` tokens, most likely; none where `text` has no more.
    fn too_much(&self, text: &str, limit: usize, scratch: &mut Scratch) -> Option<usize> {
        const MARGIN: usize = 256;
        let bytes = text.as_bytes();
        let (mut at, mut total, mut last) = (0, 0, bytes.len());
        if text.len() / self.vocabulary.longest_len() <= limit {
            while at < bytes.len() && total <= limit {
                let end = self.piece_end(bytes, at);
                total += self.count_piece(bytes, at, end, scratch);
                (last, at) = (end - at, end);
            }
            if total <= limit {
                return None;
            }
        }
        // What a long piece has before the limit is not known: few bytes at first.
        let size = if last <= MARGIN { at } else { limit.saturating_mul(3) };
        Some(size.saturating_add(MARGIN))
    }
}

/// The last character boundary up to `at`.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The character boundary next to `at` on the way to `edge`.
fn step(text: &str, at: usize, edge: usize) -> usize {
    let mut next = if at < edge { at + 1 } else { at - 1 };
    while !text.is_char_boundary(next) {
        next = if at < edge { next + 1 } else { next - 1 };
    }
    next
}

/// A character boundary, from `good` which fits towards `bad` which does not, that fits while the next [`AHEAD`] do
/// not, short of `edge`. Only what lies before `edge` is tried.
fn furthest(text: &str, mut good: usize, mut bad: usize, edge: usize, mut fits: impl FnMut(usize) -> bool) -> usize {
    while step(text, good, bad) != bad {
        let mut middle = floor(text, usize::midpoint(good, bad));
        if middle <= good.min(bad) {
            middle = step(text, good.min(bad), usize::MAX);
        }
        if fits(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    let (mut at, mut left) = (bad, AHEAD);
    while left > 0 && at != edge {
        if fits(at) {
            (good, left) = (at, AHEAD + 1);
        }
        at = step(text, at, edge);
        left -= 1;
    }
    good
}
