//! How many calls an endpoint takes at once, by what its calls tell: the adaptive limit's arithmetic. No clock, no queue.
//!
//! By Little's law the calls that wait inside the endpoint are the excess of the mean time over what it should be, times the calls
//! that come back a second: with `slower` times the expected time, all but one in `slower` of those in flight, whatever the kind of
//! queue. TCP Vegas has the same idea with the shortest time seen for what it should be; here that goes by the tokens
//! (`Expected`), and what follows from it is weighed against what was thought before (`Capacity`), once for calls that wait in line and
//! once for calls that share (`Endpoint`).

use super::endpoint::Endpoint;
use super::expected::Size;
use super::moments::Moments;
use super::running::{Call, Running};
use super::times::{LEAST_SAMPLES, OUTLIER, Reading, Sample, Times};

const ENOUGH_SAMPLES: f64 = 12.0;
const MOST_SAMPLES: usize = 512;
/// Seconds between two readings, and round trips.
const SHORTEST: f64 = 0.1;
const PACE: f64 = 0.25;
/// Mean durations before and after a call began: so long is looked for others.
const AROUND: f64 = 0.8;
/// Times the first limit: so many calls are taken as they come, before there is anything to judge them by.
const FIRST_SAMPLES: f64 = 1.5;
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
/// How far off a capacity may be that follows from being refused, and from timeouts: as logarithms.
const REFUSED_ERROR: f64 = 0.1;
const TIMEOUT_ERROR: f64 = 0.3;
/// Of a call in the mean duration.
const GAIN: f64 = 1.0 / 8.0;

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
    endpoint: Endpoint,
    running: Running,
    starts: Moments,
    ends: Moments,
    whole: Times,
    first: Times,
    /// Streams whose lengths nobody tells.
    untold: Times,
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
            endpoint: Endpoint::new(least, most),
            running: Running::default(),
            starts: Moments::default(),
            ends: Moments::default(),
            whole: Times::default(),
            first: Times::default(),
            untold: Times::default(),
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
        self.running.begin(kind, prompt, self.ends.count(), now)
    }

    /// The first token of a stream came.
    pub fn answered(&mut self, number: u64, now: f64) {
        let share = self.running.share(now);
        let Some(call) = self.running.get_mut(number).filter(|call| call.first.is_none()) else { return };
        let seconds = (now - call.began).max(0.0);
        call.first = Some(seconds);
        let sample = sample(number, call, call.prompt.into(), seconds, share);
        self.first.samples.push(Sample { first: None, ..sample });
        self.ended_one(now);
    }

    /// A call ended well; false where it was over before. Of one that was streamed the length says something only where its size
    /// is known.
    pub fn ended(&mut self, number: u64, size: Option<Size>, now: f64) -> bool {
        let Some((call, share)) = self.end(number, now) else { return false };
        let seconds = (now - call.began).max(0.0);
        self.duration += (seconds - self.duration) * if self.duration > 0.0 { GAIN } else { 1.0 };
        let told = size.is_some() || call.first.is_none();
        let size = size.unwrap_or(Size { tokens: 0.0, prompt: call.prompt });
        let times = if told { &mut self.whole } else { &mut self.untold };
        times.samples.push(sample(number, &call, size, seconds, share));
        self.ended_one(now);
        true
    }

    /// A call was refused for want of room, or timed out; false where it was over before.
    pub fn dropped(&mut self, number: u64, now: f64, refused: bool) -> bool {
        let Some((call, _)) = self.end(number, now) else { return false };
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

    /// A call ended in a way that says nothing, about when something was last heard; false where it was over before.
    pub fn left(&mut self, number: u64) -> bool {
        self.end(number, self.running.until()).is_some()
    }

    /// Takes it out of those in flight; with the integral until now of one by them.
    fn end(&mut self, number: u64, now: f64) -> Option<(Call, f64)> {
        let share = self.running.share(now);
        let call = self.running.end(number)?;
        self.ends.add(now);
        Some((call, share))
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
        let whole = self.whole.reading(&self.ends, self.endpoint.level(), weight);
        let first = self.first.reading(&self.ends, 1.0, weight);
        let untold = self.untold.reading(&self.ends, 1.0, weight);
        self.known |= self.whole.expected.samples().max(self.first.expected.samples()) as f64 >= self.first_samples;
        let ended = if self.whole.samples.is_empty() { self.first.samples.len() } else { self.whole.samples.len() };
        if !self.make_room(&dropped, ended, passed) && self.known {
            self.decide(whole, first, untold, passed);
        }
        // Those that end first are the short ones: nothing is learned from a call before all have ended that began before it.
        let patience = OUTLIER * self.duration;
        let before =
            self.running.iter().find(|(_, call)| now - call.began < patience).map_or(u64::MAX, |(number, _)| number);
        let alone = !self.known || self.alone;
        if self.known {
            self.endpoint.learn(&mut self.whole, &self.first.expected, &self.ends, before, alone);
        } else {
            self.whole.learn_as_they_were(before, alone);
        }
        self.first.learn_as_they_were(before, alone);
        self.untold.learn_as_they_were(before, alone);
    }

    fn decide(&mut self, whole: Option<Reading>, first: Option<Reading>, untold: Option<Reading>, passed: f64) {
        let Some(base) = whole.or(first) else { return };
        // Streams whose lengths nobody tells have their first tokens to go by.
        let slowed = whole.or(first.filter(|_| self.whole.expected.is_empty()));
        self.endpoint.read(slowed, first, whole.or(untold), passed, room);
        let seen = first.unwrap_or(base);
        let [surely, fits] = self.endpoint.quantiles([0.1, 0.5]);
        self.load = (1.0 - fits / seen.in_flight).max(0.0);
        self.alone = surely > ALONE * seen.in_flight;
        let fits = fits + room(fits);
        let limit = self.limit;
        if fits <= limit {
            self.limit = fits.max(SMALLEST * limit).max(self.least);
        } else if base.most >= USED * limit {
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
            self.endpoint.about(fits, REFUSED_ERROR, passed);
            fits
        } else {
            let fits = ((1.0 - share / 2.0) * limit).max(self.least);
            self.endpoint.about(fits, TIMEOUT_ERROR, passed);
            fits
        };
        self.limit = fits.min(limit).max(SMALLEST * limit).max(self.least);
        true
    }
}

/// How many of those in flight may wait in the endpoint: as many as chance makes it, and a few in a hundred more.
fn room(in_flight: f64) -> f64 {
    0.6 * in_flight.sqrt() + 0.04 * in_flight
}

fn sample(number: u64, call: &Call, size: Size, seconds: f64, share: f64) -> Sample {
    let Call { began, in_flight, ends, first, .. } = *call;
    Sample { number, began, in_flight, ends, share: share - call.share, seconds, size, first }
}
