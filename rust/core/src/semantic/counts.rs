//! How many stored texts hold a stem: what is in most of them says little, what is in few tells texts apart.

use super::compare::Rarity;
use super::prior::prior;
use super::profile::Profile;
use super::reader::Reader;

const SLOTS: usize = 1 << 14;
/// So many texts' worth of general English count beside the stored ones.
const GENERAL: f32 = 300.0;

/// Counts by hash, halved together before any overflows; a collision can only make a stem look more common.
pub(super) struct Counts {
    slots: Box<[u16; SLOTS]>,
    texts: u32,
}

impl Default for Counts {
    fn default() -> Self {
        Self { slots: vec![0; SLOTS].into_boxed_slice().try_into().expect("as long as that"), texts: 0 }
    }
}

impl Counts {
    /// A text was stored.
    pub(super) fn add(&mut self, profile: &Profile) {
        if self.texts == u32::from(u16::MAX) {
            self.texts /= 2;
            self.slots.iter_mut().for_each(|slot| *slot /= 2);
        }
        self.texts += 1;
        let mut stems: Vec<usize> = profile.words.iter().map(|word| word.stem as usize % SLOTS).collect();
        stems.sort_unstable();
        stems.dedup();
        for stem in stems {
            self.slots[stem] += 1;
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.texts.to_le_bytes());
        let used = self.slots.iter().filter(|count| **count > 0).count() as u32;
        out.extend_from_slice(&used.to_le_bytes());
        for (at, count) in self.slots.iter().enumerate().filter(|(_, count)| **count > 0) {
            out.extend_from_slice(&(at as u16).to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut counts = Self { texts: reader.u32()?, ..Self::default() };
        for _ in 0..reader.u32()? {
            let (at, count) = (usize::from(reader.u16()?), reader.u16()?);
            *counts.slots.get_mut(at)? = count;
        }
        (u16::try_from(counts.texts).is_ok() && counts.slots.iter().all(|count| u32::from(*count) <= counts.texts))
            .then_some(counts)
    }
}

impl Rarity for Counts {
    fn of(&self, stem: u32, _: u8) -> f32 {
        let common = prior().common;
        let general = f32::exp(-f32::from(common[stem as usize % common.len()]) / 20.0);
        let share = (f32::from(self.slots[stem as usize % SLOTS]) + general * GENERAL + 0.3)
            / (self.texts as f32 + GENERAL + 0.3);
        (-share.ln() / 8.0).clamp(0.0, 1.2)
    }
}
