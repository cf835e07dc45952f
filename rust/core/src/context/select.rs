//! Which segments to keep: the most worth for each token, counting each value once, until the budget is spent.
//!
//! Greedy by marginal worth per token with lazy evaluation (Minoux 1978; Leskovec et al. 2007), over a worth that is
//! submodular but for the price of what a gap leaves behind. Deterministic: ties go to the later segment.

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::board::{Board, Placed};
use super::document::Document;
use super::kind::Kind;
use super::lines::EDGE;
use super::numbers::Numbers;
use super::options::Options;
use super::owners::Named;
use super::places::{Places, Source};
use super::relevance::Query;

/// From this relevance on the query decides, and what says the same again has to be told apart by its words: otherwise it is
/// by its values, which count once.
const ASKED: f32 = 1.0;

/// What a row of a table is worth more whose identifier comes again: that counts where it came, but what stands beside it does here.
const ROW: f32 = 4.0;
/// So many stretches of documents are weighed against each other at most, about: where there are more segments, a stretch has
/// several.
const UNITS: usize = 8192;
/// Where there are so many segments, the clauses of a message are not worth to be weighed one by one: so many are one stretch.
const MANY: usize = UNITS / 4;
const CLAUSES: usize = 4;

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
    let (query, relevance) = Query::ask(query, &documents, similar);
    let mut greedy = Greedy::new(items, costs, options, &relevance, &query, board);
    greedy.run();
    greedy.choice()
}

/// A stretch of an item that is kept or not: a segment, several, or all.
struct Unit {
    item: u32,
    cost: u32,
    is_kept: bool,
    /// Worth that does not depend on what else is kept.
    own: f32,
    /// What its age and its item's weight leave of a worth.
    decay: f32,
    /// Of its document's segments.
    first: u32,
    last: u32,
    /// Where its values end in `Greedy::values`; they start where those of the unit before end.
    values_end: u32,
}

struct Greedy<'a> {
    items: &'a [Item<'a>],
    costs: &'a [u32],
    options: &'a Options,
    units: Vec<Unit>,
    /// The numbers of the units' values, each once.
    values: Vec<u32>,
    /// Where the units of each item start; one more at the end.
    starts: Vec<u32>,
    /// Where the items of each atom start; one more at the end.
    atoms: Vec<u32>,
    open: Vec<bool>,
    /// How many gaps each item has.
    gaps: Vec<u32>,
    /// What a value is worth, until it is covered.
    worth: Vec<f32>,
    /// Of the fixed items of an atom.
    fixed: Vec<Vec<u32>>,
    /// What is kept already, by pairs of words or by lines: what was said before is known by them.
    seen: Numbers,
    left: u32,
    heap: BinaryHeap<u64>,
    /// Of each unit the density of its entry that counts; older ones are passed over.
    newest: Vec<f32>,
}

/// A candidate as it was when it was last looked at, as one number: its density, which is not negative, and below that its
/// place, units first and then bare atoms. So ties go to the later one.
fn entry(density: f32, at: usize) -> u64 {
    u64::from(density.to_bits()) << 32 | at as u64
}

impl<'a> Greedy<'a> {
    fn new(
        items: &'a [Item<'a>],
        costs: &'a [u32],
        options: &'a Options,
        relevance: &[f32],
        query: &Query,
        board: &Board,
    ) -> Self {
        let is_open = |item: &&Item<'_>| !item.is_fixed && item.document.tokens() > options.whole;
        let segments: usize = items.iter().filter(is_open).map(|item| item.document.len()).sum();
        let width = segments.div_ceil(UNITS).max(1);
        let clauses = if segments > MANY { width.max(CLAUSES) } else { width };
        let mut greedy = Self {
            items,
            costs,
            options,
            units: Vec::with_capacity(segments / width + 2 * items.len()),
            values: Vec::with_capacity(2 * board.numbers()),
            starts: Vec::with_capacity(items.len() + 1),
            atoms: Vec::with_capacity(costs.len() + 1),
            open: vec![false; costs.len()],
            gaps: vec![1; items.len()],
            worth: Vec::new(),
            fixed: vec![Vec::new(); costs.len()],
            seen: Numbers::with_capacity(1024),
            left: options.budget,
            heap: BinaryHeap::new(),
            newest: Vec::new(),
        };
        let mut places = Places::new(board.numbers());
        for number in options.commands.iter().filter_map(|&name| board.number(name)) {
            places.command(number);
        }
        for (index, item) in items.iter().enumerate() {
            while greedy.atoms.len() <= item.atom as usize {
                greedy.atoms.push(index as u32);
            }
            greedy.starts.push(greedy.units.len() as u32);
            let source = Source {
                item: index as u32,
                is_speech: item.document.owners().is_empty(),
                decay: item.weight * greedy.decay(item.atom),
                crowd: (options.crowd / item.document.identifiers() as f32).sqrt().min(1.0),
            };
            let placed = board.placed(index);
            if item.is_fixed {
                places.add(source, placed, &mut greedy.fixed[item.atom as usize]);
            } else {
                let width = if item.document.is_fine() { clauses } else { width };
                greedy.add_units(source, width, relevance[index], query, placed, &mut places);
            }
        }
        greedy.starts.push(greedy.units.len() as u32);
        while greedy.atoms.len() <= costs.len() {
            greedy.atoms.push(items.len() as u32);
        }
        greedy.add_later(&places);
        greedy.add_named(&places, query, board);
        greedy.worth = places.all.iter().map(|place| place.best + options.again * (place.sum - place.best)).collect();
        greedy
    }

    /// The units of an item that is not fixed: of `width` segments, or whole.
    fn add_units(
        &mut self,
        source: Source,
        width: usize,
        relevance: f32,
        query: &Query,
        placed: &[Placed],
        places: &mut Places,
    ) {
        let Source { item, decay, .. } = source;
        let (document, options) = (self.items[item as usize].document, self.options);
        let whole = document.tokens() <= options.whole;
        let count = document.len();
        for first in (0..count).step_by(if whole { count.max(1) } else { width }) {
            let last = if whole { count } else { count.min(first + width) };
            let stretch = document.values_before(first)..document.values_before(last);
            places.add(source, &placed[stretch], &mut self.values);
            let cost = if whole { document.tokens() } else { (first..last).map(|at| document.cost(at)).sum() };
            let near = if whole { relevance } else { 0.5 * (relevance + query.share(document.words(first, last))) };
            let edge = if whole && count > 1 { EDGE } else { 0.0 };
            let prior = ((first..last).map(|at| document.prior(at)).fold(0.0, f32::max) + edge) * decay;
            self.units.push(Unit {
                item,
                cost,
                is_kept: false,
                own: (options.relevance * near + options.prior * prior) * cost as f32 + 1e-4 * decay,
                decay,
                first: first as u32,
                last: last as u32,
                values_end: self.values.len() as u32,
            });
        }
    }

    /// Adds to the worth of units what later items speak of.
    fn add_later(&mut self, places: &Places) {
        for at in 0..self.units.len() {
            let item = self.units[at].item;
            if self.values[self.values_of(at)].iter().any(|&value| places.all[value as usize].latest > item) {
                let is_row = self.items[item as usize].document.kind() == Kind::Json;
                let unit = &mut self.units[at];
                unit.own += (self.options.later * unit.cost as f32 + if is_row { ROW } else { 0.0 }) * unit.decay;
            }
        }
    }

    /// Adds to the worth of units of what is named later, which weigh as what is said where it is named.
    fn add_named(&mut self, places: &Places, query: &Query, board: &Board) {
        for (index, item) in self.items.iter().enumerate().filter(|(_, item)| !item.document.owners().is_empty()) {
            let owners = item.document.owners();
            let decay = |named| match named {
                Named::Asked => 1.0,
                Named::By(other) => self.decay(self.items[other].atom),
            };
            let worth: Vec<f32> = owners
                .named(index, places, query, board)
                .into_iter()
                .map(|named| self.options.named * item.weight * named.map_or(0.0, decay))
                .collect();
            for at in self.units_of(index) {
                let unit = &mut self.units[at];
                let most = owners.between(unit.first, unit.last).map(|owner| worth[owner]).fold(0.0, f32::max);
                unit.own += most * unit.cost as f32;
            }
        }
    }

    /// What its age leaves of the worth of an atom.
    fn decay(&self, atom: u32) -> f32 {
        let age = (self.costs.len() - 1 - atom as usize) as f32;
        (-age / self.options.half_life).exp2()
    }

    /// Where in `values` those of a unit are.
    fn values_of(&self, at: usize) -> std::ops::Range<usize> {
        let start = at.checked_sub(1).map_or(0, |before| self.units[before].values_end);
        start as usize..self.units[at].values_end as usize
    }

    /// What stands for pairs of words that follow each other in a unit.
    fn pairs(&self, at: usize) -> impl ExactSizeIterator<Item = u32> + 'a {
        let unit = &self.units[at];
        let words = self.items[unit.item as usize].document.words(unit.first as usize, unit.last as usize);
        words.windows(2).map(|pair| pair[0].rotate_left(7) ^ pair[1])
    }

    fn items_of(&self, atom: usize) -> std::ops::Range<usize> {
        self.atoms[atom] as usize..self.atoms[atom + 1] as usize
    }

    fn units_of(&self, item: usize) -> std::ops::Range<usize> {
        self.starts[item] as usize..self.starts[item + 1] as usize
    }

    /// What the atom costs with nothing of its texts but the marks that they are missing.
    fn opening(&self, atom: usize) -> u32 {
        let gaps = self.items_of(atom).filter(|&item| !self.units_of(item).is_empty()).count();
        self.costs[atom].saturating_add(gaps as u32 * (self.options.marker + self.options.handle))
    }

    fn uncovered(&self, values: &[u32]) -> f32 {
        values.iter().map(|&value| self.worth[value as usize]).sum()
    }

    fn is_asked(&self) -> bool {
        self.options.relevance >= ASKED
    }

    /// The share of a unit that was said before: near duplicates do not both stay.
    fn repeated(&self, at: usize) -> f32 {
        if self.seen.len() == 0 {
            return 0.0;
        }
        if !self.is_asked() {
            let unit = &self.units[at];
            let document = self.items[unit.item as usize].document;
            let is_same =
                (unit.first..unit.last).all(|segment| self.seen.get(document.same(segment as usize)).is_some());
            return f32::from(u8::from(is_same));
        }
        let pairs = self.pairs(at);
        let count = pairs.len();
        if count > 2 { pairs.filter(|&pair| self.seen.get(pair).is_some()).count() as f32 / count as f32 } else { 0.0 }
    }

    /// How many gaps there are more where a unit is kept.
    fn more_gaps(&self, at: usize) -> i32 {
        let range = self.units_of(self.units[at].item as usize);
        let left = at > range.start && !self.units[at - 1].is_kept;
        let right = at + 1 < range.end && !self.units[at + 1].is_kept;
        i32::from(left) + i32::from(right) - 1
    }

    /// The gain and the price of a unit as things are.
    fn weigh(&self, at: usize) -> (f32, i64) {
        let unit = &self.units[at];
        let gaps = i64::from(self.more_gaps(at));
        let mut price = i64::from(unit.cost) + gaps * i64::from(self.options.marker);
        if gaps < 0 && self.gaps[unit.item as usize] == 1 {
            price -= i64::from(self.options.handle);
        }
        let repeated = self.repeated(at);
        let mut gain = unit.own * (1.0 - 0.9 * repeated * repeated) + self.uncovered(&self.values[self.values_of(at)]);
        let atom = self.items[unit.item as usize].atom as usize;
        if !self.open[atom] {
            price += i64::from(self.opening(atom));
            gain += self.uncovered(&self.fixed[atom]);
        }
        (gain, price)
    }

    fn push(&mut self, at: usize) {
        let (gain, price) = self.weigh(at);
        let density = density(gain, price);
        if density > self.newest[at] {
            self.newest[at] = density;
            self.heap.push(entry(density, at));
        }
    }

    fn run(&mut self) {
        let mut entries = Vec::with_capacity(2 * self.units.len() + self.costs.len());
        for at in 0..self.units.len() {
            let (gain, price) = self.weigh(at);
            let density = density(gain, price);
            self.newest.push(density);
            entries.push(entry(density, at));
        }
        for atom in 0..self.costs.len() {
            let density = density(self.uncovered(&self.fixed[atom]), i64::from(self.opening(atom)));
            entries.push(entry(density, self.units.len() + atom));
        }
        entries.sort_unstable();
        // What has not been looked at since is in order already; what has is in the heap.
        while let Some(top) = self.heap.peek().max(entries.last()).copied() {
            let is_heaped = self.heap.peek() == Some(&top);
            let (then, at) = (f32::from_bits((top >> 32) as u32), (top & u64::from(u32::MAX)) as usize);
            let atom = at.checked_sub(self.units.len());
            let found = self.look(then, at, atom);
            let late = found.filter(|&(now, _)| now < then).map(|(now, _)| entry(now, at));
            if let (true, Some(mut first)) = (is_heaped, self.heap.peek_mut()) {
                match late {
                    Some(late) => *first = late,
                    None => drop(PeekMut::pop(first)),
                }
            } else {
                entries.pop();
                self.heap.extend(late);
            }
            let Some((now, price)) = found else { continue };
            if late.is_some() {
                // It comes again when nothing comes before it.
                if atom.is_none() {
                    self.newest[at] = now;
                }
                continue;
            }
            self.left = (i64::from(self.left) - price).try_into().unwrap_or(u32::MAX);
            match atom {
                Some(atom) => self.enter(atom),
                None => self.keep(at),
            }
        }
    }

    /// The density of a candidate as things are, and its price; None where it is not to be had.
    fn look(&mut self, then: f32, at: usize, atom: Option<usize>) -> Option<(f32, i64)> {
        let (gain, price) = match atom {
            Some(atom) if self.open[atom] => return None,
            Some(atom) => (self.uncovered(&self.fixed[atom]), i64::from(self.opening(atom))),
            None if self.units[at].is_kept || then.to_bits() != self.newest[at].to_bits() => return None,
            None if self.units[at].cost > self.left.saturating_add(self.options.marker) => (0.0, i64::MAX),
            None => self.weigh(at),
        };
        if price > i64::from(self.left) {
            if atom.is_none() {
                self.newest[at] = f32::NEG_INFINITY; // once it is cheaper it may come again
            }
            return None;
        }
        Some((density(gain, price), price))
    }

    fn enter(&mut self, atom: usize) {
        if std::mem::replace(&mut self.open[atom], true) {
            return;
        }
        for value in std::mem::take(&mut self.fixed[atom]) {
            self.worth[value as usize] = 0.0;
        }
        for item in self.items_of(atom) {
            for at in self.units_of(item) {
                if !self.units[at].is_kept {
                    self.push(at);
                }
            }
        }
    }

    fn keep(&mut self, at: usize) {
        let more = self.more_gaps(at);
        let gaps = &mut self.gaps[self.units[at].item as usize];
        *gaps = gaps.saturating_add_signed(more);
        self.units[at].is_kept = true;
        for value in self.values_of(at) {
            self.worth[self.values[value] as usize] = 0.0;
        }
        if self.is_asked() {
            for pair in self.pairs(at) {
                self.seen.number(pair);
            }
        } else {
            let unit = &self.units[at];
            let document = self.items[unit.item as usize].document;
            for segment in unit.first..unit.last {
                self.seen.number(document.same(segment as usize));
            }
        }
        let item = self.units[at].item as usize;
        self.enter(self.items[item].atom as usize);
        let range = self.units_of(item);
        for near in [at.wrapping_sub(1), at + 1] {
            if range.contains(&near) && !self.units[near].is_kept {
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
                for unit in self.units[self.units_of(index)].iter().filter(|unit| unit.is_kept) {
                    match ranges.last_mut() {
                        Some((_, end)) if *end == unit.first => *end = unit.last,
                        _ => ranges.push((unit.first, unit.last)),
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
