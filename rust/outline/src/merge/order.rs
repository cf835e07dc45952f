//! In which order the parts of both sides stand: three-way, by their names, so that a part may move and change at once.

use std::collections::{HashMap, HashSet};

use super::lines::{self, Change};

/// What a part is, for the question whether parts that both sides put at one place can stand beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Has a name, by which others find it wherever it stands.
    Symbol,
    /// Likewise: what it brings in has a name.
    Import,
    /// A statement or a comment: where it stands is what it means.
    Other,
}

/// A part by what it is known by: equal keys are one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) key: &'a str,
    pub(super) part: Part,
}

/// The parts in the order both sides agree to, each once; none where they do not. Keys are unique on each side.
pub(super) fn order<'a>(base: &[Item<'a>], ours: &[Item<'a>], theirs: &[Item<'a>]) -> Option<Vec<Item<'a>>> {
    let keys = |items: &[Item<'a>]| items.iter().map(|item| item.key).collect::<Vec<_>>();
    let mut merged = Vec::with_capacity(ours.len().max(theirs.len()));
    for chunk in lines::diff3(&keys(base), &keys(ours), &keys(theirs)) {
        match chunk.change {
            Change::None | Change::Ours | Change::Same => merged.extend_from_slice(&ours[chunk.ours]),
            Change::Theirs => merged.extend_from_slice(&theirs[chunk.theirs]),
            Change::Conflict => {
                merged.extend(region(&base[chunk.base], &ours[chunk.ours], &theirs[chunk.theirs])?);
            }
        }
    }
    let before: HashSet<&str> = keys(base).into_iter().collect();
    let mut seen = HashSet::with_capacity(merged.len());
    let mut is_moved_by_both = false;
    merged.retain(|item| {
        let is_first = seen.insert(item.key);
        is_moved_by_both |= !is_first && before.contains(item.key);
        is_first // what both add, at two places, stands at the first
    });
    let in_theirs: HashSet<&str> = keys(theirs).into_iter().collect();
    let kept = ours.iter().filter(|item| in_theirs.contains(item.key) || !before.contains(item.key));
    let added = theirs.iter().filter(|item| !before.contains(item.key));
    (!is_moved_by_both && kept.chain(added).all(|item| seen.contains(item.key))).then_some(merged)
}

/// A stretch that both sides changed. What both have divides it; between, what each adds stands side by side where it may.
fn region<'a>(base: &[Item<'a>], ours: &[Item<'a>], theirs: &[Item<'a>]) -> Option<Vec<Item<'a>>> {
    let place: HashMap<&str, usize> = base.iter().enumerate().map(|(place, item)| (item.key, place)).collect();
    let set = |items: &[Item<'a>]| items.iter().map(|item| item.key).collect::<HashSet<_>>();
    let (in_ours, in_theirs) = (set(ours), set(theirs));
    let touches_others = |side: &[Item<'a>], has: &HashSet<&str>, other: &HashSet<&str>| {
        let is_own = |item: &&Item<'a>| item.part == Part::Other && !other.contains(item.key);
        side.iter().filter(is_own).any(|item| !place.contains_key(item.key))
            || base.iter().any(|item| item.part == Part::Other && !has.contains(item.key))
    };
    if touches_others(ours, &in_ours, &in_theirs) && touches_others(theirs, &in_theirs, &in_ours) {
        return None;
    }
    let is_in_both = |item: &Item<'a>| in_ours.contains(item.key) && in_theirs.contains(item.key);
    let anchors = |side: &[Item<'a>]| side.iter().copied().filter(is_in_both).collect::<Vec<_>>();
    let shared = anchors(ours);
    if shared != anchors(theirs) {
        return None; // in another order
    }
    let slots = |side: &[Item<'a>]| -> Vec<Vec<Item<'a>>> {
        let between = side.split(is_in_both);
        between.map(|slot| slot.iter().copied().filter(|item| !place.contains_key(item.key)).collect()).collect()
    };
    let mut merged = Vec::new();
    let mut from = 0;
    for (slot, (left, right)) in slots(ours).into_iter().zip(slots(theirs)).enumerate() {
        let next = shared[slot..].iter().find_map(|item| place.get(item.key).copied());
        let gone = base.get(from..next.unwrap_or(base.len())).unwrap_or_default();
        let replaces = |has: &HashSet<&str>| gone.iter().any(|item| !has.contains(item.key));
        let both = gone.iter().any(|item| !in_ours.contains(item.key) && !in_theirs.contains(item.key));
        merged.extend(side_by_side(left, right, (replaces(&in_ours), replaces(&in_theirs)), both)?);
        if let Some(anchor) = shared.get(slot) {
            merged.push(*anchor);
            from = place.get(anchor.key).map_or(from, |place| place + 1);
        }
    }
    Some(merged)
}

/// What both sides put at one place: what takes another's place first, then imports and statements, then by name, so that it is the same whichever
/// side is called ours.
fn side_by_side<'a>(
    ours: Vec<Item<'a>>,
    theirs: Vec<Item<'a>>,
    replaces: (bool, bool),
    both_replace: bool,
) -> Option<Vec<Item<'a>>> {
    let (Some(first), Some(second)) = (ours.first(), theirs.first()) else {
        return Some([ours, theirs].concat());
    };
    if both_replace {
        return None; // two names for one thing?
    }
    let sorted = |items: &[Item<'a>]| {
        items.iter().all(|item| item.part == Part::Import) && items.is_sorted_by_key(|item| item.key)
    };
    if sorted(&ours) && sorted(&theirs) {
        let mut all = [ours, theirs].concat();
        all.sort_by_key(|item| item.key);
        return Some(all);
    }
    let rank = |items: &[Item<'a>], replaces: bool| {
        (
            !replaces,
            items.iter().all(|item| item.part == Part::Symbol),
            items.iter().all(|item| item.part != Part::Other),
        )
    };
    let ours_first = (rank(&ours, replaces.0), first.key) <= (rank(&theirs, replaces.1), second.key);
    Some(if ours_first { [ours, theirs].concat() } else { [theirs, ours].concat() })
}
