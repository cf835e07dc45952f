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
    /// The same of items whose lines belong to nothing: who names there what an earlier item has, speaks of it.
    pub(super) spoken: u32,
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

    /// Puts the numbers of a stretch's values at the end of `into`, each once.
    pub(super) fn add(&mut self, item: usize, is_speech: bool, values: &[Placed], decay: f32, into: &mut Vec<u32>) {
        let decay = decay / 10.0;
        self.stretches += 1;
        for value in values {
            let place = &mut self.all[value.number as usize];
            place.best = place.best.max(f32::from(value.most) * decay);
            place.sum += f32::from(value.sum) * decay;
            if value.most >= terms::IDENTIFIER {
                place.latest = item as u32;
                if is_speech {
                    place.spoken = item as u32;
                }
            }
            if place.stretch != self.stretches {
                place.stretch = self.stretches;
                into.push(value.number);
            }
        }
    }
}
