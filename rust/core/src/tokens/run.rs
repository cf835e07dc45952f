//! A long piece that is still open: which characters only make it longer.
//!
//! What a scanner does within a run of characters does not depend on how many there are, so the run can be asked once,
//! by adding a character of each class at its end, and later characters need not be scanned from its beginning.

use super::Encoding;
use super::open::{HEAD, TAIL};
use super::unicode::{NEWLINE, WHITE, class_at, skip};

/// A character of each class.
const SAMPLES: [&str; 8] = ["!", "1", "A", "a", "日", "\u{301}", " ", "\n"];

/// How an open text of one run is cut: into one piece, or into what is up to `split` and the rest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The classes of the characters that may follow.
    takes: u8,
    /// `/` may follow, whatever its class.
    takes_slash: bool,
    /// The classes of those after which the text is split anew.
    splits: u8,
    /// Where the second piece begins; 0 where there is none.
    split: usize,
}

impl Run {
    /// The run that `text`, of no closed pieces, is; none where it is not plain what may follow.
    pub(super) fn of(encoding: &Encoding, text: &[u8]) -> Option<Self> {
        let cut_after = |sample: &str| encoding.piece_end(sample.as_bytes(), 0) < sample.len();
        let (first, length) = class_at(text, 0);
        let begin = if first & HEAD == 0 { length } else { 0 };
        let split = if skip(text, 0, WHITE) == text.len() {
            Some((0, WHITE, if cut_after("\n ") { NEWLINE } else { 0 }))
        } else if cut_after("aA") && skip(text, begin, HEAD) == text.len() {
            Some((begin, HEAD, HEAD & TAIL))
        } else {
            None
        };
        if let Some((begin, takes, splits)) = split {
            let mut run = Self { takes, takes_slash: false, splits, split: 0 };
            return run.take(text, begin).then_some(run);
        }

        let mut sampled = text.to_vec();
        let mut longer = |sample: &str| {
            sampled.truncate(text.len());
            sampled.extend_from_slice(sample.as_bytes());
            encoding.piece_end(&sampled, 0) == sampled.len()
        };
        if !longer("") {
            return None;
        }
        let mut takes = 0;
        for sample in SAMPLES {
            let (class, _) = class_at(sample.as_bytes(), 0);
            if longer(sample) {
                takes |= class;
            }
        }
        // After symbols newlines may follow, but no symbols after these.
        let symbols = class_at(b"!", 0).0;
        if takes & symbols != 0 {
            takes &= !NEWLINE;
        }
        Some(Self { takes, takes_slash: takes & symbols == 0 && longer("/"), splits: 0, split: 0 })
    }

    /// Whether all characters of `text` from `at` on only make the run longer; then they are part of it.
    pub(super) fn take(&mut self, text: &[u8], mut at: usize) -> bool {
        while at < text.len() {
            let (class, length) = class_at(text, at);
            if class & self.takes == 0 && !(self.takes_slash && text[at] == b'/') {
                return false;
            }
            at += length;
            if class & self.splits != 0 {
                self.split = at;
            }
        }
        true
    }

    /// Where the text so far is cut in two; its end where it is one piece.
    pub(super) fn first_end(&self, len: usize) -> usize {
        if self.split == 0 { len } else { self.split }
    }
}
