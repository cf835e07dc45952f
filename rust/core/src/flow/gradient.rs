//! How many calls an endpoint takes at once, by what its calls tell: the adaptive limit's arithmetic. No clock, no queue.
//!
//! By Little's law the calls that wait inside the endpoint are the excess of the mean time over what it should be, times the calls
//! that come back a second: with `slower` times the expected time, all but one in `slower` of those in flight, whatever the kind of
//! queue. TCP Vegas has the same idea with the shortest time seen for what it should be; here that goes by the tokens
//! (`Expected`), and what follows from it is weighed against what was thought before (`Capacity`).

use super::capacity::Capacity;
use super::expected::{Expected, Size};
use super::running::{Call, Running};
use super::starts::Starts;

const LEAST_SAMPLES: usize = 4;
const ENOUGH_SAMPLES: f64 = 12.0;
const MOST_SAMPLES: usize = 512;
/// Seconds between two readings, and round trips.
const SHORTEST: f64 = 0.1;
const PACE: f64 = 0.25;
/// Leverage below which a size has been seen often enough to judge by it.
const KNOWN: f64 = 0.1;
/// Mean durations before and after a call began: so long is looked for others.
const AROUND: f64 = 0.8;
/// Times what was expected: longer counts as that long.
const OUTLIER: f64 = 8.0;
/// Times the first limit: so many calls are taken as they come, before there is anything to judge them by.
const FIRST_SAMPLES: f64 = 1.5;
/// Ended calls, at most, that wait for longer ones that began before them.
const MOST_LATER: usize = 4 * MOST_SAMPLES;
/// Of the limit more, at most, from one reading to the next.
const GROWTH: f64 = 0.6;
/// Of the limit is left at one step down, at least.
const SMALLEST: f64 = 0.4;
/// Of the limit must have been in flight once for it to grow.
const USED: f64 = 0.9;
/// Times those in flight would fit, almost certainly: nothing is in their way.
const ALONE: f64 = 1.2;
/// Share of calls dropped for reasons of their own.
const TOLERATED: f64 = 0.02;
/// How far off a capacity may be that follows from waiting, from being refused, and from timeouts: as logarithms.
const WAITING_ERROR: f64 = 0.3;
const REFUSED_ERROR: f64 = 0.1;
const TIMEOUT_ERROR: f64 = 0.3;
/// Of a call in the mean duration.
const GAIN: f64 = 1.0 / 8.0;

/// One call.
#[derive(Clone, Copy, Debug)]
struct Sample {
    number: u64,
    began: f64,
    /// How many were in flight when it began, itself among them.
    in_flight: f64,
    seconds: f64,
    size: Size,
}

/// Calls of one kind of time: to the first token, or in whole.
#[derive(Clone, Debug, Default)]
struct Times {
    samples: Vec<Sample>,
    /// Read, and not yet learned from.
    later: Vec<Sample>,
    expected: Expected,
}

/// What a few calls say together.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// In flight when they began: the mean, and the most.
    in_flight: f64,
    most: f64,
    /// Times as long as expected, and the standard error of that.
    slower: f64,
    error: f64,
    /// Mean seconds above what was expected.
    waited: f64,
}

#[derive(Clone, Debug, Default)]
struct Dropped {
    count: usize,
    /// In flight when they began, in all.
    in_flight: f64,
    /// At once, and the seconds that took.
    refused: usize,
    refusing: f64,
}

/// `limit` follows what the endpoint takes, between `least` and `most`. O(1) a call, amortised.
#[derive(Clone, Debug)]
pub struct Gradient {
    limit: f64,
    least: f64,
    most: f64,
    load: f64,
    capacity: Capacity,
    running: Running,
    starts: Starts,
    whole: Times,
    first: Times,
    dropped: Dropped,
    duration: f64,
    first_samples: f64,
    known: bool,
    alone: bool,
    last: f64,
    next: f64,
}

impl Gradient {
    pub fn new(initial: f64, least: f64, most: f64) -> Self {
        Self {
            limit: initial,
            least,
            most,
            load: 0.0,
            capacity: Capacity::new(least, most),
            running: Running::default(),
            starts: Starts::default(),
            whole: Times::default(),
            first: Times::default(),
            dropped: Dropped::default(),
            duration: 0.0,
            first_samples: FIRST_SAMPLES * initial,
            known: false,
            alone: false,
            last: f64::NEG_INFINITY,
            next: f64::NEG_INFINITY,
        }
    }

    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// How many of the calls in flight waited in the endpoint at the last reading, as a share.
    pub fn load(&self) -> f64 {
        self.load
    }

    /// Mean seconds of a call, lately; 0 before the first.
    pub fn duration(&self) -> f64 {
        self.duration
    }

    /// Calls that were let through and have not ended.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// A call is let through: its number.
    pub fn began(&mut self, kind: usize, prompt: f64, now: f64) -> u64 {
        self.starts.add(now);
        self.running.begin(kind, prompt, now)
    }

    /// The first token of a stream came.
    pub fn answered(&mut self, number: u64, now: f64) {
        let Some(call) = self.running.get_mut(number).filter(|call| !call.answered) else { return };
        call.answered = true;
        let seconds = (now - call.began).max(0.0);
        let Call { began, in_flight, prompt, .. } = *call;
        self.first.samples.push(Sample { number, began, in_flight, seconds, size: prompt.into() });
        self.ended_one(now);
    }

    /// A call ended well; false where it was over before. Of one that was streamed the length says something only where its size
    /// is known.
    pub fn ended(&mut self, number: u64, size: Option<Size>, now: f64) -> bool {
        let Some(call) = self.running.end(number) else { return false };
        let seconds = (now - call.began).max(0.0);
        self.duration += (seconds - self.duration) * if self.duration > 0.0 { GAIN } else { 1.0 };
        if size.is_some() || !call.answered {
            let Call { began, in_flight, prompt, .. } = call;
            let size = size.unwrap_or(Size { tokens: 0.0, prompt });
            self.whole.samples.push(Sample { number, began, in_flight, seconds, size });
        }
        self.ended_one(now);
        true
    }

    /// A call was refused for want of room, or timed out; false where it was over before.
    pub fn dropped(&mut self, number: u64, now: f64, refused: bool) -> bool {
        let Some(call) = self.running.end(number) else { return false };
        let seconds = (now - call.began).max(0.0);
        self.dropped.count += 1;
        self.dropped.in_flight += call.in_flight;
        if refused {
            self.dropped.refused += 1;
            self.dropped.refusing += seconds;
        }
        self.ended_one(now);
        true
    }

    /// A call ended in a way that says nothing; false where it was over before.
    pub fn left(&mut self, number: u64) -> bool {
        self.running.end(number).is_some()
    }

    fn ended_one(&mut self, now: f64) {
        let count = self.whole.samples.len().max(self.first.samples.len()) + self.dropped.count;
        let enough = (self.limit / 2.0).clamp(LEAST_SAMPLES as f64, ENOUGH_SAMPLES);
        if (now >= self.next && count as f64 >= enough) || count >= MOST_SAMPLES {
            self.read(now);
            self.next = now + (PACE * self.duration).max(SHORTEST);
        }
    }

    fn read(&mut self, now: f64) {
        let dropped = std::mem::take(&mut self.dropped);
        let passed = (now - std::mem::replace(&mut self.last, now)).max(SHORTEST / 100.0);
        let around = AROUND * self.duration;
        let weight =
            |sample: &Sample| self.starts.seconds_each(sample.began - around, (sample.began + around).min(now));
        let whole = reading(&self.whole, weight);
        let first = reading(&self.first, weight);
        self.known |= self.whole.expected.samples().max(self.first.expected.samples()) as f64 >= self.first_samples;
        // Those that end first are the short ones: nothing is learned from a call before all have ended that began before it.
        let patience = OUTLIER * self.duration;
        let before =
            self.running.iter().find(|(_, call)| now - call.began < patience).map_or(u64::MAX, |(number, _)| number);
        let slower = if self.known { whole.map_or(1.0, |whole| whole.slower) } else { 1.0 };
        let ended = if self.whole.samples.is_empty() { self.first.samples.len() } else { self.whole.samples.len() };
        self.whole.learn(before, slower, !self.known || self.alone);
        self.first.learn(before, 1.0, true);
        if !self.make_room(&dropped, ended, passed) && self.known {
            self.decide(whole, first, passed);
        }
    }

    fn decide(&mut self, whole: Option<Reading>, first: Option<Reading>, passed: f64) {
        let Some(base) = whole.or(first) else { return };
        if whole.is_some() || self.whole.expected.is_empty() {
            self.capacity.slower(base.in_flight, base.slower, base.error, passed);
        }
        if let Some(first) = first.filter(|_| self.duration > 0.0) {
            let waiting = first.in_flight * first.waited / self.duration;
            if waiting > room(first.in_flight) {
                self.capacity.at_most((first.in_flight - waiting).max(self.least), WAITING_ERROR);
            }
        }
        let seen = first.unwrap_or(base);
        let fits = self.capacity.quantile(0.5);
        self.load = (1.0 - fits / seen.in_flight).max(0.0);
        self.alone = self.capacity.quantile(0.1) > ALONE * seen.in_flight;
        let fits = fits + room(fits);
        let limit = self.limit;
        if fits <= limit {
            self.limit = fits.max(SMALLEST * limit).max(self.least);
        } else if seen.most >= USED * limit {
            self.limit = fits.min(limit + (GROWTH * limit).max(1.0)).min(self.most);
        }
    }

    /// Makes room where more calls were dropped than chance would; whether it did.
    fn make_room(&mut self, dropped: &Dropped, ended: usize, passed: f64) -> bool {
        let share = dropped.count as f64 / (dropped.count + ended).max(1) as f64;
        if share <= TOLERATED || dropped.count < 2 {
            return false;
        }
        let limit = self.limit;
        let fits = if 2 * dropped.refused >= dropped.count {
            // In flight less those that were being refused, by Little's law, is what was let in.
            let fits = (dropped.in_flight / dropped.count as f64 - dropped.refusing / passed).max(self.least);
            self.capacity.about(fits, REFUSED_ERROR, passed);
            fits
        } else {
            let fits = ((1.0 - share / 2.0) * limit).max(self.least);
            self.capacity.about(fits, TIMEOUT_ERROR, passed);
            fits
        };
        self.limit = fits.min(limit).max(SMALLEST * limit).max(self.least);
        true
    }
}

/// How many of those in flight may wait in the endpoint: as many as chance makes it, and a few in a hundred more.
fn room(in_flight: f64) -> f64 {
    0.75 * in_flight.sqrt() + 0.04 * in_flight
}

impl Times {
    /// Learns from the calls that began before that one how time goes with size; not how long calls take in all, but where nothing is
    /// there to compare with. They took `slower` times as long as they should.
    fn learn(&mut self, before: u64, slower: f64, alone: bool) {
        let Self { samples, later, expected } = self;
        later.extend(samples.drain(..).map(|sample| Sample { seconds: sample.seconds / slower, ..sample }));
        let too_many = later.len().saturating_sub(MOST_LATER);
        let mut at = 0;
        later.retain(|&Sample { number, size, seconds, .. }| {
            at += 1;
            let waits = number >= before && at > too_many;
            if waits {
                return true;
            }
            if expected.is_empty() || expected.leverage(size) >= KNOWN {
                expected.learn(size, seconds);
            } else if alone {
                expected.learn(size, seconds.min(OUTLIER * expected.seconds(size)));
            }
            false
        });
    }
}

/// What those samples say whose size has been seen before; none where there are too few.
///
/// Just after more calls than usual began, the short ones of them are among those that end, and the long ones not yet. So each counts
/// for as many as did not begin when it did: by the inverse of how many began around then (Horvitz and Thompson, 1952).
fn reading(times: &Times, weight: impl Fn(&Sample) -> f64) -> Option<Reading> {
    let expected = &times.expected;
    if expected.is_empty() {
        return None;
    }
    let (mut count, mut weights, mut in_flight, mut most) = (0_usize, 0.0, 0.0, 0.0_f64);
    let (mut took, mut should, mut took_took, mut took_should, mut should_should) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for sample in &times.samples {
        if expected.leverage(sample.size) >= KNOWN {
            continue;
        }
        let weight = weight(sample);
        let each = expected.seconds(sample.size);
        let seconds = sample.seconds.min(OUTLIER * each);
        count += 1;
        weights += weight;
        in_flight += weight * sample.in_flight;
        most = most.max(sample.in_flight);
        took += weight * seconds;
        should += weight * each;
        took_took += (weight * seconds).powi(2);
        took_should += weight * weight * seconds * each;
        should_should += (weight * each).powi(2);
    }
    if count < LEAST_SAMPLES {
        return None;
    }
    let slower = (took / should).max(1.0 / OUTLIER);
    let squares = (took_took - 2.0 * slower * took_should + slower * slower * should_should).max(0.0);
    let error = squares.sqrt() / should;
    Some(Reading { in_flight: in_flight / weights, most, slower, error, waited: (took - should) / weights })
}
