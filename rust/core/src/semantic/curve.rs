//! The bound: how often an answer was wrong at and above each predicted probability, with what upper limit.
//!
//! Bins over the predicted log-odds hold how many candidates came (all of them) and how verdicts on some of them fell. The
//! share of wrong answers above a threshold is the bins' own shares weighted by what came, so that it does not matter that
//! served candidates are audited rarely and others often. Its upper limit is Wilson's (1927) over the number of verdicts
//! that such a weighted mean is worth (Kish 1965).

use super::online::sigmoid;
use super::reader::Reader;

const BINS: usize = 64;
const LOWEST: f64 = -2.0;
const WIDTH: f64 = 0.15;
/// Verdicts remembered, about: older ones fade. And candidates that came.
const MEMORY: f64 = 4000.0;
const MEMORY_OF_TRAFFIC: f64 = 8000.0;

/// The upper end of Wilson's interval for `wrong` of `n`, at `z` standard errors.
pub(super) fn wilson_upper(wrong: f64, n: f64, z: f64) -> f64 {
    if n <= 0.0 {
        return 1.0;
    }
    let (share, z2) = ((wrong / n).clamp(0.0, 1.0), z * z);
    let spread = z * ((share * (1.0 - share) + z2 / (4.0 * n)) / n).sqrt();
    ((share + z2 / (2.0 * n) + spread) / (1.0 + z2 / n)).min(1.0)
}

/// The lower end of it.
pub(super) fn wilson_lower(wrong: f64, n: f64, z: f64) -> f64 {
    if n <= 0.0 || wrong <= 0.0 { 0.0 } else { 1.0 - wilson_upper(n - wrong, n, z) }
}

/// One kind of candidate's curve.
#[derive(Clone)]
pub(super) struct Curve {
    came: [f64; BINS],
    verdicts: [f64; BINS],
    wrong: [f64; BINS],
    /// What the model's own word is worth, in verdicts per bin.
    trust: f64,
    /// By how much that word's error is raised.
    inflation: f64,
}

/// What is known of the candidates at and above a probability.
#[derive(Clone, Copy, Debug)]
pub(super) struct Risk {
    pub(super) mean: f64,
    pub(super) upper: f64,
    /// Verdicts it rests on.
    pub(super) evidence: f64,
}

fn bin(log_odds: f64) -> usize {
    (((log_odds - LOWEST) / WIDTH).clamp(0.0, (BINS - 1) as f64)) as usize
}

fn middle(bin: usize) -> f64 {
    LOWEST + (bin as f64 + 0.5) * WIDTH
}

impl Curve {
    pub(super) const fn new(trust: f64, inflation: f64) -> Self {
        Self { came: [0.0; BINS], verdicts: [0.0; BINS], wrong: [0.0; BINS], trust, inflation }
    }

    pub(super) fn arrive(&mut self, log_odds: f64) {
        for came in &mut self.came {
            *came *= 1.0 - 1.0 / MEMORY_OF_TRAFFIC;
        }
        self.came[bin(log_odds)] += 1.0;
    }

    pub(super) fn learn(&mut self, log_odds: f64, correct: bool, weight: f64) {
        for (verdicts, wrong) in self.verdicts.iter_mut().zip(&mut self.wrong) {
            *verdicts *= 1.0 - 1.0 / MEMORY;
            *wrong *= 1.0 - 1.0 / MEMORY;
        }
        self.verdicts[bin(log_odds)] += weight;
        self.wrong[bin(log_odds)] += if correct { 0.0 } else { weight };
    }

    /// After a change of the world: the old verdicts count little, the model's word nothing until it has proved itself anew.
    pub(super) fn doubt(&mut self) {
        for i in 0..BINS {
            self.verdicts[i] *= 0.02;
            self.wrong[i] *= 0.02;
            self.came[i] *= 0.1;
        }
        self.trust = (self.trust * 0.2).max(0.01);
    }

    /// Of all thresholds whose risk's upper limit is within `limit`, on at least `needed` verdicts, the lowest, and its risk; and the risk at `log_odds` itself.
    pub(super) fn open(&self, log_odds: f64, limit: f64, z: f64, needed: f64) -> (Option<(f64, Risk)>, Risk) {
        let (mut weight, mut squares, mut sum, mut evidence) = (0.0, 0.0, 0.0, 0.0);
        let own = bin(log_odds);
        let (mut lowest, mut here) = (None, Risk { mean: 1.0, upper: 1.0, evidence: 0.0 });
        for i in (0..BINS).rev() {
            let predicted = ((1.0 - sigmoid(middle(i))) * self.inflation).min(1.0);
            let came = self.came[i] + 0.05;
            let worth = self.verdicts[i] + self.trust;
            weight += came;
            sum += came * (self.wrong[i] + self.trust * predicted) / worth;
            squares += came * came / worth;
            evidence += self.verdicts[i];
            let (n, mean) = (weight * weight / squares, sum / weight);
            let risk = Risk { mean, upper: wilson_upper(mean * n, n, z), evidence };
            if risk.upper <= limit && evidence >= needed {
                lowest = Some((LOWEST + i as f64 * WIDTH, risk));
            }
            if i == own {
                here = risk;
            }
        }
        (lowest, here)
    }

    /// The share of wrong answers in this log-odds' own bin, as far as known.
    pub(super) fn local(&self, log_odds: f64) -> f64 {
        let i = bin(log_odds);
        let predicted = ((1.0 - sigmoid(middle(i))) * self.inflation).min(1.0);
        (self.wrong[i] + self.trust * predicted) / (self.verdicts[i] + self.trust)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for value in self.came.iter().chain(&self.verdicts).chain(&self.wrong).chain([&self.trust, &self.inflation]) {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut curve = Self::new(0.0, 0.0);
        let Self { came, verdicts, wrong, trust, inflation } = &mut curve;
        for value in came.iter_mut().chain(verdicts).chain(wrong).chain([trust, inflation]) {
            *value = reader.f64().filter(|value| (0.0..1e12).contains(value))?;
        }
        (0..BINS).all(|i| curve.wrong[i] <= curve.verdicts[i] + 1e-6).then_some(curve)
    }
}
