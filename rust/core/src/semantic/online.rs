//! The model that learns from verdicts: logistic over the signals, with offsets per scope, category and entry that share
//! strength with the whole.
//!
//! A Gaussian over the weights, at first the shipped prior's, moved by one step of an extended Kalman filter per verdict
//! (`MacKay` 1992 for the averaged probability; Glickman 1999 for the step). Each verdict also widens the Gaussian a little, so
//! that old ones fade.

use std::collections::HashMap;

use super::compare::FEATURES;
use super::prior::prior;
use super::reader::Reader;

/// What the model sees: one, the cosine and its bends, margins, density, age, products, then the features, then each feature
/// times the cosine: what a difference weighs depends on how close the texts are.
pub const SIGNALS: usize = OWN + 2 * FEATURES;
/// Those before the features.
const OWN: usize = 11;
const TRIANGLE: usize = SIGNALS * (SIGNALS + 1) / 2;
/// Share of the first variance that returns with each verdict.
const FADE: f64 = 1.0 / 20_000.0;
/// Spread of the offset of a scope, a category, an entry.
const OFFSETS: [f64; 3] = [0.5, 0.5, 0.7];
/// Offsets kept of each kind; beyond it the one longest without a verdict goes.
const KEPT: usize = 4096;

/// What the index and the clock know of a query and its candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signals {
    pub cosine: f32,
    /// Of the second best candidate; below -1 without one.
    pub second: f32,
    /// Live entries near the query, the candidate among them.
    pub density: f32,
    /// Seconds since the entry was stored.
    pub age: f32,
}

pub(super) type Vector = [f32; SIGNALS];

/// Which offsets apply; 0 is none.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Group {
    pub scope: u64,
    pub category: u64,
    pub entry: u64,
}

/// The key of a group by its name; never 0, which is none.
pub fn key_of(name: &[u8]) -> u64 {
    let hash = blake3::hash(name);
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes")) | 1
}

impl Group {
    const fn keys(self) -> [u64; 3] {
        [self.scope, self.category, self.entry]
    }
}

#[derive(Clone, Copy)]
struct Offset {
    mean: f64,
    variance: f64,
    seen: u64,
}

pub(super) struct Online {
    mean: [f64; SIGNALS],
    /// The lower triangle of the covariance, row by row.
    covariance: Box<[f64; TRIANGLE]>,
    offsets: [HashMap<u64, Offset>; 3],
    verdicts: u64,
}

const fn at(row: usize, column: usize) -> usize {
    if row >= column { row * (row + 1) / 2 + column } else { column * (column + 1) / 2 + row }
}

/// The signals as the model sees them: centred, of about unit spread, bounded.
pub(super) fn vector(cosine: f32, signals: &Signals, features: &[f32; FEATURES]) -> Vector {
    let mut out = [0.0; SIGNALS];
    let scale = &prior().scale;
    let standard = |input: usize, value: f32| ((value - scale[input].0) / scale[input].1).clamp(-4.0, 4.0);
    let near = standard(0, cosine);
    let margin = if signals.second >= -1.0 { signals.cosine - signals.second } else { 0.2 };
    let density = (signals.density.max(0.0) + 1.0).ln().min(6.0) - 1.0;
    out[0] = 1.0;
    out[1] = near;
    out[2] = (cosine - 0.8).max(0.0) * 10.0;
    out[3] = (cosine - 0.9).max(0.0) * 20.0;
    out[4] = margin.clamp(0.0, 0.4) * 8.0;
    out[5] = (-margin).clamp(0.0, 0.2) * 10.0;
    out[6] = density;
    out[7] = (signals.age.max(0.0) / 3600.0 + 1.0).ln().min(8.0) * 0.2;
    out[8] = standard(14, features[13]).abs();
    out[9] = density * near * 0.5;
    out[10] = margin.clamp(0.0, 0.1) * 20.0 * near * 0.5;
    for (i, value) in features.iter().enumerate() {
        let value = standard(i + 1, *value);
        out[OWN + i] = value;
        out[OWN + FEATURES + i] = value * near * 0.5;
    }
    out
}

impl Online {
    pub(super) fn new() -> Self {
        let mut covariance: Box<[f64; TRIANGLE]> =
            vec![0.0; TRIANGLE].into_boxed_slice().try_into().expect("as long as that");
        for (i, (_, spread)) in prior().weights.iter().enumerate() {
            covariance[at(i, i)] = spread.powi(2);
        }
        Self { mean: prior().weights.map(|(mean, _)| mean), covariance, offsets: Default::default(), verdicts: 0 }
    }

    pub(super) const fn verdicts(&self) -> u64 {
        self.verdicts
    }

    /// Covariance times the vector.
    fn project(&self, x: &Vector) -> [f64; SIGNALS] {
        let mut out = [0.0; SIGNALS];
        let mut cell = 0;
        for row in 0..SIGNALS {
            let own = f64::from(x[row]);
            let mut sum = 0.0;
            for column in 0..row {
                let value = self.covariance[cell];
                sum += value * f64::from(x[column]);
                out[column] += value * own;
                cell += 1;
            }
            out[row] += sum + self.covariance[cell] * own;
            cell += 1;
        }
        out
    }

    fn offset(&self, kind: usize, key: u64) -> Offset {
        let fresh = Offset { mean: 0.0, variance: OFFSETS[kind].powi(2), seen: 0 };
        if key == 0 {
            Offset { variance: 0.0, ..fresh }
        } else {
            self.offsets[kind].get(&key).copied().unwrap_or(fresh)
        }
    }

    /// What scope, category and entry add to the log-odds.
    pub(super) fn offsets(&self, group: Group) -> f64 {
        group.keys().into_iter().enumerate().map(|(kind, key)| self.offset(kind, key).mean).sum()
    }

    /// Mean and variance of the log-odds that the answer serves.
    pub(super) fn log_odds(&self, x: &Vector, group: Group) -> (f64, f64) {
        let projected = self.project(x);
        let (mut mean, mut variance) = (0.0, 0.0);
        for i in 0..SIGNALS {
            mean += self.mean[i] * f64::from(x[i]);
            variance += projected[i] * f64::from(x[i]);
        }
        for (kind, key) in group.keys().into_iter().enumerate() {
            let offset = self.offset(kind, key);
            mean += offset.mean;
            // An unknown group is as the whole; how far it may stray is the offset's own affair once it has verdicts.
            variance += if offset.seen > 0 { offset.variance } else { 0.0 };
        }
        (mean, variance.max(0.0))
    }

    /// One verdict: the weights move towards it, by less the surer they are.
    pub(super) fn learn(&mut self, x: &Vector, group: Group, correct: bool, weight: f64) {
        self.verdicts += 1;
        let projected = self.project(x);
        let keys = group.keys();
        let offsets: [Offset; 3] = std::array::from_fn(|kind| self.offset(kind, keys[kind]));
        let mut mean: f64 = (0..SIGNALS).map(|i| self.mean[i] * f64::from(x[i])).sum();
        let mut variance: f64 = (0..SIGNALS).map(|i| projected[i] * f64::from(x[i])).sum();
        for offset in &offsets {
            mean += offset.mean;
            variance += offset.variance;
        }
        let p = sigmoid(mean / (1.0 + variance * std::f64::consts::FRAC_PI_8).sqrt());
        let information = (p * (1.0 - p)).max(1e-3) * weight;
        let gain = 1.0 / (1.0 + information * variance);
        let step = weight * (f64::from(u8::from(correct)) - p) * gain;
        for (mean, projected) in self.mean.iter_mut().zip(&projected) {
            *mean = (*mean + projected * step).clamp(-30.0, 30.0);
        }
        let shrink = information * gain;
        let mut cell = 0;
        for row in 0..SIGNALS {
            for column in 0..=row {
                self.covariance[cell] -= shrink * projected[row] * projected[column];
                cell += 1;
            }
        }
        self.widen(FADE);
        for (kind, mut offset) in offsets.into_iter().enumerate().filter(|(kind, _)| keys[*kind] != 0) {
            offset.mean += offset.variance * step;
            offset.variance *= 1.0 - shrink * offset.variance;
            offset.variance = (offset.variance + FADE).clamp(1e-6, OFFSETS[kind].powi(2));
            offset.seen = self.verdicts;
            self.keep(kind, keys[kind], offset);
        }
    }

    fn keep(&mut self, kind: usize, key: u64, offset: Offset) {
        let offsets = &mut self.offsets[kind];
        if offsets.len() >= KEPT && !offsets.contains_key(&key) {
            // The older half goes at once, so that the work per verdict stays constant.
            let mut ages: Vec<u64> = offsets.values().map(|offset| offset.seen).collect();
            let (_, &mut middle, _) = ages.select_nth_unstable(KEPT / 2);
            offsets.retain(|_, offset| offset.seen > middle);
        }
        offsets.insert(key, offset);
    }

    /// Adds a share of the first variance back, as the world may have moved; never beyond the first.
    pub(super) fn widen(&mut self, share: f64) {
        for i in 0..SIGNALS {
            let (cell, first) = (at(i, i), prior().weights[i].1.powi(2));
            self.covariance[cell] =
                (self.covariance[cell].max(1e-9) + share * first).min(first.max(self.covariance[cell]));
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.verdicts.to_le_bytes());
        for value in self.mean.iter().chain(self.covariance.iter()) {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for offsets in &self.offsets {
            out.extend_from_slice(&(offsets.len() as u32).to_le_bytes());
            let mut sorted: Vec<_> = offsets.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| **key);
            for (key, offset) in sorted {
                out.extend_from_slice(&key.to_le_bytes());
                out.extend_from_slice(&offset.mean.to_le_bytes());
                out.extend_from_slice(&offset.variance.to_le_bytes());
                out.extend_from_slice(&offset.seen.to_le_bytes());
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut online = Self::new();
        online.verdicts = reader.u64()?;
        for value in online.mean.iter_mut().chain(online.covariance.iter_mut()) {
            *value = reader.f64()?;
        }
        let sound = online.mean.iter().all(|mean| mean.abs() <= 30.0)
            && (0..SIGNALS).all(|i| (0.0..=100.0).contains(&online.covariance[at(i, i)]));
        for (kind, first) in OFFSETS.iter().enumerate() {
            let count = reader.u32()? as usize;
            if count > KEPT {
                return None;
            }
            for _ in 0..count {
                let (key, mean, variance, seen) = (reader.u64()?, reader.f64()?, reader.f64()?, reader.u64()?);
                if key == 0
                    || !(0.0..=first.powi(2)).contains(&variance)
                    || mean.abs() > 100.0
                    || seen > online.verdicts
                {
                    return None;
                }
                online.offsets[kind].insert(key, Offset { mean, variance, seen });
            }
        }
        sound.then_some(online)
    }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The probability averaged over the log-odds' uncertainty.
pub(super) fn averaged(mean: f64, variance: f64) -> f64 {
    sigmoid(mean / (1.0 + variance * std::f64::consts::FRAC_PI_8).sqrt())
}
