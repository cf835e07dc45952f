//! Long runs of one class inside long pieces, which scanners need not be shown in full.
//!
//! A scanner is a small automaton over the classes of characters; a few characters of one class bring it into a state
//! that more of them do not change, and the places it may cut at are then the run's end or next to it. So the middle of
//! a run can be left out. Numbers are counted by threes and are no such runs; `'` and `/` are classes of their own.

use super::unicode::{NUMBER, class_at};
use super::view::View;

/// Runs of this many bytes are worth it.
const LONG: usize = 512;
/// How much of a run is shown at each end.
const SHOWN: usize = 32;

/// The bounds of such runs, in their order.
#[derive(Debug, Default)]
pub(super) struct Monotony {
    runs: Vec<(usize, usize)>,
}

impl Monotony {
    /// Adds the runs of the piece `text[start..end]`.
    pub(super) fn add(&mut self, text: &[u8], start: usize, end: usize) {
        let kind = |at: usize| (class_at(text, at).0, matches!(text[at], b'\'' | b'/').then_some(text[at]));
        let (mut at, mut from) = (start, start);
        while at < end {
            let length = class_at(text, at).1;
            if kind(at) != kind(from) {
                self.keep(text, from, at);
                from = at;
            }
            at += length;
        }
        self.keep(text, from, end);
    }

    fn keep(&mut self, text: &[u8], from: usize, to: usize) {
        if to - from >= LONG && class_at(text, from).0 & NUMBER == 0 {
            self.runs.push((from, to));
        }
    }

    /// The first run that ends after `at`.
    fn after(&self, at: usize) -> Option<(usize, usize)> {
        self.runs.get(self.runs.partition_point(|run| run.1 <= at)).copied()
    }

    /// [`super::unicode::skip`] with long runs at one step.
    pub(super) fn skip(&self, text: &[u8], mut at: usize, mask: u8) -> usize {
        let mut run = self.after(at);
        loop {
            let (class, length) = class_at(text, at);
            if class & mask == 0 {
                return at;
            }
            at = match run {
                Some((from, to)) if from <= at => to.min(text.len()),
                _ => at + length,
            };
            if run.is_some_and(|(_, to)| to <= at) {
                run = self.after(at);
            }
        }
    }

    /// What may be left out of `view` for a scan that begins at `at`, as two of its character boundaries.
    pub(super) fn gap(&self, view: &View<'_>, at: usize) -> Option<(usize, usize)> {
        let here = view.in_text(at).map_or(view.from, |here| here.max(view.from));
        let (from, to) = self.after(here)?;
        let (from, to) = (from.max(here), to.min(view.to));
        if from > here + LONG || from + 4 * SHOWN > to {
            return None;
        }
        let gap = (view.boundary(view.of_text(from) + SHOWN), view.boundary(view.of_text(to) - SHOWN));
        Some(gap)
    }
}
