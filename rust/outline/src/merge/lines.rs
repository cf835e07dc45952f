//! Three-way merge of sequences (lines of a text, or names of symbols): what each side changed of the base, side by side.
//!
//! The two differences are those of `gix-imara-diff`; the merge of them is diff3 (Khanna, Kunal and Pierce, "A Formal
//! Investigation of Diff3", 2007), where changes that touch are one change, as in Git.

use std::ops::Range;

use gix_imara_diff::{Algorithm, Diff, Hunk, Interner, Token};

/// What became of a stretch of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Ours,
    Theirs,
    /// Both sides made the same change.
    Same,
    Conflict,
}

/// A stretch of the base and what stands in its place on each side, as indices of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) change: Change,
    pub(super) base: Range<usize>,
    pub(super) ours: Range<usize>,
    pub(super) theirs: Range<usize>,
}

/// The lines of a text, each with its ending. O(bytes).
pub(super) fn split(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Merges three sequences of items. Time is that of two differences whose search is cut short where it would be quadratic.
pub(super) fn diff3<'a>(base: &[&'a str], ours: &[&'a str], theirs: &[&'a str]) -> Vec<Chunk> {
    let mut interner = Interner::new(base.len());
    let mut tokens = |items: &[&'a str]| items.iter().map(|item| interner.intern(*item)).collect::<Vec<Token>>();
    let (base, ours, theirs) = (tokens(base), tokens(ours), tokens(theirs));
    let distinct = interner.num_tokens();
    let (left, right) = (hunks(&base, &ours, distinct), hunks(&base, &theirs, distinct));
    Merger { base: &base, ours: &ours, theirs: &theirs, chunks: Vec::new() }.merge(&left, &right)
}

fn hunks(before: &[Token], after: &[Token], distinct: u32) -> Vec<Hunk> {
    let mut diff = Diff::default();
    diff.compute_with(Algorithm::Histogram, before, after, distinct);
    diff.hunks().collect()
}

struct Merger<'a> {
    base: &'a [Token],
    ours: &'a [Token],
    theirs: &'a [Token],
    chunks: Vec<Chunk>,
}

impl Merger<'_> {
    fn merge(mut self, left: &[Hunk], right: &[Hunk]) -> Vec<Chunk> {
        let (mut l, mut r) = (0, 0);
        // Where the unchanged stretch begins, in each.
        let (mut base, mut ours, mut theirs) = (0, 0, 0);
        loop {
            let start = match (left.get(l), right.get(r)) {
                (None, None) => break,
                (Some(one), None) | (None, Some(one)) => one.before.start,
                (Some(one), Some(other)) => one.before.start.min(other.before.start),
            } as usize;
            let (first_l, first_r) = (l, r);
            let mut end = start;
            loop {
                let reaches = |hunk: &&Hunk| hunk.before.start as usize <= end;
                let hunk = if let Some(hunk) = left.get(l).filter(reaches) {
                    l += 1;
                    hunk
                } else if let Some(hunk) = right.get(r).filter(reaches) {
                    r += 1;
                    hunk
                } else {
                    break;
                };
                end = end.max(hunk.before.end as usize);
            }
            let same = start - base;
            self.push(Change::None, base..start, ours..ours + same, theirs..theirs + same);
            (ours, theirs) = (ours + same, theirs + same);
            let ours_end = ours + length(&left[first_l..l], end - start);
            let theirs_end = theirs + length(&right[first_r..r], end - start);
            self.changed((first_l < l, first_r < r), start..end, ours..ours_end, theirs..theirs_end);
            (base, ours, theirs) = (end, ours_end, theirs_end);
        }
        self.push(Change::None, base..self.base.len(), ours..self.ours.len(), theirs..self.theirs.len());
        self.chunks
    }

    fn changed(&mut self, by: (bool, bool), base: Range<usize>, mut ours: Range<usize>, mut theirs: Range<usize>) {
        let change = match by {
            (true, false) => Change::Ours,
            (false, true) => Change::Theirs,
            _ if self.ours[ours.clone()] == self.theirs[theirs.clone()] => Change::Same,
            _ => Change::Conflict,
        };
        if change != Change::Conflict {
            self.push(change, base, ours, theirs);
            return;
        }
        // What both sides begin and end with alike is in no dispute.
        let shortest = |ours: &Range<usize>, theirs: &Range<usize>| ours.len().min(theirs.len());
        let alike = |at: &usize| self.ours[ours.start + at] == self.theirs[theirs.start + at];
        let head = (0..shortest(&ours, &theirs)).take_while(alike).count();
        let whole = (ours.clone(), theirs.clone());
        (ours.start, theirs.start) = (ours.start + head, theirs.start + head);
        let alike = |at: &usize| self.ours[ours.end - 1 - at] == self.theirs[theirs.end - 1 - at];
        let tail = (0..shortest(&ours, &theirs)).take_while(alike).count();
        (ours.end, theirs.end) = (ours.end - tail, theirs.end - tail);
        self.push(Change::Same, base.start..base.start, whole.0.start..ours.start, whole.1.start..theirs.start);
        let after = (ours.end..whole.0.end, theirs.end..whole.1.end);
        self.push(Change::Conflict, base.clone(), ours, theirs);
        self.push(Change::Same, base.end..base.end, after.0, after.1);
    }

    fn push(&mut self, change: Change, base: Range<usize>, ours: Range<usize>, theirs: Range<usize>) {
        if !(base.is_empty() && ours.is_empty() && theirs.is_empty()) {
            self.chunks.push(Chunk { change, base, ours, theirs });
        }
    }
}

/// How many items a side has where the base has `base`, given its changes there.
fn length(hunks: &[Hunk], base: usize) -> usize {
    let (removed, added) =
        hunks.iter().fold((0, 0), |(removed, added), hunk| (removed + hunk.before.len(), added + hunk.after.len()));
    base - removed + added
}
