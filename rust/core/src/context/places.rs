//! What values are worth by where they stand in a conversation: best, in all, and whether they come again.

use super::board::Placed;
use super::terms;

/// A value, by where it stands: its best place, all of them, and the last stretch that it was seen in.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) best: f32,
    pub(super) sum: f32,
    stretch: u32,
    /// The last item in which it looks like an identifier.
    pub(super) latest: u32,
    is_command: bool,
    /// The same of items whose lines belong to nothing: who names there what an earlier item has, speaks of it.
    pub(super) spoken: u32,
}

/// What the worth of a value owes to the item it stands in.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) item: u32,
    /// Its lines belong to nothing.
    pub(super) is_speech: bool,
    /// What its age and its weight leave.
    pub(super) decay: f32,
    /// What the number of its identifiers leaves of each.
    pub(super) crowd: f32,
}

/// What values are worth, by their numbers.
pub(super) struct Places {
    pub(super) all: Vec<Place>,
    stretches: u32,
}

impl Places {
    /// For so many numbers.
    pub(super) fn new(numbers: usize) -> Self {
        Self { all: vec![Place::default(); numbers], stretches: 0 }
    }

    /// From here on a value is the name of a command.
    pub(super) fn command(&mut self, number: u32) {
        self.all[number as usize].is_command = true;
    }

    /// Puts the numbers of a stretch's values at the end of `into`, each once.
    pub(super) fn add(&mut self, source: Source, values: &[Placed], into: &mut Vec<u32>) {
        let full = source.decay / 10.0;
        self.stretches += 1;
        for value in values {
            let place = &mut self.all[value.number as usize];
            let is_identifier = value.most >= terms::IDENTIFIER;
            let decay = if is_identifier { full * source.crowd } else { full };
            let best = if place.is_command { f32::from(terms::MIXED) * full } else { f32::from(value.most) * decay };
            place.best = place.best.max(best);
            place.sum += f32::from(value.sum) * decay;
            if is_identifier {
                place.latest = source.item;
                if source.is_speech {
                    place.spoken = source.item;
                }
            }
            if place.stretch != self.stretches {
                place.stretch = self.stretches;
                into.push(value.number);
            }
        }
    }
}
