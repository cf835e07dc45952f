//! The merge of symbols: each part three-way by its name, in an order both sides agree to. And that of lines, where they do not.

use std::borrow::Cow;
use std::collections::HashMap;

use super::imports;
use super::lines::{self, Change};
use super::order::{self, Item, Part};
use super::units::{Inside, Unit};
use super::{Piece, Reason};

/// Merges three versions of a file by its parts.
pub(super) fn merge<'a>(base: &Inside<'a>, ours: &Inside<'a>, theirs: &Inside<'a>) -> Vec<Piece<'a>> {
    let mut merger = Merger::default();
    merger.inside("", base, ours, theirs);
    merger.pieces
}

/// Merges three texts by their lines.
pub(super) fn merge_lines<'a>(base: &'a str, ours: &'a str, theirs: &'a str) -> Vec<Piece<'a>> {
    let mut merger = Merger::default();
    merger.lines("", base, ours, theirs);
    merger.pieces
}

#[derive(Default)]
struct Merger<'a> {
    pieces: Vec<Piece<'a>>,
}

/// A part in each version that has it.
#[derive(Clone, Copy)]
struct Three<'u, 'a> {
    base: Option<&'u Unit<'a>>,
    ours: Option<&'u Unit<'a>>,
    theirs: Option<&'u Unit<'a>>,
}

impl Three<'_, '_> {
    /// Whether one side changed what the other took out.
    fn is_lost(&self) -> bool {
        let differs = |unit: Option<&Unit<'_>>| match (self.base, unit) {
            (Some(base), Some(unit)) => base.body != unit.body || base.lead.trim() != unit.lead.trim(),
            _ => false,
        };
        self.ours.is_none() != self.theirs.is_none() && (differs(self.ours) || differs(self.theirs))
    }
}

impl<'a> Merger<'a> {
    fn inside(&mut self, outer: &str, base: &Inside<'a>, ours: &Inside<'a>, theirs: &Inside<'a>) {
        self.text(outer, base.head, ours.head, theirs.head);
        let items = [base.items(), ours.items(), theirs.items()];
        if let Some(mut order) = order::order(&items[0], &items[1], &items[2]) {
            let find = [by_key(base), by_key(ours), by_key(theirs)];
            let three = |key: &str| {
                let [base, ours, theirs] = &find;
                Three { base: base.get(key).copied(), ours: ours.get(key).copied(), theirs: theirs.get(key).copied() }
            };
            for side in &items[1..] {
                put_back(&mut order, side, |key| three(key).is_lost());
            }
            let mut before: Option<Item<'_>> = None;
            for item in &order {
                let is_new = !find[0].contains_key(item.key);
                let stood = |side: &[Item<'_>]| side.iter().position(|one| one.key == item.key);
                let follows = |side: &[Item<'_>]| stood(side).is_some_and(|at| at > 0 && Some(side[at - 1]) == before);
                let blank = match before {
                    // Both sides' new imports are one block, whatever stood above each.
                    Some(Item { part: Part::Import, .. }) if is_new && item.part == Part::Import => {
                        (!follows(&items[1]) && !follows(&items[2])).then_some("")
                    }
                    // What stood first on its side, and does not now, has no blank lines above it.
                    Some(_) if is_new && items[1..].iter().any(|side| side.first() == Some(item)) => {
                        Some(usual_blank(ours).max(usual_blank(theirs)))
                    }
                    _ => None,
                };
                self.unit(outer, three(item.key), blank);
                before = Some(*item);
            }
        } else {
            self.lines(outer, base.body, ours.body, theirs.body);
        }
        self.text(outer, base.foot, ours.foot, theirs.foot);
    }

    fn unit(&mut self, outer: &str, three: Three<'_, 'a>, blank: Option<&'static str>) {
        let whole = |unit: Option<&Unit<'a>>| unit.map_or("", |unit| unit.body);
        let name = || {
            let name = [three.ours, three.theirs, three.base].into_iter().flatten().next().map_or("", Unit::name);
            if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") }
        };
        match (three.base, three.ours, three.theirs) {
            (None, Some(unit), None) | (None, None, Some(unit)) => {
                match blank {
                    Some("") => self.push(unit.lead.trim_start_matches(['\n', '\r'])),
                    Some(blank) if !unit.lead.starts_with(['\n', '\r']) => {
                        self.push(blank);
                        self.push(unit.lead);
                    }
                    _ => self.push(unit.lead),
                }
                self.push(unit.body);
            }
            (None, Some(ours), Some(theirs)) => {
                self.push(ours.lead.max(theirs.lead));
                if ours.body == theirs.body {
                    self.push(ours.body);
                } else if let Some(text) = import(None, ours, theirs) {
                    self.pieces.push(Piece::Text(Cow::Owned(text)));
                } else {
                    self.conflict(Reason::BothAdded, name(), "", ours.body, theirs.body);
                }
            }
            (Some(base), Some(ours), Some(theirs)) => {
                self.lead(base, ours, theirs);
                self.body(&name(), base, ours, theirs);
            }
            _ if three.is_lost() => {
                self.conflict(Reason::Removed, name(), whole(three.base), whole(three.ours), whole(three.theirs));
            }
            _ => {}
        }
    }

    /// Blank lines are no matter for a conflict; comments are.
    fn lead(&mut self, base: &Unit<'a>, ours: &Unit<'a>, theirs: &Unit<'a>) {
        if let Some(text) = either(base.lead, ours.lead, theirs.lead) {
            self.push(text);
        } else if ours.lead.trim() == theirs.lead.trim() {
            self.push(ours.lead.max(theirs.lead));
        } else {
            self.lines(ours.name(), base.lead, ours.lead, theirs.lead);
        }
    }

    fn body(&mut self, name: &str, base: &Unit<'a>, ours: &Unit<'a>, theirs: &Unit<'a>) {
        if let Some(text) = either(base.body, ours.body, theirs.body) {
            self.push(text);
        } else if let (Some(base), Some(ours), Some(theirs)) = (&base.inside, &ours.inside, &theirs.inside) {
            self.inside(name, base, ours, theirs);
        } else if let Some(text) = import(Some(base), ours, theirs) {
            self.pieces.push(Piece::Text(Cow::Owned(text)));
        } else {
            self.lines(name, base.body, ours.body, theirs.body);
        }
    }

    fn text(&mut self, name: &str, base: &'a str, ours: &'a str, theirs: &'a str) {
        match either(base, ours, theirs) {
            Some(text) => self.push(text),
            None => self.lines(name, base, ours, theirs),
        }
    }

    fn lines(&mut self, name: &str, base: &'a str, ours: &'a str, theirs: &'a str) {
        let [before, left, right] = [base, ours, theirs].map(lines::split);
        let (mut b, mut o, mut t) = (0, 0, 0);
        let take = |at: &mut usize, text: &'a str, lines: &[&str]| {
            let start = *at;
            *at += lines.iter().map(|line| line.len()).sum::<usize>();
            &text[start..*at]
        };
        for chunk in lines::diff3(&before, &left, &right) {
            let base = take(&mut b, base, &before[chunk.base]);
            let ours = take(&mut o, ours, &left[chunk.ours]);
            let theirs = take(&mut t, theirs, &right[chunk.theirs]);
            match chunk.change {
                Change::None | Change::Ours | Change::Same => self.push(ours),
                Change::Theirs => self.push(theirs),
                Change::Conflict => self.conflict(Reason::BothChanged, name.to_owned(), base, ours, theirs),
            }
        }
    }

    fn push(&mut self, text: &'a str) {
        if !text.is_empty() {
            self.pieces.push(Piece::Text(Cow::Borrowed(text)));
        }
    }

    fn conflict(&mut self, reason: Reason, symbol: String, base: &'a str, ours: &'a str, theirs: &'a str) {
        self.pieces.push(Piece::Conflict { reason, symbol, base, ours, theirs });
    }
}

/// What three versions come to where at most one side changed something, or both the same.
pub(super) fn either<T: PartialEq + Copy>(base: T, ours: T, theirs: T) -> Option<T> {
    if ours == theirs || theirs == base {
        Some(ours)
    } else if ours == base {
        Some(theirs)
    } else {
        None
    }
}

fn import(base: Option<&Unit<'_>>, ours: &Unit<'_>, theirs: &Unit<'_>) -> Option<String> {
    let base = base.map(Unit::import);
    if matches!(base, Some(None)) {
        return None;
    }
    imports::merge(base.flatten().as_ref(), &ours.import()?, &theirs.import()?)
}

fn by_key<'u, 'a>(inside: &'u Inside<'a>) -> HashMap<&'u str, &'u Unit<'a>> {
    inside.units.iter().map(|unit| (unit.key.as_str(), unit)).collect()
}

/// Puts what `is_lost` back into the order, after what it follows on its side: so that its conflict stands there.
fn put_back<'a>(order: &mut Vec<Item<'a>>, side: &[Item<'a>], is_lost: impl Fn(&str) -> bool) {
    for (at, item) in side.iter().enumerate() {
        if is_lost(item.key) && !order.iter().any(|known| known.key == item.key) {
            let before = side[..at].iter().rev().find_map(|item| order.iter().position(|known| known.key == item.key));
            order.insert(before.map_or(0, |place| place + 1), *item);
        }
    }
}

/// The blank lines that part the definitions of a file or class.
fn usual_blank(inside: &Inside<'_>) -> &'static str {
    let second =
        inside.units.iter().skip(1).find(|unit| unit.part == Part::Symbol && unit.body.lines().nth(1).is_some());
    let blank = second.map_or(0, |unit| unit.lead.lines().take_while(|line| line.trim().is_empty()).count());
    &"\n\n"[..blank.min(2)]
}
