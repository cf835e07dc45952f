//! Which segments to keep: the most worth for each token, counting each value once, until the budget is spent.
//!
//! Greedy by marginal worth per token with lazy evaluation (Minoux 1978; Leskovec et al. 2007), over a worth that is
//! submodular but for the price of what a gap leaves behind. Deterministic: ties go to the later segment.

use super::board::Board;
use super::candidates::Candidates;
use super::document::Document;
use super::options::Options;
use super::relevance::Query;
use super::units::{Units, is_asked};

/// A text of the conversation, in its order.
pub struct Item<'a> {
    pub document: &'a Document,
    /// Which atom it belongs to; these do not go back.
    pub atom: u32,
    /// Part of its atom's cost: it stays as it is while the atom does.
    pub is_fixed: bool,
    /// How much what stands there weighs.
    pub weight: f32,
}

/// What is kept: for each item the ranges of its segments, or None where its atom is left out.
#[derive(Debug, PartialEq)]
pub struct Choice {
    pub kept: Vec<Option<Vec<(u32, u32)>>>,
    /// Tokens of what is kept, markers included, as the sum of its parts.
    pub tokens: u32,
}

/// Chooses. `costs` are those of the atoms without their items that are not fixed. O(segments log segments + values).
///
/// The documents that `board` has are the first of the items; the others are pushed.
///
/// # Panics
/// Never for items whose atoms are in `costs`; `similar`, where given, is one number an item.
#[must_use]
pub fn select(
    items: &[Item<'_>],
    costs: &[u32],
    query: &str,
    similar: Option<&[f32]>,
    options: &Options,
    board: &mut Board,
) -> Choice {
    for item in &items[board.len()..] {
        board.push(item.document);
    }
    let documents: Vec<&Document> = items.iter().map(|item| item.document).collect();
    if is_asked(options) {
        board.pair(documents.iter().copied());
    }
    let (query, relevance) = Query::ask(query, &documents, similar);
    let said = if is_asked(options) { board.pairs() } else { board.lines() }.numbers();
    let units = Units::new(items, costs, options, &relevance, &query, board);
    let mut greedy = Greedy::new(items, options, units, said);
    greedy.run();
    greedy.choice()
}

/// A choice as far as it has come.
struct Greedy<'a> {
    items: &'a [Item<'a>],
    options: &'a Options,
    units: Units<'a>,
    is_kept: Vec<bool>,
    open: Vec<bool>,
    /// How many things were chosen, and what that was when each unit's newest density was: as long as it is the same, so is that.
    chosen: u32,
    weighed: Vec<u32>,
    /// How many gaps each item has.
    gaps: Vec<u32>,
    /// What is kept already, by the numbers of what it says: near duplicates are known by them.
    seen: Vec<bool>,
    left: u32,
    candidates: Candidates,
    /// Of each unit the density of its entry that counts; older ones are passed over.
    newest: Vec<f32>,
}

impl<'a> Greedy<'a> {
    fn new(items: &'a [Item<'a>], options: &'a Options, units: Units<'a>, said: usize) -> Self {
        let count = units.all.len();
        Self {
            items,
            options,
            is_kept: vec![false; count],
            open: vec![false; units.openings.len()],
            chosen: 0,
            weighed: vec![0; count],
            gaps: vec![1; items.len()],
            seen: vec![false; said],
            left: options.budget,
            candidates: Candidates::with_capacity(3 * count),
            newest: Vec::with_capacity(count),
            units,
        }
    }

    fn uncovered(&self, values: &[u32]) -> f32 {
        values.iter().map(|&value| self.units.worth[value as usize]).sum()
    }

    /// The share of a unit that was said before: near duplicates do not both stay.
    fn repeated(&self, at: usize) -> f32 {
        let said = self.units.said(at);
        let is_seen = |&&number: &&u32| self.seen[number as usize];
        if !is_asked(self.options) {
            return f32::from(u8::from(said.iter().all(|number| is_seen(&number))));
        }
        if said.len() > 2 { said.iter().filter(is_seen).count() as f32 / said.len() as f32 } else { 0.0 }
    }

    /// How many gaps there are more where a unit is kept.
    fn more_gaps(&self, at: usize) -> i32 {
        let unit = &self.units.all[at];
        let left = !unit.is_first && !self.is_kept[at - 1];
        let right = !unit.is_last && !self.is_kept[at + 1];
        i32::from(left) + i32::from(right) - 1
    }

    /// The price of a unit as things are.
    fn price(&self, at: usize) -> i64 {
        let unit = &self.units.all[at];
        let gaps = i64::from(self.more_gaps(at));
        let mut price = i64::from(unit.cost) + gaps * i64::from(self.options.marker);
        if gaps < 0 && self.gaps[unit.item as usize] == 1 {
            price -= i64::from(self.options.handle);
        }
        let atom = self.items[unit.item as usize].atom as usize;
        if self.open[atom] { price } else { price + i64::from(self.units.openings[atom]) }
    }

    /// The gain of a unit as things are, for each token of its price.
    fn weigh(&mut self, at: usize, price: i64) -> f32 {
        let repeated = self.repeated(at);
        let uncovered = self.units.uncovered(at);
        let unit = &self.units.all[at];
        let gain = unit.own * (1.0 - 0.9 * repeated * repeated) + uncovered;
        let atom = self.items[unit.item as usize].atom as usize;
        let more = if self.open[atom] { 0.0 } else { self.uncovered(&self.units.fixed[atom]) };
        density(gain + more, price)
    }

    fn push(&mut self, at: usize) {
        let price = self.price(at);
        let density = self.weigh(at, price);
        if density > self.newest[at] {
            (self.newest[at], self.weighed[at]) = (density, self.chosen);
            self.candidates.push(density, at);
        }
    }

    /// Units come first, then atoms with nothing of their texts.
    fn run(&mut self) {
        let units = self.units.all.len();
        for at in 0..units {
            let price = self.price(at);
            let density = self.weigh(at, price);
            self.newest.push(density);
            self.candidates.push(density, at);
        }
        for atom in 0..self.open.len() {
            let (gain, price) = self.bare(atom);
            self.candidates.push(density(gain, price), units + atom);
        }
        while let Some((then, at)) = self.next() {
            let atom = at.checked_sub(units);
            let Some((now, price)) = self.look(then, at, atom) else { continue };
            if now < then {
                // It comes again when nothing comes before it.
                if atom.is_none() {
                    (self.newest[at], self.weighed[at]) = (now, self.chosen);
                }
                self.candidates.push(now, at);
                continue;
            }
            self.chosen += 1;
            self.left = (i64::from(self.left) - price).try_into().unwrap_or(u32::MAX);
            match atom {
                Some(atom) => self.enter(atom),
                None => self.keep(at),
            }
        }
    }

    /// The densest candidate that is not chosen already, and its density when it was last looked at.
    fn next(&mut self) -> Option<(f32, usize)> {
        let Self { candidates, newest, is_kept, open, .. } = self;
        candidates.pop(|then, at| match newest.get(at) {
            Some(newest) => !is_kept[at] && newest.to_bits() == then.to_bits(),
            None => !open[at - newest.len()],
        })
    }

    /// The gain and the price of an atom with nothing of its texts.
    fn bare(&self, atom: usize) -> (f32, i64) {
        (self.uncovered(&self.units.fixed[atom]), i64::from(self.units.openings[atom]))
    }

    /// The density of a candidate as things are, given what it was, and its price; None where it is not to be had.
    fn look(&mut self, then: f32, at: usize, atom: Option<usize>) -> Option<(f32, i64)> {
        if let Some(atom) = atom {
            let (gain, price) = self.bare(atom);
            return (price <= i64::from(self.left)).then(|| (density(gain, price), price));
        }
        let price = self.price(at);
        if price > i64::from(self.left) || self.units.all[at].cost > self.left.saturating_add(self.options.marker) {
            self.newest[at] = f32::NEG_INFINITY; // once it is cheaper it may come again
            return None;
        }
        Some((if self.weighed[at] == self.chosen { then } else { self.weigh(at, price) }, price))
    }

    fn enter(&mut self, atom: usize) {
        if std::mem::replace(&mut self.open[atom], true) {
            return;
        }
        for value in std::mem::take(&mut self.units.fixed[atom]) {
            self.units.worth[value as usize] = 0.0;
        }
        for at in self.units.of_atom(atom) {
            if !self.is_kept[at] {
                self.push(at);
            }
        }
    }

    fn keep(&mut self, at: usize) {
        let item = self.units.all[at].item as usize;
        let more = self.more_gaps(at);
        self.gaps[item] = self.gaps[item].saturating_add_signed(more);
        self.is_kept[at] = true;
        self.units.cover(at);
        for &number in self.units.said(at) {
            self.seen[number as usize] = true;
        }
        self.enter(self.items[item].atom as usize);
        let range = self.units.of(item);
        for near in [at.wrapping_sub(1), at + 1] {
            if range.contains(&near) && !self.is_kept[near] {
                self.push(near);
            }
        }
    }

    fn choice(self) -> Choice {
        let kept = self
            .items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                if !self.open[item.atom as usize] {
                    return None;
                }
                if item.is_fixed {
                    let last = item.document.len() as u32;
                    return Some(if last > 0 { vec![(0, last)] } else { Vec::new() });
                }
                let mut ranges: Vec<(u32, u32)> = Vec::new();
                for at in self.units.of(index).filter(|&at| self.is_kept[at]) {
                    let (first, last) = self.units.segments[at];
                    match ranges.last_mut() {
                        Some((_, end)) if *end == first => *end = last,
                        _ => ranges.push((first, last)),
                    }
                }
                Some(ranges)
            })
            .collect();
        Choice { kept, tokens: self.options.budget - self.left }
    }
}

/// Worth for each token; without end where it costs nothing.
fn density(gain: f32, price: i64) -> f32 {
    // The sum of nothing is -0.0, which has other bits.
    if price <= 0 { f32::INFINITY } else { gain / price as f32 + 0.0 }
}
