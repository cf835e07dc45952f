//! Lays a conversation out for the choice: the stretches that are kept or not, with what each is worth and costs by itself.

use super::board::{Board, Placed};
use super::kind::Kind;
use super::lines::EDGE;
use super::options::Options;
use super::owners::Named;
use super::places::{Places, Source};
use super::relevance::Query;
use super::select::Item;

/// What a row of a table is worth more whose identifier comes again: that counts where it came, but what stands beside it does here.
const ROW: f32 = 4.0;
/// So many stretches of documents are weighed against each other at most, about: where there are more segments, a stretch has
/// several.
const UNITS: usize = 8192;
/// Where there are so many segments, the clauses of a message are not worth to be weighed one by one: so many are one stretch.
const MANY: usize = UNITS / 4;
const CLAUSES: usize = 4;
/// From this relevance on the query decides, and what says the same again has to be told apart by its words: otherwise it is
/// by its values, which count once.
const ASKED: f32 = 1.0;

/// A stretch of an item that is kept or not: a segment, several, or all.
pub(super) struct Unit {
    pub(super) item: u32,
    pub(super) cost: u32,
    /// Worth that does not depend on what else is kept.
    pub(super) own: f32,
    /// Of its item's.
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    /// Where in `Units::values` those begin that are worth something yet, as far as is known, and how many these are.
    values: u32,
    values_len: u32,
    /// Where in the board's lines, or pairs of words where something is asked, what it says begins, and how much that is.
    said: u32,
    said_len: u32,
}

/// The stretches of a conversation.
pub(super) struct Units<'a> {
    items: &'a [Item<'a>],
    costs: &'a [u32],
    options: &'a Options,
    board: &'a Board,
    pub(super) all: Vec<Unit>,
    /// Of each unit its document's segments.
    pub(super) segments: Vec<(u32, u32)>,
    /// The numbers of the units' values, each once.
    values: Vec<u32>,
    /// Where the units of each item start; one more at the end.
    starts: Vec<u32>,
    /// Where the items of each atom start; one more at the end.
    atoms: Vec<u32>,
    /// What each atom costs with nothing of its texts but the marks that they are missing.
    pub(super) openings: Vec<u32>,
    /// What a value is worth, until it is covered.
    pub(super) worth: Vec<f32>,
    /// Of the fixed items of an atom.
    pub(super) fixed: Vec<Vec<u32>>,
}

impl<'a> Units<'a> {
    /// The items are those of the board.
    pub(super) fn new(
        items: &'a [Item<'a>],
        costs: &'a [u32],
        options: &'a Options,
        relevance: &[f32],
        query: &Query,
        board: &'a Board,
    ) -> Self {
        let is_open = |item: &&Item<'_>| !item.is_fixed && item.document.tokens() > options.whole;
        let segments: usize = items.iter().filter(is_open).map(|item| item.document.len()).sum();
        let width = segments.div_ceil(UNITS).max(1);
        let clauses = if segments > MANY { width.max(CLAUSES) } else { width };
        let mut units = Self {
            items,
            costs,
            options,
            board,
            all: Vec::with_capacity(segments / width + 2 * items.len()),
            segments: Vec::with_capacity(segments / width + 2 * items.len()),
            values: Vec::with_capacity(2 * board.numbers()),
            starts: Vec::with_capacity(items.len() + 1),
            atoms: Vec::with_capacity(costs.len() + 1),
            openings: costs.to_vec(),
            worth: Vec::new(),
            fixed: vec![Vec::new(); costs.len()],
        };
        let mut places = Places::new(board.numbers());
        for number in options.commands.iter().filter_map(|&name| board.number(name)) {
            places.command(number);
        }
        for (index, item) in items.iter().enumerate() {
            let atom = item.atom as usize;
            while units.atoms.len() <= atom {
                units.atoms.push(index as u32);
            }
            units.starts.push(units.all.len() as u32);
            let source = Source {
                item: index as u32,
                is_speech: item.document.owners().is_empty(),
                decay: item.weight * units.decay(item.atom),
                crowd: (options.crowd / item.document.identifiers() as f32).sqrt().min(1.0),
            };
            let placed = board.placed(index);
            if item.is_fixed {
                places.add(source, placed, &mut units.fixed[atom]);
                continue;
            }
            let width = if item.document.is_fine() { clauses } else { width };
            units.add(source, width, relevance[index], query, placed, &mut places);
            if units.all.len() > units.starts[index] as usize {
                units.openings[atom] = units.openings[atom].saturating_add(options.marker + options.handle);
            }
        }
        units.starts.push(units.all.len() as u32);
        while units.atoms.len() <= costs.len() {
            units.atoms.push(items.len() as u32);
        }
        units.add_later(&places);
        units.add_named(&places, query, board);
        units.worth = places.all.iter().map(|place| place.best + options.again * (place.sum - place.best)).collect();
        units
    }

    /// The units of an item that is not fixed: of `width` segments, or whole.
    fn add(
        &mut self,
        source: Source,
        width: usize,
        relevance: f32,
        query: &Query,
        placed: &[Placed],
        places: &mut Places,
    ) {
        let Source { item, decay, .. } = source;
        let index = item as usize;
        let (document, options) = (self.items[index].document, self.options);
        let whole = document.tokens() <= options.whole;
        let count = document.len();
        for first in (0..count).step_by(if whole { count.max(1) } else { width }) {
            let last = if whole { count } else { count.min(first + width) };
            let stretch = document.values_before(first)..document.values_before(last);
            let start = self.values.len();
            places.add(source, &placed[stretch], &mut self.values);
            let cost = if whole { document.tokens() } else { (first..last).map(|at| document.cost(at)).sum() };
            let near =
                if whole { relevance } else { 0.5 * (relevance + query.share(index, document.words(first, last))) };
            let edge = if whole && count > 1 { EDGE } else { 0.0 };
            let prior = ((first..last).map(|at| document.prior(at)).fold(0.0, f32::max) + edge) * decay;
            let said = if is_asked(options) {
                let (start, end) = (document.words_before(first), document.words_before(last));
                let pairs = (end - start).saturating_sub(1);
                if pairs > 0 { (self.board.pairs().start_of(index) + start, pairs) } else { (0, 0) }
            } else {
                (self.board.lines().start_of(index) + first, last - first)
            };
            self.segments.push((first as u32, last as u32));
            self.all.push(Unit {
                item,
                cost,
                own: (options.relevance * near + options.prior * prior) * cost as f32 + 1e-4 * decay,
                is_first: first == 0,
                is_last: last == count,
                values: start as u32,
                values_len: (self.values.len() - start) as u32,
                said: said.0 as u32,
                said_len: said.1 as u32,
            });
        }
    }

    /// Adds to the worth of units what later items speak of.
    fn add_later(&mut self, places: &Places) {
        for (index, item) in self.items.iter().enumerate() {
            let decay = item.weight * self.decay(item.atom);
            let more = if item.document.kind() == Kind::Json { ROW } else { 0.0 };
            for at in self.of(index) {
                if self.values_of(at).iter().any(|&value| places.all[value as usize].latest > index as u32) {
                    let unit = &mut self.all[at];
                    unit.own += (self.options.later * unit.cost as f32 + more) * decay;
                }
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
            for at in self.of(index) {
                let (unit, (first, last)) = (&mut self.all[at], self.segments[at]);
                let most = owners.between(first, last).map(|owner| worth[owner]).fold(0.0, f32::max);
                unit.own += most * unit.cost as f32;
            }
        }
    }

    /// What its age leaves of the worth of an atom.
    fn decay(&self, atom: u32) -> f32 {
        let age = (self.costs.len() - 1 - atom as usize) as f32;
        (-age / self.options.half_life).exp2()
    }

    /// The units of an item.
    pub(super) fn of(&self, item: usize) -> std::ops::Range<usize> {
        self.starts[item] as usize..self.starts[item + 1] as usize
    }

    /// Those of an atom.
    pub(super) fn of_atom(&self, atom: usize) -> std::ops::Range<usize> {
        let start = |item: u32| self.starts[item as usize] as usize;
        start(self.atoms[atom])..start(self.atoms[atom + 1])
    }

    /// The values of a unit that are worth something, each once.
    fn values_of(&self, at: usize) -> &[u32] {
        let unit = &self.all[at];
        &self.values[unit.values as usize..(unit.values + unit.values_len) as usize]
    }

    /// What the values of a unit are worth; those that are worth nothing any more are left out from then on.
    pub(super) fn uncovered(&mut self, at: usize) -> f32 {
        let unit = &mut self.all[at];
        let values = &mut self.values[unit.values as usize..(unit.values + unit.values_len) as usize];
        let (mut sum, mut left) = (0.0, 0);
        for place in 0..values.len() {
            let value = values[place];
            let worth = self.worth[value as usize];
            sum += worth;
            values[left] = value;
            left += usize::from(worth > 0.0);
        }
        unit.values_len = left as u32;
        sum
    }

    /// Takes from its values what they are worth: it is kept.
    pub(super) fn cover(&mut self, at: usize) {
        let unit = &self.all[at];
        for &value in &self.values[unit.values as usize..(unit.values + unit.values_len) as usize] {
            self.worth[value as usize] = 0.0;
        }
    }

    /// What a unit says, by which it is known that it was said before: its pairs of words where something is asked, else its lines.
    pub(super) fn said(&self, at: usize) -> &'a [u32] {
        let board = self.board;
        let all = if is_asked(self.options) { board.pairs().all() } else { board.lines().all() };
        let unit = &self.all[at];
        &all[unit.said as usize..(unit.said + unit.said_len) as usize]
    }
}

pub(super) fn is_asked(options: &Options) -> bool {
    options.relevance >= ASKED
}
