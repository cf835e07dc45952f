//! Byte-pair merging of one piece: the pair of lowest rank first, the leftmost of equals, until no pair is a token.
//!
//! Short pieces do just that ([`super::scan`]). In longer ones, tokens are right where each two neighbours stay apart when
//! their bytes are merged (Hendrik van Antwerpen and Alexander Neubeck, "So many tokens, so little time", GitHub, 2024).
//! So windows are merged one after the other, each from where the tokens that are surely kept of the last one end, and
//! joined where the tokens at the border stay apart. Where they do not again and again, backtracking finds the tokens in
//! linear time: take the longest token that may stand after the last one, and go back where there is none.

use super::scan::{self, SCAN_LIMIT};
use super::vocab::Vocabulary;

/// Of a window's tokens so many are given back: bytes that follow may change them.
const GIVEN_BACK: usize = 3;

/// Fewer tokens in a window are long ones, which backtracking finds sooner.
const FEW: usize = 12;

/// As many words of memory are kept from one merge to the next, however long a piece was.
const KEPT: usize = 1 << 16;

/// Memory that merges reuse; making one is free.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The tokens of the last piece.
    tokens: Vec<u32>,
    /// A bit per position of the piece: set where no tokens lead to the end from.
    dead: Vec<u64>,
}

/// The tokens of a piece, from left to right.
pub(super) fn merge<'a>(vocabulary: &Vocabulary, piece: &[u8], scratch: &'a mut Scratch) -> &'a [u32] {
    scratch.tokens.clear();
    scratch.tokens.shrink_to(KEPT);
    scratch.dead.shrink_to(KEPT);
    if piece.len() <= SCAN_LIMIT {
        scan::scan(vocabulary, piece, &mut scratch.tokens);
    } else if !windows(vocabulary, piece, &mut scratch.tokens) {
        backtrack(vocabulary, piece, scratch);
    }
    &scratch.tokens
}

/// Merges window after window; gives up, false, where that might not take linear time.
fn windows(vocabulary: &Vocabulary, piece: &[u8], tokens: &mut Vec<u32>) -> bool {
    let mut retreats = 0;
    let mut at = 0;
    loop {
        let kept = tokens.len();
        let taken = scan::scan(vocabulary, &piece[at..], tokens);
        if kept > 0 && !stay_apart(vocabulary, tokens[kept - 1], tokens[kept]) {
            retreats += 1;
            if retreats * 8 > 64 + kept {
                break;
            }
            tokens.truncate(kept);
            at -= tokens.pop().map_or(0, |token| vocabulary.token_len(token));
            continue;
        }
        if at + taken == piece.len() {
            return true;
        }
        if tokens.len() < kept + FEW {
            break;
        }
        let back: usize = tokens.drain(tokens.len() - GIVEN_BACK..).map(|token| vocabulary.token_len(token)).sum();
        at += taken - back;
    }
    false
}

/// The tokens of the piece from left to right. A position is found dead once, so the time is linear.
fn backtrack(vocabulary: &Vocabulary, piece: &[u8], scratch: &mut Scratch) {
    let beginnings = vocabulary.beginnings();
    let Scratch { tokens, dead } = scratch;
    tokens.clear();
    dead.clear();
    dead.resize(piece.len() / 64 + 1, 0);
    let mut at = 0;
    let mut next = beginnings.longest(vocabulary, piece);
    while at < piece.len() {
        let before = tokens.last().copied();
        let end = at + vocabulary.token_len(next);
        if dead[end / 64] >> (end % 64) & 1 == 0 && before.is_none_or(|before| stay_apart(vocabulary, before, next)) {
            tokens.push(next);
            at = end;
            if at < piece.len() {
                next = beginnings.longest(vocabulary, &piece[at..]);
            }
        } else if end - at > 1 {
            next = beginnings.shorter(next);
        } else {
            // Nothing may follow the last token: it is a shorter one.
            dead[at / 64] |= 1 << (at % 64);
            next = tokens.pop().expect("every text has tokens, so the first position is never dead");
            at -= vocabulary.token_len(next);
        }
    }
}

/// Whether merging the bytes of two neighbouring tokens gives these two: no merge across their border comes first.
///
/// Undoes the merges inside both, the last first. Each time the two parts at the border must not be a token that would
/// have been merged before the merge just undone; of equal ranks the left comes first.
pub(super) fn stay_apart(vocabulary: &Vocabulary, mut left: u32, mut right: u32) -> bool {
    let pairs = vocabulary.pairs();
    let mut limit = u32::MAX;
    loop {
        if pairs.merged(left, right) < limit {
            return false;
        }
        if left > right {
            let Some((_, part)) = vocabulary.parts(left) else { return true };
            (limit, left) = (left, part);
        } else {
            let Some((part, _)) = vocabulary.parts(right) else { return true };
            (limit, right) = (right + 1, part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static VOCABULARY: LazyLock<Vocabulary> =
        LazyLock::new(|| Vocabulary::unpack(include_bytes!("data/cl100k_base.bin")).expect("sound"));

    proptest! {
        /// Both ways of long pieces, each on its own: one of them alone would do.
        #[test]
        fn windows_and_backtracking_find_the_same_tokens(
            piece in "[a-z]{65,2000}|[ab]{65,2000}|[A-Za-z0-9+/]{65,2000}|[а-яё]{40,500}|[ \\n\\t]{65,2000}|(abc|ing|tion|s){30,300}"
        ) {
            let vocabulary = &*VOCABULARY;
            let (mut tokens, mut scratch) = (Vec::new(), Scratch::default());
            backtrack(vocabulary, piece.as_bytes(), &mut scratch);
            if windows(vocabulary, piece.as_bytes(), &mut tokens) {
                prop_assert_eq!(&tokens, &scratch.tokens);
            }
            for pair in scratch.tokens.windows(2) {
                prop_assert!(stay_apart(vocabulary, pair[0], pair[1]));
            }
        }
    }
}
