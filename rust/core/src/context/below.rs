//! Writes a choice: of each item its text, with marks that say which of the missing lines stand below, in a newer text.
//!
//! A file that was read again, a result that came twice: the newest stays, and of an older one what is another.

use std::collections::HashMap;

use super::document::Document;
use super::kind::unnumbered;
use super::render::{Marks, gaps, render_marked};
use super::select::{Choice, Item};

/// A mark that says it has so many tokens more.
pub(super) const BELOW: u32 = 2;
/// Fewer lines are not worth it.
const LINES: usize = 2;
/// Places of a line that are tried, the newest first.
const PLACES: usize = 4;

/// Of each item its text, None for what goes and Some(None) for what stays as it is.
///
/// `budget` is what `choice` was made for: what it has left is spent on marks that say more. `handles`: those of the items,
/// in the first mark of each; none, or one an item. O(segments).
#[must_use]
pub fn write(items: &[Item<'_>], choice: &Choice, budget: u32, handles: &[String]) -> Vec<Option<Option<String>>> {
    let mut below = stand_below(items, choice, budget.saturating_sub(choice.tokens));
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
fn stand_below(items: &[Item<'_>], choice: &Choice, mut left: u32) -> Vec<Vec<bool>> {
    let mut found = vec![Vec::new(); items.len()];
    // Where lines stand that are kept, in the texts below.
    let mut places: HashMap<u32, Vec<(usize, u32)>> = HashMap::new();
    for (index, item) in items.iter().enumerate().rev() {
        let Some(kept) = &choice.kept[index] else { continue };
        let document = item.document;
        for (start, end) in gaps(kept, document.len() as u32) {
            let is_below = left >= BELOW && is_below(items, choice, &places, document, start..end);
            left -= if is_below { BELOW } else { 0 };
            found[index].push(is_below);
        }
        if document.len() <= LINES {
            continue;
        }
        for at in kept.iter().flat_map(|&(start, end)| start..end) {
            let there = places.entry(document.same(at as usize)).or_default();
            if there.len() < PLACES {
                there.push((index, at));
            }
        }
    }
    found
}

/// Whether all lines of a gap stand in one text below, one after another, and all of them kept.
fn is_below(
    items: &[Item<'_>],
    choice: &Choice,
    places: &HashMap<u32, Vec<(usize, u32)>>,
    document: &Document,
    gap: std::ops::Range<u32>,
) -> bool {
    if gap.len() < LINES {
        return false;
    }
    let Some(there) = places.get(&document.same(gap.start as usize)) else { return false };
    there.iter().any(|&(index, from)| {
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
