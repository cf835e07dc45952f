//! Which pieces of a text are final, whatever text comes after it.
//!
//! A piece is closed if its scanner, on the way to its end, saw no more than the text has. What do scanners look at past
//! the end of the piece they cut?
//!
//! - One character more, to see that a run of one class ends; three bytes more for a contraction. So a piece with three
//!   bytes after it has seen all but what follows.
//! - White space gives back what is after its last newline, or its last character: the scanner saw the whole run.
//! - Words of upper and caseless letters without a lower-case one give back the upper case after the last caseless one:
//!   `日AB` is `日`, `AB`, but `日ABc` is one word. The scanner saw the whole run of these.
//!
//! Such a run that has not ended before the text does keeps all its pieces open. It reaches from the first of them to
//! the end, so all pieces before an open one of these kinds are closed but those within three bytes of the end: the
//! closed pieces of a text are its first ones. Tests at every cut hold the rule against the scanners.

use super::unicode::{CASELESS, LOWER, MARK, UPPER, WHITE, class_at, skip};

/// What a word may begin with that is not lower case.
pub(super) const HEAD: u8 = UPPER | CASELESS | MARK;
/// What such a word must end with.
pub(super) const TAIL: u8 = LOWER | CASELESS | MARK;

/// The most bytes a scanner looks at past a piece's end, but for what it looks at of a run.
pub(super) const LOOKAHEAD: usize = 3;

/// Whether the piece `text[start..end]` stays as it is whatever follows `text`.
pub(super) fn closed(text: &[u8], start: usize, end: usize) -> bool {
    closed_by(text, start, end, |at, mask| skip(text, at, mask))
}

/// [`closed`] with a way to find the end of a run of classes.
#[inline]
pub(super) fn closed_by(text: &[u8], start: usize, end: usize, skip: impl Fn(usize, u8) -> usize) -> bool {
    if end + LOOKAHEAD > text.len() {
        return false;
    }
    let (after, _) = class_at(text, end);
    if after & WHITE != 0 {
        return skip(end, WHITE) < text.len() || skip(start, WHITE) < end;
    }
    if after & HEAD != 0 && skip(end, HEAD) == text.len() {
        let (class, length) = class_at(text, start);
        let begin = if class & HEAD == 0 { start + length } else { start };
        return end <= begin || skip(begin, HEAD) < end;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::Encoding;
    use super::*;

    /// One or two characters of each class, and those that a pattern names.
    const ALPHABET: [&str; 14] =
        ["s", "A", "日", "\u{301}", "7", " ", "\u{3000}", "\n", "\r", "'", "/", "!", "l", "\u{17f}"];

    /// The ends of the closed pieces of `text`, and how many other pieces there are.
    fn ends(encoding: &Encoding, text: &str) -> (Vec<usize>, usize) {
        let (mut ends, mut open, mut at) = (Vec::new(), 0, 0);
        while at < text.len() {
            let end = encoding.piece_end(text.as_bytes(), at);
            if closed(text.as_bytes(), at, end) {
                assert_eq!(open, 0, "the closed pieces of {text:?} are not its first ones");
                ends.push(end);
            } else {
                open += 1;
            }
            at = end;
        }
        (ends, open)
    }

    #[test]
    fn the_closed_pieces_of_every_short_text_stay_when_it_grows() {
        for name in Encoding::names() {
            let encoding = Encoding::by_name(name).expect("shipped");
            for number in 0..ALPHABET.len().pow(5) {
                let letters = (0..5).map(|place| ALPHABET[number / ALPHABET.len().pow(place) % ALPHABET.len()]);
                let text: String = letters.collect();
                let mut all = Vec::new();
                while all.last() != Some(&text.len()) {
                    all.push(encoding.piece_end(text.as_bytes(), all.last().copied().unwrap_or(0)));
                }
                for (cut, _) in text.char_indices() {
                    let (closed, _) = ends(encoding, &text[..cut]);
                    assert!(all.starts_with(&closed), "{name}: {text:?} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn prose_closes_all_but_its_last_word() {
        let encoding = Encoding::by_name("o200k_base").expect("shipped");
        let text = "It isn't camelCase, HTTPServer or 日本語: it's 12,345 words.\n\n  Next";
        assert_eq!(ends(encoding, text).1, 1);
    }
}
