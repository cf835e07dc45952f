//! What an update changed, symbol by symbol.

use std::collections::HashMap;

use crate::facts::Hash;
use crate::index::Entry;
use crate::kind::Kind;

/// A symbol that was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Was {
    pub path: Box<str>,
    pub kind: Kind,
    pub name_path: Box<str>,
    pub first_line: u32,
    pub last_line: u32,
}

/// Each symbol of the file, and each that is gone from it, is in one of these. Numbers are those of the file's symbols now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    pub added: Vec<u32>,
    /// Its own text changed.
    pub modified: Vec<(Was, u32)>,
    /// Its own text is as before, that of a symbol inside is not.
    pub enclosing: Vec<u32>,
    /// The same text elsewhere: under another symbol, in another order, in another file.
    pub moved: Vec<(Was, u32)>,
    pub removed: Vec<Was>,
    /// All its text is as before; it may be on other lines.
    pub unchanged: Vec<u32>,
}

/// Symbols that left a file and may come into another, by the hash of their text.
pub(crate) type Departed = HashMap<Hash, Was>;

pub(crate) fn was(path: &str, entry: &Entry) -> Was {
    Was {
        path: path.into(),
        kind: entry.kind,
        name_path: entry.name_path.clone(),
        first_line: entry.first_line,
        last_line: entry.last_line,
    }
}

pub(crate) fn diff(path: &str, before: &[Entry], now: &[Entry], departed: &mut Departed) -> Diff {
    let mut diff = Diff::default();
    let pairs = pairs(before, now);
    let mut gone = vec![true; before.len()];
    for old in pairs.iter().flatten() {
        gone[*old as usize] = false;
    }
    // What has a new name path, but a text that is gone elsewhere in the file.
    let mut left: HashMap<Hash, Vec<u32>> = HashMap::new();
    for (at, entry) in before.iter().enumerate().rev().filter(|(at, _)| gone[*at]) {
        left.entry(entry.facts.whole).or_default().push(at as u32);
    }
    let out_of_order = out_of_order(before, now, &pairs);
    for (at, (entry, old)) in now.iter().zip(&pairs).enumerate() {
        let number = at as u32;
        if let Some(old) = old {
            let old = &before[*old as usize];
            if old.facts.whole == entry.facts.whole {
                if out_of_order[at] {
                    diff.moved.push((was(path, old), number));
                } else {
                    diff.unchanged.push(number);
                }
            } else if old.facts.own == entry.facts.own {
                diff.enclosing.push(number);
            } else {
                diff.modified.push((was(path, old), number));
            }
        } else if let Some(old) = left.get_mut(&entry.facts.whole).and_then(Vec::pop) {
            gone[old as usize] = false;
            diff.moved.push((was(path, &before[old as usize]), number));
        } else if let Some(old) = departed.remove(&entry.facts.whole) {
            diff.moved.push((old, number));
        } else {
            diff.added.push(number);
        }
    }
    for (entry, _) in before.iter().zip(gone).filter(|(_, gone)| *gone) {
        diff.removed.push(was(path, entry));
    }
    diff
}

/// For each symbol which one before it is, by kind and name path; of several that share these, by text and then by order.
fn pairs(before: &[Entry], now: &[Entry]) -> Vec<Option<u32>> {
    let mut named: HashMap<(Kind, &str), Vec<u32>> = HashMap::with_capacity(before.len());
    for (at, entry) in before.iter().enumerate() {
        named.entry((entry.kind, &entry.name_path)).or_default().push(at as u32);
    }
    let mut pairs = vec![None; now.len()];
    for same_text in [true, false] {
        for (entry, pair) in now.iter().zip(&mut pairs).filter(|(_, pair)| pair.is_none()) {
            let Some(olds) = named.get_mut(&(entry.kind, &*entry.name_path)) else { continue };
            let fits = |old: &u32| !same_text || before[*old as usize].facts.whole == entry.facts.whole;
            if let Some(place) = olds.iter().position(fits) {
                *pair = Some(olds.remove(place));
            }
        }
    }
    pairs
}

/// Of the symbols that were there before, those outside a longest run that kept its order.
fn out_of_order(before: &[Entry], now: &[Entry], pairs: &[Option<u32>]) -> Vec<bool> {
    let mut out = vec![false; now.len()];
    if pairs.iter().flatten().is_sorted() {
        return out;
    }
    // A symbol that moved takes those inside along: only the order among the children of one parent counts.
    let mut families: HashMap<Option<u32>, Vec<(usize, u32)>> = HashMap::new();
    for (at, old) in pairs.iter().enumerate() {
        if let Some(old) = old {
            debug_assert!((*old as usize) < before.len());
            families.entry(now[at].parent).or_default().push((at, *old));
        }
    }
    for family in families.values() {
        // Patience: `tops` holds, for each length, the run of that length that ends lowest; `links` lead back.
        let mut tops: Vec<usize> = Vec::new();
        let mut links = vec![None; family.len()];
        for (i, (_, old)) in family.iter().enumerate() {
            let place = tops.partition_point(|&top| family[top].1 < *old);
            links[i] = place.checked_sub(1).map(|before| tops[before]);
            if place == tops.len() {
                tops.push(i);
            } else {
                tops[place] = i;
            }
        }
        let mut kept = vec![false; family.len()];
        let mut at = tops.last().copied();
        while let Some(i) = at {
            kept[i] = true;
            at = links[i];
        }
        for ((at, _), kept) in family.iter().zip(kept) {
            out[*at] = !kept;
        }
    }
    out
}
