//! A part of a text, with something before it and after it, read as one text without copying it.

use super::unicode::is_first;

use std::borrow::Cow;

/// `before`, then `text[from..to]`, then `after`. Positions count from the beginning of `before`.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) before: &'a [u8],
    pub(super) text: &'a [u8],
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) after: &'a [u8],
}

impl<'a> View<'a> {
    pub(super) fn len(&self) -> usize {
        self.before.len() + (self.to - self.from) + self.after.len()
    }

    /// The position in `text` of a position in this view; none before it.
    pub(super) fn in_text(&self, at: usize) -> Option<usize> {
        (at + self.from).checked_sub(self.before.len())
    }

    /// The position in this view of a position of `text` that it shows.
    pub(super) fn of_text(&self, at: usize) -> usize {
        at + self.before.len() - self.from
    }

    /// The bytes from `from` to `to`; a copy only where they are of two kinds.
    pub(super) fn bytes(&self, from: usize, to: usize) -> Cow<'a, [u8]> {
        let first = self.before.len();
        let second = first + (self.to - self.from);
        if first <= from && to <= second {
            return Cow::Borrowed(&self.text[from - first + self.from..to - first + self.from]);
        }
        let within = |low: usize, high: usize| {
            let (low, high) = (from.clamp(low, high) - low, to.clamp(low, high) - low);
            low..high
        };
        let middle = within(first, second);
        let parts = [
            &self.before[within(0, first)],
            &self.text[self.from + middle.start..self.from + middle.end],
            &self.after[within(second, self.len())],
        ];
        Cow::Owned(parts.concat())
    }

    /// The first character boundary from `at` on, which is at most the view's length.
    pub(super) fn boundary(&self, mut at: usize) -> usize {
        while at < self.len() && !is_first(self.byte(at)) {
            at += 1;
        }
        at
    }

    fn byte(&self, at: usize) -> u8 {
        let second = self.before.len() + (self.to - self.from);
        if at < self.before.len() {
            self.before[at]
        } else if at < second {
            self.text[at - self.before.len() + self.from]
        } else {
            self.after[at - second]
        }
    }
}
