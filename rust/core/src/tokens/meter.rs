//! The number of tokens of a text that grows at its end, at the cost of what is new.
//!
//! Closed pieces ([`super::open`]) are counted once and let go. What is left is short but where one run of characters
//! goes on and on; that is followed by [`Run`] and counted by [`Growth`].

use super::growth::Growth;
use super::open::closed;
use super::run::Run;
use super::{Encoding, Scratch};

/// An open text of up to this many bytes is counted anew each time: that is faster.
const SHORT: usize = 128;

/// A running count. Every call must be given the same encoding.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// The number of tokens of the closed pieces.
    closed: usize,
    /// That of the open text after them.
    open: usize,
    text: Vec<u8>,
    /// What the open text is, once it is long.
    run: Option<Run>,
    /// The prefixes of the first piece of a run, and those of the second, which begins at `second_from`.
    first: Growth,
    second: Growth,
    second_from: usize,
}

impl Meter {
    /// Adds `text` and returns the number of tokens of all that was added so far, as [`Encoding::count`] has it.
    ///
    /// Linear in `text`, whatever came before, over the life of the meter: of a run that other characters end, what is
    /// open is looked at once more. Takes the open text and, where that is a run, 8 bytes for each of up to 16,384
    /// prefixes, or twice that.
    pub fn append(&mut self, encoding: &Encoding, text: &str, scratch: &mut Scratch) -> usize {
        let before = self.text.len();
        self.text.extend_from_slice(text.as_bytes());
        if self.run.as_mut().is_some_and(|run| run.take(&self.text, before)) {
            self.open = self.count_run(encoding);
        } else {
            self.scan(encoding, scratch);
        }
        self.total()
    }

    /// The number of tokens of all that was added so far.
    pub fn total(&self) -> usize {
        self.closed + self.open
    }

    /// What the total would be after `text` too. Linear in `text` and what is open.
    pub fn total_with(&self, encoding: &Encoding, text: &str, scratch: &mut Scratch) -> usize {
        self.closed + encoding.count_bytes(&[&self.text, text.as_bytes()].concat(), scratch)
    }

    /// What adding `text` costs, as so many bytes of prose; more than any where an index must be made first.
    pub fn cost(&self, encoding: &Encoding, text: &str) -> usize {
        const GROWN: usize = 8; // a byte of a run costs as much as so many of prose
        const SCANNED: usize = 8; // a byte of prose costs as much as so many that are scanned only
        let Some(run) = self.run else { return text.len() + self.text.len() };
        if !encoding.is_indexed() {
            return usize::MAX;
        }
        if !{ run }.take(text.as_bytes(), 0) {
            return text.len() + self.text.len() / SCANNED;
        }
        let known = self.first.len().max(self.second_from + self.second.len());
        (text.len() + self.text.len().saturating_sub(known)) * GROWN
    }

    /// Counts and lets go what is closed, and counts the rest.
    fn scan(&mut self, encoding: &Encoding, scratch: &mut Scratch) {
        let text = &self.text[..];
        let (mut at, mut open_from) = (0, None);
        self.open = 0;
        while at < text.len() {
            let end = encoding.piece_end(text, at);
            // What is known of a run that has just ended spares merging it.
            let tokens = match at {
                0 if self.first.len() > SHORT => self.first.count(encoding, text, end),
                _ => encoding.count_piece(text, at, end, scratch),
            };
            if open_from.is_none() && closed(text, at, end) {
                self.closed += tokens;
            } else {
                open_from.get_or_insert(at);
                self.open += tokens;
            }
            at = end;
        }
        let gone = open_from.unwrap_or(at);
        if gone > 0 {
            self.text.drain(..gone);
            self.text.shrink_to(2 * SHORT.max(self.text.len()));
            if self.first.len() > 0 {
                self.first = Growth::default();
            }
        }
        if self.second_from > 0 {
            (self.second, self.second_from) = (Growth::default(), 0);
        }
        self.run = if self.text.len() > SHORT { Run::of(encoding, &self.text) } else { None };
    }

    /// The number of tokens of the open text, which is a run.
    fn count_run(&mut self, encoding: &Encoding) -> usize {
        let Some(run) = &self.run else { return self.open };
        let text = &self.text[..];
        let first_end = run.first_end(text.len());
        let mut tokens = self.first.count(encoding, text, first_end);
        if first_end < text.len() {
            if self.second_from != first_end {
                (self.second, self.second_from) = (Growth::default(), first_end);
            }
            let rest = &text[first_end..];
            tokens += self.second.count(encoding, rest, rest.len());
        }
        self.first.forget(encoding);
        self.second.forget(encoding);
        tokens
    }
}
