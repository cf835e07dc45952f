//! The number of tokens of any part of a text, without counting that part anew.
//!
//! A scanner looks at nothing before the piece it cuts. So once a scan of a part meets the beginning of one of the text's
//! own pieces, it goes on as the scan of the text did, for as long as that did not depend on what lies behind the part:
//! up to the last piece that is closed ([`super::open`]) where the part ends. Between these two places sums answer; the
//! few pieces before and after are cut and counted anew. Inside long pieces [`Interval`] counts, and [`Monotony`] spares
//! the scanners their bulk.

use super::interval::Interval;
use super::monotony::Monotony;
use super::open::{LOOKAHEAD, closed, closed_by};
use super::view::View;
use super::{Encoding, MAX_TEXT, Scratch, pieces};

/// Pieces above this length in bytes have an [`Interval`]; up to it a part of one is merged anew.
const LONG: usize = 256;

/// What a scanner is shown at first, in bytes.
const WINDOW: usize = 1024;

/// A text with the sums of its tokens. Every call must be given the same encoding.
#[derive(Debug)]
pub struct Prefix {
    text: Box<str>,
    /// Where each piece ends.
    ends: Vec<u32>,
    /// How many tokens there are up to each end.
    totals: Vec<u32>,
    intervals: Vec<Interval>,
    monotony: Monotony,
}

impl Prefix {
    /// Reads `text`, at most [`MAX_TEXT`] bytes, in linear time.
    ///
    /// Takes 8 bytes for each piece (a word, about) beside the text, and 16 for each byte of pieces above 256 bytes.
    pub fn new(encoding: &Encoding, text: Box<str>, scratch: &mut Scratch) -> Self {
        assert!(text.len() <= MAX_TEXT, "the text is longer than MAX_TEXT");
        let bytes = text.as_bytes();
        let (mut ends, mut totals, mut intervals) = (Vec::new(), Vec::new(), Vec::new());
        let mut monotony = Monotony::default();
        let mut total = 0;
        pieces::each(encoding.pattern, bytes, |slice, start, end, at| {
            let long = end - start > LONG && !encoding.vocabulary.is_token(slice, start, end);
            if !long {
                total += encoding.count_piece(slice, start, end, scratch);
            }
            let (start, end) = (at + start, at + end);
            if long {
                // A part may take the first character after it too: white space that no word follows any more.
                let interval = Interval::new(encoding, bytes, start, next_boundary(&text, end));
                total += interval.count_first(end - start);
                intervals.push(interval);
                monotony.add(bytes, start, end);
            }
            ends.push(end as u32);
            totals.push(total as u32);
        });
        ends.shrink_to_fit();
        totals.shrink_to_fit();
        Self { text, ends, totals, intervals, monotony }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number of tokens of the whole text.
    pub fn total(&self) -> usize {
        self.totals.last().map_or(0, |total| *total as usize)
    }

    /// The length in bytes of the longest piece, if it is above 256 bytes: a count may look at all of one or two.
    pub fn longest_piece(&self) -> usize {
        self.intervals.iter().map(|interval| interval.end() - interval.start()).max().unwrap_or(0)
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        let long: usize = self.intervals.iter().map(|interval| 16 * (interval.end() - interval.start() + 1)).sum();
        size_of::<Self>() + self.text.len() + 8 * self.ends.len() + long
    }

    /// The number of tokens of `text[from..to]`; both are character boundaries.
    ///
    /// Logarithmic in the number of pieces, plus what the pieces at both ends cost: they are cut and, where they are not
    /// long, merged anew.
    pub fn count(&self, encoding: &Encoding, from: usize, to: usize, scratch: &mut Scratch) -> usize {
        self.count_between(encoding, "", (from, to), "", scratch)
    }

    /// The number of tokens of `before`, then `text[from..to]`, then `after`, read as one text.
    pub(super) fn count_between(
        &self,
        encoding: &Encoding,
        before: &str,
        (from, to): (usize, usize),
        after: &str,
        scratch: &mut Scratch,
    ) -> usize {
        let bytes = self.text.as_bytes();
        let view = View { before: before.as_bytes(), text: bytes, from, to: to.max(from), after: after.as_bytes() };
        let (last_piece, last_end) = self.last_closed(view.to);
        let mut piece = self.ends.partition_point(|end| *end as usize <= from);
        let (mut total, mut at) = (0, 0);
        while at < view.len() {
            if let Some(here) = view.in_text(at)
                && (from..last_end).contains(&here)
            {
                while self.ends[piece] as usize <= here {
                    piece += 1;
                }
                if self.total_before(piece).0 == here {
                    total += self.totals[last_piece] as usize - self.total_before(piece).1;
                    at = view.of_text(last_end);
                    continue;
                }
            }
            let end = self.piece_end(encoding, &view, at);
            total += self.count_piece(encoding, &view, at, end, scratch);
            at = end;
        }
        total
    }

    /// Where a piece begins, and how many tokens there are before it.
    fn total_before(&self, piece: usize) -> (usize, usize) {
        piece.checked_sub(1).map_or((0, 0), |before| (self.ends[before] as usize, self.totals[before] as usize))
    }

    /// The last piece that is closed in `text[..to]`, and its end; `(0, 0)` where none is.
    fn last_closed(&self, to: usize) -> (usize, usize) {
        let text = &self.text.as_bytes()[..to];
        let mut pieces = self.ends.partition_point(|end| *end as usize + LOOKAHEAD <= to);
        while let Some(piece) = pieces.checked_sub(1) {
            let (start, end) = (self.total_before(piece).0, self.ends[piece] as usize);
            if closed_by(text, start, end, |at, mask| self.monotony.skip(text, at, mask)) {
                return (piece, end);
            }
            pieces -= 1;
        }
        (0, 0)
    }

    /// Where the piece of `view` that begins at `at` ends: the scanner is shown more until it knows.
    fn piece_end(&self, encoding: &Encoding, view: &View<'_>, at: usize) -> usize {
        let mut shown = WINDOW;
        if let Some((gap, gap_end)) = self.monotony.gap(view, at) {
            let to = view.boundary(view.len().min(gap_end + WINDOW));
            let text = [view.bytes(at, gap), view.bytes(gap_end, to)].concat();
            let end = encoding.piece_end(&text, 0);
            if to == view.len() || closed(&text, 0, end) {
                return if end <= gap - at { at + end } else { end - (gap - at) + gap_end };
            }
            shown = gap_end + WINDOW - at;
        }
        loop {
            let to = view.boundary(view.len().min(at + shown));
            let text = view.bytes(at, to);
            let end = encoding.piece_end(&text, 0);
            if to == view.len() || closed(&text, 0, end) {
                return at + end;
            }
            shown *= 4;
        }
    }

    /// The number of tokens of a piece of `view`.
    fn count_piece(
        &self,
        encoding: &Encoding,
        view: &View<'_>,
        start: usize,
        end: usize,
        scratch: &mut Scratch,
    ) -> usize {
        let part = view.bytes(start, end);
        if part.len() > LONG
            && let Some(to) = view.in_text(end)
            && let Some(interval) = self.interval(to, part.len())
            && to <= view.to
        {
            return interval.count(encoding, &part, view.before.len().saturating_sub(start), to);
        }
        encoding.count_piece(&part, 0, part.len(), scratch)
    }

    /// The interval that most of the `len` bytes before `to` lie in.
    fn interval(&self, to: usize, len: usize) -> Option<&Interval> {
        let later = self.intervals.partition_point(|interval| interval.start() < to);
        // Of two that overlap in one character the first is the one that has the bulk, if it reaches that far.
        let near = &self.intervals[later.saturating_sub(2)..later];
        near.iter().find(|interval| to <= interval.end() && to - interval.start() > len / 2)
    }
}

/// The end of the character that begins at `at`.
fn next_boundary(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(at, |character| at + character.len_utf8())
}
