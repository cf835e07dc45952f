//! How many calls an endpoint takes at once, by what its calls tell: the adaptive limit's arithmetic. No clock, no queue.
//!
//! By Little's law the calls that wait inside the endpoint are the excess of the mean time over what it should be, times the calls
//! that come back a second: with `slower` times the expected time, all but one in `slower` of those in flight, whatever the kind of
//! queue. TCP Vegas has the same idea with the shortest time seen for what it should be; here that is a line through the tokens
//! (`Expected`), and what follows from it is weighed against what was thought before (`Capacity`).

use super::capacity::Capacity;
use super::expected::Expected;
use super::running::Running;

const LEAST_SAMPLES: usize = 4;
const ENOUGH_SAMPLES: f64 = 12.0;
const MOST_SAMPLES: usize = 512;
/// Seconds between two readings, and round trips.
const SHORTEST: f64 = 0.1;
const PACE: f64 = 0.25;
/// Leverage below which a size has been seen often enough to judge by it.
const KNOWN: f64 = 0.1;
/// Times what was expected: longer counts as that long.
const OUTLIER: f64 = 8.0;
/// Times the longest call, and times the first limit: calls taken as they come, before there is anything to judge them by. Those
/// that end first are the short ones.
const FIRST_TRIPS: f64 = 2.0;
const FIRST_SAMPLES: f64 = 1.5;
/// Of the limit more, at most, from one reading to the next.
const GROWTH: f64 = 0.4;
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
    /// How many were in flight when it began, itself among them.
    in_flight: f64,
    seconds: f64,
    tokens: f64,
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
    whole: Vec<Sample>,
    first: Vec<Sample>,
    dropped: Dropped,
    whole_expected: Expected,
    first_expected: Expected,
    duration: f64,
    began: f64,
    longest: f64,
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
            whole: Vec::new(),
            first: Vec::new(),
            dropped: Dropped::default(),
            whole_expected: Expected::default(),
            first_expected: Expected::default(),
            duration: 0.0,
            began: f64::INFINITY,
            longest: 0.0,
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
        self.running.begin(kind, prompt, now)
    }

    /// The first token of a stream came.
    pub fn answered(&mut self, number: u64, now: f64) {
        let Some(call) = self.running.get_mut(number).filter(|call| !call.answered) else { return };
        call.answered = true;
        let seconds = (now - call.began).max(0.0);
        self.first.push(Sample { in_flight: call.in_flight, seconds, tokens: call.prompt });
        self.ended_one(seconds, now);
    }

    /// A call ended well; false where it was over before. Of one that was streamed the length says something only where its tokens
    /// are known.
    pub fn ended(&mut self, number: u64, tokens: Option<f64>, now: f64) -> bool {
        let Some(call) = self.running.end(number) else { return false };
        let seconds = (now - call.began).max(0.0);
        self.duration += (seconds - self.duration) * if self.duration > 0.0 { GAIN } else { 1.0 };
        if tokens.is_some() || !call.answered {
            self.whole.push(Sample { in_flight: call.in_flight, seconds, tokens: tokens.unwrap_or(0.0) });
        }
        self.ended_one(seconds, now);
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
        self.ended_one(seconds, now);
        true
    }

    /// A call ended in a way that says nothing; false where it was over before.
    pub fn left(&mut self, number: u64) -> bool {
        self.running.end(number).is_some()
    }

    fn ended_one(&mut self, seconds: f64, now: f64) {
        self.began = self.began.min(now - seconds);
        self.longest = self.longest.max(seconds);
        let count = self.whole.len().max(self.first.len()) + self.dropped.count;
        let enough = (self.limit / 2.0).clamp(LEAST_SAMPLES as f64, ENOUGH_SAMPLES);
        if (now >= self.next && count as f64 >= enough) || count >= MOST_SAMPLES {
            self.read(now);
            self.next = now + (PACE * self.duration).max(SHORTEST);
        }
    }

    fn read(&mut self, now: f64) {
        let whole_samples = std::mem::take(&mut self.whole);
        let first_samples = std::mem::take(&mut self.first);
        let dropped = std::mem::take(&mut self.dropped);
        let passed = (now - std::mem::replace(&mut self.last, now)).max(SHORTEST / 100.0);
        let whole = reading(&whole_samples, &self.whole_expected);
        let first = reading(&first_samples, &self.first_expected);
        self.known |= self.first_samples <= 0.0 && now >= self.began + FIRST_TRIPS * self.longest;
        self.first_samples -= whole_samples.len().max(first_samples.len()) as f64;
        let slower = if self.known { whole.map_or(1.0, |whole| whole.slower) } else { 1.0 };
        learn(&whole_samples, &mut self.whole_expected, slower, !self.known || self.alone);
        learn(&first_samples, &mut self.first_expected, 1.0, true);
        let ended = if whole_samples.is_empty() { first_samples.len() } else { whole_samples.len() };
        if !self.make_room(&dropped, ended, passed) && self.known {
            self.decide(whole, first);
        }
        // Their room is used again.
        (self.whole, self.first) = (whole_samples, first_samples);
        self.whole.clear();
        self.first.clear();
    }

    fn decide(&mut self, whole: Option<Reading>, first: Option<Reading>) {
        let Some(base) = whole.or(first) else { return };
        if whole.is_some() || self.whole_expected.is_empty() {
            self.capacity.slower(base.in_flight, base.slower, base.error);
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
            self.capacity.about(fits, REFUSED_ERROR);
            fits
        } else {
            let fits = ((1.0 - share / 2.0) * limit).max(self.least);
            self.capacity.about(fits, TIMEOUT_ERROR);
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

/// What those samples say whose size has been seen before; none where there are too few.
fn reading(samples: &[Sample], expected: &Expected) -> Option<Reading> {
    if expected.is_empty() {
        return None;
    }
    let (mut count, mut in_flight, mut most) = (0_usize, 0.0_f64, 0.0_f64);
    let (mut took, mut should, mut took_took, mut took_should, mut should_should) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for sample in samples {
        if expected.leverage(sample.tokens) >= KNOWN {
            continue;
        }
        let each = expected.seconds(sample.tokens);
        let seconds = sample.seconds.min(OUTLIER * each);
        count += 1;
        in_flight += sample.in_flight;
        most = most.max(sample.in_flight);
        took += seconds;
        should += each;
        took_took += seconds * seconds;
        took_should += seconds * each;
        should_should += each * each;
    }
    if count < LEAST_SAMPLES {
        return None;
    }
    let slower = (took / should).max(1.0 / OUTLIER);
    let squares = (took_took - 2.0 * slower * took_should + slower * slower * should_should).max(0.0);
    let error = squares.sqrt() / should;
    Some(Reading { in_flight: in_flight / count as f64, most, slower, error, waited: (took - should) / count as f64 })
}

/// Learns how time goes with size; not how long calls take in all, but where nothing is there to compare with.
fn learn(samples: &[Sample], expected: &mut Expected, slower: f64, alone: bool) {
    for sample in samples {
        let seconds = sample.seconds / slower;
        if expected.is_empty() || expected.leverage(sample.tokens) >= KNOWN {
            expected.learn(sample.tokens, seconds);
        } else if alone {
            expected.learn(sample.tokens, seconds.min(OUTLIER * expected.seconds(sample.tokens)));
        }
    }
}
