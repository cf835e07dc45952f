//! What is thought of an endpoint: how much it takes at once if calls wait in line, how much if all share, and which of the two it is.
//!
//! With n calls in flight and room for c, all take n / c times as long in the mean, whatever the kind of queue (Little's law). But one
//! that stands in line waits for as many to end as are ahead of it, once, and then runs as ever; one that shares has the c-th part of
//! what there is, by all that are beside it while it runs. While the number in flight moves, and between long calls and short ones,
//! these are not the same.

use super::capacity::Capacity;
use super::expected::Expected;
use super::moments::Moments;
use super::queueing::{Queueing, Slowed};
use super::times::{LEAST_SAMPLES, OUTLIER, Reading, Sample, Times};

/// Leverage below which a size is known well enough to tell kinds of queues by it.
const SURE: f64 = 0.03;
/// How far off a capacity may be that follows from waiting for first tokens, as a logarithm.
const WAITING_ERROR: f64 = 0.15;
/// Of a reading in what streams take after their first token.
const REST_GAIN: f64 = 0.2;
/// The probability of a line from which on what first tokens tell is believed as what they would be alone.
const IN_LINE: f64 = 0.9;

#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    line: Capacity,
    shared: Capacity,
    queueing: Queueing,
    /// How many times as long as it should what follows first tokens takes.
    rest: f64,
}

/// What one kind of queue has it: so many fit, and take that many times as long as expected.
struct Fit {
    fits: f64,
    level: f64,
}

impl Fit {
    fn of(capacity: &Capacity) -> Self {
        Self { fits: capacity.quantile(0.5), level: capacity.level() }
    }

    /// Seconds of a call after it stood in line.
    fn after_line(&self, sample: &Sample, ends: &Moments) -> f64 {
        let ahead = (sample.in_flight - self.fits).max(0.0) as u64;
        let began = match ahead {
            0 => sample.began,
            _ => ends.time(sample.ends + ahead - 1).unwrap_or(sample.began + sample.seconds),
        };
        (sample.seconds - (began - sample.began)).max(sample.seconds / OUTLIER)
    }

    /// Seconds it would have taken with all there is for itself.
    fn unshared(&self, sample: &Sample) -> f64 {
        sample.seconds.min(self.fits * sample.share).max(sample.seconds / OUTLIER)
    }
}

impl Endpoint {
    /// Of a capacity between these.
    pub(super) fn new(least: f64, most: f64) -> Self {
        let capacity = Capacity::new(least, most);
        Self { line: capacity.clone(), shared: capacity, queueing: Queueing::default(), rest: 1.0 }
    }

    /// How many times as long as expected calls take that stand in no line.
    pub(super) fn level(&self) -> f64 {
        self.line.level()
    }

    /// The capacity that is not reached with each of these probabilities.
    pub(super) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mixed = self.line.mixed(&self.shared, self.queueing.in_line());
        shares.map(|share| self.line.quantile_of(&mixed, share))
    }

    /// Calls that tell how much slower all are, first tokens, and whole calls, be their lengths told or not, `passed` seconds after the
    /// ones before; more than `room` must wait for a first token before it counts by itself.
    pub(super) fn read(
        &mut self,
        slowed: Option<Reading>,
        first: Option<Reading>,
        whole: Option<Reading>,
        passed: f64,
        room: impl Fn(f64) -> f64,
    ) {
        let level = self.level();
        if let Some(waiting) = first.or(slowed) {
            let (crowd, error) = (level * waiting.crowd, level * waiting.crowd_error);
            self.line.slower(waiting.in_flight, crowd, error, passed);
        }
        if let Some(slowed) = slowed {
            self.shared.slower(slowed.beside, slowed.slower, slowed.error, passed);
        }
        let Some(first) = first else { return };
        if let Some(whole) = whole {
            let (took, error) = (whole.longer.ln(), whole.longer_error / whole.longer);
            self.queueing.learn_from_streams(took, error, first.crowd.ln());
        }
        let worked = first.in_flight / first.crowd;
        if first.in_flight - worked > room(first.in_flight) {
            self.shared.at_most(worked, WAITING_ERROR.hypot(first.crowd_error));
        }
    }

    /// So many, or nearly: others were turned away, or gave up.
    pub(super) fn about(&mut self, capacity: f64, error: f64, passed: f64) {
        self.line.about(capacity, error, passed);
        self.shared.about(capacity, error, passed);
    }

    /// Learns from whole calls that began before that one how long they take alone; `alone`: nothing was in their way; `first`: what is
    /// expected of first tokens, of streams.
    pub(super) fn learn(&mut self, whole: &mut Times, first: &Expected, ends: &Moments, before: u64, alone: bool) {
        let (line, shared) = (Fit::of(&self.line), Fit::of(&self.shared));
        let streams = !first.is_empty();
        // What a stream waited for its first token is known, and what came after it is slowed as that is of all.
        let rest = |sample: &Sample| {
            let waited = sample.first.map_or(0.0, |seconds| seconds - first.seconds(sample.size.prompt));
            sample.seconds - waited
        };
        let in_line = |sample: &Sample| line.after_line(sample, ends) / line.level;
        let sharing = |sample: &Sample| shared.unshared(sample) / shared.level;
        let sure = whole.samples.iter().filter(|sample| whole.expected.leverage(sample.size) < SURE);
        let sure: Vec<(f64, &Sample)> = sure.map(|sample| (whole.expected.seconds(sample.size), sample)).collect();
        if !streams {
            let slowed = sure.iter().map(|(each, sample)| Slowed {
                took: sample.seconds / each,
                line: in_line(sample) / each,
                shared: sharing(sample) / each,
            });
            self.queueing.learn(&slowed.collect::<Vec<_>>(), line.level);
        } else if sure.len() >= LEAST_SAMPLES {
            let took: f64 = sure.iter().map(|(each, sample)| rest(sample).min(OUTLIER * each)).sum();
            let should: f64 = sure.iter().map(|(each, _)| each).sum();
            self.rest += (took / should - self.rest) * REST_GAIN;
        }
        let share = self.queueing.in_line();
        let without = |sample: &Sample| {
            if streams {
                (rest(sample) / self.rest).max(sample.seconds / OUTLIER)
            } else {
                share * in_line(sample) + (1.0 - share) * sharing(sample)
            }
        };
        let without: Vec<f64> = whole.samples.iter().map(without).collect();
        whole.learn(before, &without, alone || streams && share > IN_LINE);
    }
}
