//! How long calls took, what they should have taken, and what a few of them say together.

use super::expected::{Expected, Size};
use super::moments::Moments;

pub(super) const LEAST_SAMPLES: usize = 4;
/// Leverage below which a size has been seen often enough to judge by it, and to learn no more of it while others are in its way.
const KNOWN: f64 = 0.1;
const WELL_KNOWN: f64 = 0.01;
/// Times what was expected: longer counts as that long.
pub(super) const OUTLIER: f64 = 8.0;
/// Standard deviations of one call's time: what is expected errs by that for all of a reading's calls, where they have a leverage of 1.
const COMMON_ERROR: f64 = 0.25;
/// Ended calls, at most, that wait for longer ones that began before them.
const MOST_LATER: usize = 2048;

/// One call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub number: u64,
    pub began: f64,
    /// How many were in flight when it began, itself among them, and how many had ended.
    pub in_flight: f64,
    pub ends: u64,
    /// The integral over its time of one by those in flight.
    pub share: f64,
    pub seconds: f64,
    pub size: Size,
    /// Seconds to its first token, of a whole stream.
    pub first: Option<f64>,
}

/// Calls of one kind of time: to the first token, or in whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub samples: Vec<Sample>,
    /// Read, and not yet learned from.
    later: Vec<Sample>,
    pub expected: Expected,
}

/// What a few calls say together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// In flight when they began: the mean, and the most; and while they ran.
    pub in_flight: f64,
    pub most: f64,
    pub beside: f64,
    /// Times as long as expected a call took, in the mean, and the standard error of that.
    pub slower: f64,
    pub error: f64,
    /// Times as long as expected all took together, as the number of those that wait has it, and the standard error of that.
    pub longer: f64,
    pub longer_error: f64,
    /// How many times more were in flight than were worked on, if the others stood in line, and the standard error of that.
    pub crowd: f64,
    pub crowd_error: f64,
}

impl Times {
    /// Learns from the calls that began before that one how time goes with size; `alone`: also how long calls take in all.
    /// `without` is what each of the samples would have taken with nothing in its way.
    pub(super) fn learn(&mut self, before: u64, without: &[f64], alone: bool) {
        let Self { samples, later, expected } = self;
        later.extend(samples.drain(..).zip(without).map(|(sample, &seconds)| Sample { seconds, ..sample }));
        let too_many = later.len().saturating_sub(MOST_LATER);
        let mut at = 0;
        later.retain(|&Sample { number, size, seconds, .. }| {
            at += 1;
            let waits = number >= before && at > too_many;
            if waits {
                return true;
            }
            if expected.is_empty() || expected.leverage(size) >= WELL_KNOWN {
                expected.learn(size, seconds);
            } else if alone {
                expected.learn(size, seconds.min(OUTLIER * expected.seconds(size)));
            }
            false
        });
    }

    /// The same, where nothing was in the way of the samples, or is not known.
    pub(super) fn learn_as_they_were(&mut self, before: u64, alone: bool) {
        let seconds: Vec<f64> = self.samples.iter().map(|sample| sample.seconds).collect();
        self.learn(before, &seconds, alone);
    }

    /// What the samples say whose size has been seen before; none where there are too few. `ends`: when calls ended; `level`: how many
    /// times as long as expected calls take that none stands in line before.
    ///
    /// Just after more calls than usual began, the short ones of them are among those that end, and the long ones not yet. So each counts
    /// for as many as did not begin when it did: by the inverse of how many began around then (Horvitz and Thompson, 1952).
    pub(super) fn reading(&self, ends: &Moments, level: f64, weight: impl Fn(&Sample) -> f64) -> Option<Reading> {
        let expected = &self.expected;
        if expected.is_empty() {
            return None;
        }
        let mut sums = Sums::default();
        for sample in &self.samples {
            let leverage = expected.leverage(sample.size);
            if leverage < KNOWN {
                sums.add(sample, weight(sample), leverage, expected.seconds(sample.size), ends, level);
            }
        }
        (sums.count >= LEAST_SAMPLES).then(|| sums.reading())
    }
}

/// Weighted sums over the calls of a reading.
#[derive(Default)]
struct Sums {
    count: usize,
    weights: f64,
    squares: f64,
    leverage: f64,
    in_flight: f64,
    most: f64,
    beside: f64,
    /// Times as long as expected.
    slower: f64,
    slower_slower: f64,
    squares_slower: f64,
    /// Seconds, and what was expected.
    took: f64,
    should: f64,
    took_took: f64,
    took_should: f64,
    should_should: f64,
    /// Calls that were worked on beside it, if the others stood in line.
    worked: f64,
    worked_worked: f64,
}

impl Sums {
    fn add(&mut self, sample: &Sample, weight: f64, leverage: f64, each: f64, ends: &Moments, level: f64) {
        let seconds = sample.seconds.min(OUTLIER * each);
        let slower = seconds / each;
        // Those ahead of it in line are the calls that ended while it waited.
        let waited = sample.seconds - level * each;
        let worked = sample.in_flight - ends.between(sample.began, sample.began + waited);
        self.count += 1;
        self.weights += weight;
        self.squares += weight * weight;
        self.leverage += weight * leverage;
        self.in_flight += weight * sample.in_flight;
        self.most = self.most.max(sample.in_flight);
        self.beside += weight * if sample.share > 0.0 { sample.seconds / sample.share } else { sample.in_flight };
        self.slower += weight * slower;
        self.slower_slower += (weight * slower).powi(2);
        self.squares_slower += weight * weight * slower;
        self.took += weight * seconds;
        self.should += weight * each;
        self.took_took += (weight * seconds).powi(2);
        self.took_should += weight * weight * seconds * each;
        self.should_should += (weight * each).powi(2);
        self.worked += weight * worked;
        self.worked_worked += weight * worked * worked;
    }

    fn reading(&self) -> Reading {
        let (weights, should) = (self.weights, self.should);
        let common = COMMON_ERROR * (self.leverage / weights).sqrt();
        let slower = (self.slower / weights).max(1.0 / OUTLIER);
        let off = self.slower_slower - 2.0 * slower * self.squares_slower + slower * slower * self.squares;
        let longer = (self.took / should).max(1.0 / OUTLIER);
        let longer_off = self.took_took - 2.0 * longer * self.took_should + longer * longer * self.should_should;
        let in_flight = self.in_flight / weights;
        let worked = self.worked / weights;
        let spread = (self.worked_worked / weights - worked * worked).max(0.0) * self.squares / (weights * weights);
        let worked = worked.max(in_flight / OUTLIER);
        let crowd = in_flight / worked;
        Reading {
            in_flight,
            most: self.most,
            beside: self.beside / weights,
            slower,
            error: (off.max(0.0).sqrt() / weights).hypot(slower * common),
            longer,
            longer_error: (longer_off.max(0.0).sqrt() / should).hypot(longer * common),
            crowd,
            crowd_error: crowd * (spread.sqrt() / worked).hypot(common),
        }
    }
}
