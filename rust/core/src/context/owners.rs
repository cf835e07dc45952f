//! What the lines of a text belong to, such as the functions of source code, and which of that is named later.

use std::collections::{HashMap, HashSet};

use super::board::Board;
use super::places::Places;
use super::relevance::Query;
use super::terms;

/// What is known of each line of a text.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// What speaks for each: the larger of this and what the kind says holds.
    pub worth: &'a [f32],
    /// The path of what each belongs to, its name last, after a dot; empty for nothing. Or no paths at all.
    pub owners: &'a [String],
}

/// A name and the path that ends with it, as values.
#[derive(Debug)]
struct Owner {
    name: u32,
    path: u32,
}

/// What each segment of a document belongs to.
#[derive(Debug, Default)]
pub(super) struct Owners {
    all: Vec<Owner>,
    /// Of each segment one more than the number of its owner, 0 for none; empty where there are no owners.
    of: Vec<u32>,
}

impl Owners {
    /// By the paths of the lines, and where in the text segments start: each belongs where its first line does. O(text).
    pub(super) fn new(paths: &[String], text: &str, starts: impl Iterator<Item = u32>) -> Self {
        let mut owners = Self::default();
        if paths.is_empty() {
            return owners;
        }
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let (mut line, mut at) = (0, 0);
        for start in starts {
            line += text[at..start as usize].matches('\n').count();
            at = start as usize;
            let path = paths.get(line).map_or("", String::as_str);
            let next = owners.all.len() as u32 + 1;
            let number = if path.is_empty() { 0 } else { *numbers.entry(path).or_insert(next) };
            if number == next {
                let name = path.rsplit('.').next().unwrap_or(path);
                owners.all.push(Owner { name: terms::hash_of(name), path: terms::hash_of(path) });
            }
            owners.of.push(number);
        }
        owners
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What it takes in memory, in bytes.
    pub(super) fn size(&self) -> usize {
        self.all.len() * size_of::<Owner>() + self.of.len() * size_of::<u32>()
    }

    /// Of each owner who names it, last of the items after its own. Where a path is named, that is not the name of others'. O(owners).
    pub(super) fn named(&self, item: usize, places: &Places, query: &Query, board: &Board) -> Vec<Option<Named>> {
        let named = |hash: u32| {
            if query.names(hash) {
                return Some(Named::Asked);
            }
            let last = places.all[board.number(hash)? as usize].spoken as usize;
            (last > item).then_some(Named::By(last))
        };
        let is_inner = |owner: &&Owner| owner.path != owner.name;
        let by_path = self.all.iter().filter(is_inner).filter(|owner| named(owner.path).is_some());
        let taken: HashSet<u32> = by_path.map(|owner| owner.name).collect();
        let of = |owner: &Owner| {
            named(owner.path).or_else(|| if taken.contains(&owner.name) { None } else { named(owner.name) })
        };
        self.all.iter().map(of).collect()
    }

    /// The numbers of the owners of the segments from `first` to before `last`.
    pub(super) fn between(&self, first: u32, last: u32) -> impl Iterator<Item = usize> {
        let of = self.of.get(first as usize..last as usize).unwrap_or_default();
        of.iter().filter_map(|&owner| (owner as usize).checked_sub(1))
    }
}

/// Who names an owner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Named {
    Asked,
    By(usize),
}
