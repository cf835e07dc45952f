//! Writes a choice: of each item its text, with marks that say which of the missing lines stand below, in a newer text.
//!
//! A file that was read again, a result that came twice: the newest stays, and of an older one what is another.

use super::board::Board;
use super::document::Document;
use super::kind::unnumbered;
use super::render::{Marks, gaps, render_marked};
use super::select::{Choice, Item};

/// A mark that says it has so many tokens more.
pub(super) const BELOW: u32 = 2;
/// Fewer lines are not worth it.
const LINES: u32 = 2;
/// Places of a line that are tried, the newest first.
const PLACES: u32 = 4;
const NONE: u32 = u32::MAX;

/// Of each item its text, None for what goes and Some(None) for what stays as it is.
///
/// `budget` is what `choice` was made for: what it has left is spent on marks that say more. `handles`: those of the items,
/// in the first mark of each; none, or one an item; `board`: what the choice was made on. O(segments).
#[must_use]
pub fn write(
    items: &[Item<'_>],
    choice: &Choice,
    budget: u32,
    handles: &[String],
    board: &Board,
) -> Vec<Option<Option<String>>> {
    let mut below = stand_below(items, choice, budget.saturating_sub(choice.tokens), board);
    let mut texts = Vec::with_capacity(items.len());
    for (index, (item, kept)) in items.iter().zip(&choice.kept).enumerate() {
        texts.push(kept.as_ref().map(|kept| {
            let is_whole = item.document.is_empty() || kept[..] == [(0, item.document.len() as u32)];
            let marks = Marks {
                handle: handles.get(index).map_or("", String::as_str),
                below: &std::mem::take(&mut below[index]),
            };
            (!is_whole).then(|| render_marked(item.document, kept, marks))
        }));
    }
    texts
}

/// Of each item, for each of its gaps, whether it is to say that its lines stand below.
fn stand_below(items: &[Item<'_>], choice: &Choice, mut left: u32, board: &Board) -> Vec<Vec<bool>> {
    let mut found = vec![Vec::new(); items.len()];
    // Where lines stand that are kept, in the texts below.
    let mut places = Places { found: vec![(0, NONE); board.lines().numbers()], all: Vec::new() };
    for (index, item) in items.iter().enumerate().rev() {
        let Some(kept) = &choice.kept[index] else { continue };
        let document = item.document;
        let lines = &board.lines().all()[board.lines().start_of(index)..];
        for (start, end) in gaps(kept, document.len() as u32) {
            let is_below = left >= BELOW
                && end - start >= LINES
                && is_below(items, choice, places.of(lines[start as usize]), document, start..end);
            left -= if is_below { BELOW } else { 0 };
            found[index].push(is_below);
        }
        if document.len() <= LINES as usize {
            continue;
        }
        for at in kept.iter().flat_map(|&(start, end)| start..end) {
            places.add(lines[at as usize], (index, at));
        }
    }
    found
}

/// Where lines stand, by their numbers.
struct Places {
    /// Of each line how many places it has, and the last of them in `all`, of which each names the one before.
    found: Vec<(u32, u32)>,
    all: Vec<((usize, u32), u32)>,
}

impl Places {
    fn add(&mut self, line: u32, place: (usize, u32)) {
        let (count, last) = &mut self.found[line as usize];
        if *count < PLACES {
            *count += 1;
            self.all.push((place, std::mem::replace(last, self.all.len() as u32)));
        }
    }

    fn of(&self, line: u32) -> impl Iterator<Item = (usize, u32)> {
        let mut next = self.found[line as usize].1;
        std::iter::from_fn(move || {
            let &(place, before) = self.all.get(next as usize)?;
            next = before;
            Some(place)
        })
    }
}

/// Whether all lines of a gap stand in one text below, one after another, and all of them kept.
fn is_below(
    items: &[Item<'_>],
    choice: &Choice,
    mut places: impl Iterator<Item = (usize, u32)>,
    document: &Document,
    gap: std::ops::Range<u32>,
) -> bool {
    places.any(|(index, from)| {
        let (other, last) = (items[index].document, from + gap.len() as u32);
        let is_kept = |kept: &Vec<(u32, u32)>| kept.iter().any(|&(start, end)| start <= from && last <= end);
        last as usize <= other.len()
            && choice.kept[index].as_ref().is_some_and(is_kept)
            && gap
                .clone()
                .zip(from..last)
                .all(|(here, there)| line(document.part(here as usize)) == line(other.part(there as usize)))
    })
}

fn line(part: &str) -> &str {
    unnumbered(part).trim_end()
}
