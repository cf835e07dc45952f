//! Byte-pair merging of one piece: the pair of lowest rank first, the leftmost of equals, until no pair is a token.
//!
//! Short pieces do just that, with a scan of the few pairs for each merge. Longer ones find the same tokens from left to
//! right in linear time, by the backtracking of Hendrik van Antwerpen and Alexander Neubeck ("So many tokens, so little
//! time", GitHub, 2024): take the longest token that may stand after the last one, and go back where there is none.

use super::vocab::{NONE, Vocabulary};

/// Up to this many bytes the scan is faster.
const SCAN_LIMIT: usize = 128;

/// Memory that merges reuse; making one is free.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The tokens taken so far.
    taken: Vec<u32>,
    /// A bit per position of the piece: set where no tokens lead to the end from.
    dead: Vec<u64>,
}

/// Merges `text[start..end]`, two bytes or more, and calls `each` with the bounds of every token from left to right.
pub(super) fn merge(
    vocabulary: &Vocabulary,
    text: &[u8],
    (start, end): (usize, usize),
    scratch: &mut Scratch,
    mut each: impl FnMut(usize, usize),
) {
    if end - start <= SCAN_LIMIT {
        scan(vocabulary, text, start, end, each);
    } else {
        backtrack(vocabulary, &text[start..end], scratch, |from, to| each(start + from, start + to));
    }
}

fn scan(vocabulary: &Vocabulary, text: &[u8], start: usize, end: usize, mut each: impl FnMut(usize, usize)) {
    // Part i is starts[i]..starts[i + 1]; ranks[i] is that of part i joined with part i + 1.
    let mut starts = [0_u8; SCAN_LIMIT + 1];
    let mut ranks = [NONE; SCAN_LIMIT];
    let mut parts = end - start;
    for (at, place) in starts[..=parts].iter_mut().enumerate() {
        *place = at as u8;
    }
    for (rank, pair) in ranks.iter_mut().zip(text[start..end].windows(2)) {
        *rank = vocabulary.rank_of_pair(pair[0], pair[1]);
    }
    loop {
        let ranked = &ranks[..parts - 1];
        let lowest = ranked.iter().copied().fold(NONE, u32::min);
        if lowest == NONE {
            break;
        }
        let at = ranked.iter().position(|rank| *rank == lowest).unwrap_or(0);
        starts.copy_within(at + 2..=parts, at + 1);
        ranks.copy_within(at + 1..parts, at);
        parts -= 1;
        let joined = |i: usize| {
            if i + 2 > parts {
                return NONE;
            }
            vocabulary.rank(text, start + usize::from(starts[i]), start + usize::from(starts[i + 2]))
        };
        ranks[at] = joined(at);
        if at > 0 {
            ranks[at - 1] = joined(at - 1);
        }
    }
    for bounds in starts[..=parts].windows(2) {
        each(start + usize::from(bounds[0]), start + usize::from(bounds[1]));
    }
}

/// The tokens of the piece from left to right. A position is found dead once, so the time is linear.
fn backtrack(vocabulary: &Vocabulary, piece: &[u8], scratch: &mut Scratch, mut each: impl FnMut(usize, usize)) {
    let longest = vocabulary.longest();
    let Scratch { taken, dead } = scratch;
    taken.clear();
    dead.clear();
    dead.resize(piece.len() / 64 + 1, 0);
    let mut at = 0;
    let mut next = longest.of(vocabulary, piece);
    while at < piece.len() {
        let before = taken.last().copied();
        let start = before.map_or(0, |before| at - vocabulary.token_len(before));
        let end = at + vocabulary.token_len(next);
        if dead[end / 64] >> (end % 64) & 1 == 0
            && before.is_none_or(|before| stay_apart(vocabulary, piece, (start, before), at, (end, next)))
        {
            taken.push(next);
            at = end;
            if at < piece.len() {
                next = longest.of(vocabulary, &piece[at..]);
            }
        } else if end - at > 1 {
            next = longest.shorter(next);
        } else {
            // Nothing may follow the last token: it is a shorter one.
            dead[at / 64] |= 1 << (at % 64);
            next = taken.pop().expect("every text has tokens, so the first position is never dead");
            at = start;
        }
    }
    let mut at = 0;
    for token in taken {
        let end = at + vocabulary.token_len(*token);
        each(at, end);
        at = end;
    }
}

/// Whether merging the bytes of two neighbouring tokens gives these two: no merge across their border comes first.
///
/// Undoes the merges inside both, the last first. Each time the two parts at the border must not be a token that would
/// have been merged before the merge just undone; of equal ranks the left comes first.
pub(super) fn stay_apart(
    vocabulary: &Vocabulary,
    piece: &[u8],
    (mut start, mut left): (usize, u32),
    border: usize,
    (mut end, mut right): (usize, u32),
) -> bool {
    let mut limit = NONE;
    loop {
        if vocabulary.rank(piece, start, end) < limit {
            return false;
        }
        if left > right {
            let Some((_, part)) = vocabulary.parts(left) else { return true };
            (limit, left) = (left, part);
            start = border - vocabulary.token_len(part);
        } else {
            let Some((part, _)) = vocabulary.parts(right) else { return true };
            (limit, right) = (right + 1, part);
            end = border + vocabulary.token_len(part);
        }
    }
}
