//! The shipped prior: what each signal weighs before any verdict, and how far it may stray from that.
//!
//! `training/semantic_prior.py` writes the file; docs/semantic.md holds its model card.

use std::sync::LazyLock;

use super::compare::FEATURES;
use super::online::SIGNALS;
use super::reader::Reader;

/// The cosine as calibrated for its embedder, then the features of the texts.
pub const INPUTS: usize = FEATURES + 1;
const MAGIC: u32 = 0x5350_5232; // "SPR2"
static FILE: &[u8] = include_bytes!("data/prior.bin");

/// Which similarity the cosine is: each embedder spreads its own way.
pub(super) struct Calibration {
    pub(super) name: String,
    /// Cosines of this embedder and the cosines of `MiniLM` at the same quantile; both rise.
    knots: Vec<(f32, f32)>,
}

impl Calibration {
    fn apply(&self, cosine: f32) -> f32 {
        let after = self.knots.partition_point(|knot| knot.0 < cosine);
        match (after.checked_sub(1).and_then(|i| self.knots.get(i)), self.knots.get(after)) {
            (Some(&(x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (cosine - x0) / (x1 - x0),
            (Some(&(_, y)), None) | (None, Some(&(_, y))) => y,
            (None, None) => cosine,
        }
    }
}

/// The model and what was measured about it.
pub(super) struct Prior {
    /// Means and spreads of the signals' weights.
    pub(super) weights: [(f64, f64); SIGNALS],
    pub(super) calibrations: Vec<Calibration>,
    /// Means and spreads of the inputs over the pairs it was fitted on.
    pub(super) scale: [(f32, f32); INPUTS],
    /// How common stems are in English text: hundredths of a nat below certainty, by hash.
    pub(super) common: &'static [u8],
}

static PRIOR: LazyLock<Prior> = LazyLock::new(|| Prior::read(FILE).expect("the shipped prior is whole"));

pub(super) fn prior() -> &'static Prior {
    &PRIOR
}

impl Prior {
    fn read(file: &'static [u8]) -> Option<Self> {
        let mut reader = Reader::new(file);
        let known =
            reader.u32()? == MAGIC && usize::from(reader.u16()?) == INPUTS && usize::from(reader.u16()?) == SIGNALS;
        if !known {
            return None;
        }
        let mut scale = [(0.0, 1.0); INPUTS];
        for pair in &mut scale {
            *pair = (reader.f32()?, reader.f32()?);
        }
        let mut weights = [(0.0, 1.0); SIGNALS];
        for pair in &mut weights {
            *pair = (f64::from(reader.f32()?), f64::from(reader.f32()?));
        }
        let calibrations = (0..reader.u16()?)
            .map(|_| {
                let name = (0..reader.u8()?).map(|_| reader.u8().map(char::from)).collect::<Option<String>>()?;
                let knots = (0..reader.u16()?).map(|_| Some((reader.f32()?, reader.f32()?))).collect::<Option<_>>()?;
                Some(Calibration { name, knots })
            })
            .collect::<Option<_>>()?;
        let common = reader.u32()? as usize;
        let common = reader.bytes(common)?;
        (reader.ended() && common.len().is_power_of_two()).then_some(Self { weights, calibrations, scale, common })
    }

    /// Which calibration has this name.
    pub(super) fn embedder(&self, name: &str) -> Option<usize> {
        self.calibrations.iter().position(|calibration| calibration.name == name)
    }

    pub(super) fn calibrate(&self, embedder: usize, cosine: f32) -> f32 {
        self.calibrations[embedder].apply(cosine)
    }
}
