//! Byte-pair merging by a list of pairs, as Hugging Face's `tokenizers` does it: the listed pair of lowest rank first,
//! the leftmost of equals, until no pair is listed.
//!
//! [`super::merge`] merges by the rank of what a pair makes together, which is faster but needs a vocabulary of which
//! [`super::compile`] has found that both come to the same.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// The end of a linked list.
const NONE: u32 = u32::MAX;

/// The pairs of tokens that are merged. Tokens are their places in a [`super::token_list::TokenList`].
#[derive(Debug)]
pub(super) struct MergeList {
    /// The token of each byte.
    singles: Box<[u32]>,
    /// By pair: the rank of its merge, and the token it makes.
    pairs: HashMap<(u32, u32), (u32, u32)>,
}

/// The last merge that makes a token of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastMerge {
    pub(super) rank: u32,
    pub(super) left: u32,
    pub(super) right: u32,
}

/// Memory that merges reuse; making one is free.
#[derive(Debug, Default)]
pub(super) struct ListScratch {
    /// Each part of the piece: its token and the parts beside it.
    parts: Vec<Part>,
    /// The pairs that may be merged, the next first.
    queue: BinaryHeap<Reverse<Candidate>>,
}

/// A pair that may be merged, in the order of merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    /// The place of its left part.
    at: u32,
    left: u32,
    right: u32,
    made: u32,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    token: u32,
    before: u32,
    after: u32,
}

impl MergeList {
    /// No merges yet, over the tokens of the single bytes.
    pub(super) fn new(singles: &[u32; 256]) -> Self {
        Self { singles: singles.as_slice().into(), pairs: HashMap::new() }
    }

    /// The token of each byte.
    pub(super) fn singles(&self) -> &[u32] {
        &self.singles
    }

    /// Lists a pair; false where it is listed already.
    pub(super) fn add(&mut self, (left, right): (u32, u32), rank: u32, made: u32) -> bool {
        self.pairs.insert((left, right), (rank, made)).is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Calls `each` with the tokens of a piece from left to right; says the last merge. `O(n log n)`.
    pub(super) fn merge(
        &self,
        piece: &[u8],
        scratch: &mut ListScratch,
        mut each: impl FnMut(u32),
    ) -> Option<LastMerge> {
        let ListScratch { parts, queue } = scratch;
        parts.clear();
        queue.clear();
        parts.extend((0..).zip(piece).map(|(at, byte): (u32, _)| Part {
            token: self.singles[usize::from(*byte)],
            before: at.wrapping_sub(1),
            after: if at as usize + 1 == piece.len() { NONE } else { at + 1 },
        }));
        let offer = |queue: &mut BinaryHeap<_>, parts: &[Part], at: u32| {
            let Part { token: left, after, .. } = parts[at as usize];
            if after != NONE {
                let right = parts[after as usize].token;
                if let Some((rank, made)) = self.pairs.get(&(left, right)) {
                    queue.push(Reverse(Candidate { rank: *rank, at, left, right, made: *made }));
                }
            }
        };
        for at in 0..parts.len() as u32 {
            offer(queue, parts, at);
        }
        let mut last = None;
        while let Some(Reverse(Candidate { rank, at, left, right, made })) = queue.pop() {
            let Part { token, after, .. } = parts[at as usize];
            // Offered for parts that other merges have changed since.
            if token != left || after == NONE || parts[after as usize].token != right {
                continue;
            }
            let beyond = parts[after as usize].after;
            parts[after as usize].token = NONE;
            parts[at as usize].token = made;
            parts[at as usize].after = beyond;
            if beyond != NONE {
                parts[beyond as usize].before = at;
            }
            last = Some(LastMerge { rank, left, right });
            offer(queue, parts, at);
            let before = parts[at as usize].before;
            if before != NONE {
                offer(queue, parts, before);
            }
        }
        let mut at = if piece.is_empty() { NONE } else { 0 };
        while at != NONE {
            each(parts[at as usize].token);
            at = parts[at as usize].after;
        }
        last
    }
}
