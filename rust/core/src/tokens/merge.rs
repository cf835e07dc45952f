//! Byte-pair merging of one piece: the pair of lowest rank first, the leftmost of equals, until no pair is a token.
//!
//! Short pieces scan their few pairs for each merge; longer ones keep the pairs in a heap, O(n log n) on any input.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::vocab::{NONE, Vocabulary};

/// Up to this many bytes the scan is faster than the heap.
const SCAN_LIMIT: usize = 96;

/// Memory that merges reuse; making one is free.
#[derive(Debug, Default)]
pub struct Scratch {
    /// One entry per byte of the piece, by where a part starts.
    parts: Vec<Part>,
    /// Rank, then start, of pairs; an entry counts while its part still has that rank.
    pairs: BinaryHeap<Reverse<u64>>,
}

/// A part of the piece during merging, linked to its neighbours.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Where the part before starts; unused at the first.
    before: u32,
    /// Where the part ends and the next starts.
    end: u32,
    /// The rank of this part joined with the next, or `NONE`.
    rank: u32,
}

/// Merges `text[start..end]`, two bytes or more, and calls `each` with the bounds of every token from left to right.
pub(super) fn merge(
    vocabulary: &Vocabulary,
    text: &[u8],
    (start, end): (usize, usize),
    scratch: &mut Scratch,
    each: impl FnMut(usize, usize),
) {
    if end - start <= SCAN_LIMIT {
        scan(vocabulary, text, start, end, each);
    } else {
        heap(vocabulary, text, start, end, scratch, each);
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

fn heap(
    vocabulary: &Vocabulary,
    text: &[u8],
    start: usize,
    end: usize,
    scratch: &mut Scratch,
    mut each: impl FnMut(usize, usize),
) {
    let piece = &text[start..end];
    let Scratch { parts, pairs } = scratch;
    parts.clear();
    parts.extend((0..piece.len()).map(|at| Part {
        before: at.wrapping_sub(1) as u32,
        end: at as u32 + 1,
        rank: piece.get(at + 1).map_or(NONE, |next| vocabulary.rank_of_pair(piece[at], *next)),
    }));
    let mut initial = std::mem::take(pairs).into_vec();
    initial.clear();
    initial
        .extend(parts.iter().zip(0_u64..).filter(|(part, _)| part.rank != NONE).map(|(part, at)| entry(part.rank, at)));
    *pairs = BinaryHeap::from(initial);

    while let Some(Reverse(lowest)) = pairs.pop() {
        let at = lowest as u32 as usize;
        let part = parts[at];
        if u64::from(part.rank) != lowest >> 32 {
            continue; // one side was merged elsewhere since
        }
        let next = parts[part.end as usize];
        parts[part.end as usize].rank = NONE;
        parts[at].end = next.end;
        if let Some(after) = parts.get_mut(next.end as usize) {
            after.before = at as u32;
        }
        let mut join = |at: usize| {
            let rank = match parts.get(parts[at].end as usize) {
                Some(next) => vocabulary.rank(text, start + at, start + next.end as usize),
                None => NONE,
            };
            parts[at].rank = rank;
            if rank != NONE {
                pairs.push(entry(rank, at as u64));
            }
        };
        join(at);
        if at > 0 {
            join(part.before as usize);
        }
    }
    let mut at = 0;
    while let Some(part) = parts.get(at) {
        each(start + at, start + part.end as usize);
        at = part.end as usize;
    }
}

/// A heap entry: lower rank first, then further left.
fn entry(rank: u32, at: u64) -> Reverse<u64> {
    Reverse(u64::from(rank) << 32 | at)
}
