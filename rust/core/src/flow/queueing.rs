//! Whether an endpoint lets calls wait in line or shares itself among them, by what stands in the way of long calls and of short ones.
//!
//! In a line a call waits for so many seconds, whatever its length; where all share, it takes so many times as long. Which of the two
//! explains what calls took leaves less of it over.

/// Odds at most, as a logarithm, and at most from one reading.
const MOST: f64 = 8.0;
const MOST_ONCE: f64 = 1.5;
/// Of the odds are kept with each call.
const KEEPS: f64 = 1.0 - 1.0 / 2000.0;
/// Of a call in what is known of their noise, and the least there is of it.
const GAIN: f64 = 1.0 / 400.0;
const LEAST_NOISE: f64 = 0.003;
const LEAST_CALLS: usize = 4;
/// How far calls may be off in the mean, as a logarithm.
const MEAN_ERROR: f64 = 0.3;
/// The same where first tokens tell how long calls waited, how much of the odds is kept there with a reading, and how large they become.
const STREAMS_ERROR: f64 = 0.15;
const STREAMS_KEEP: f64 = 0.99;
const STREAMS_MOST: f64 = 4.0;

/// How many times as long as it should a call took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slowed {
    pub took: f64,
    /// What is left of that without what a line explains, and without what sharing does.
    pub line: f64,
    pub shared: f64,
}

/// The odds of a line. O(n) in the calls of a reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Queueing {
    odds: f64,
    /// The variance of how many times as long as they should calls take.
    noise: f64,
}

impl Queueing {
    /// The probability that calls wait in line.
    pub(super) fn in_line(&self) -> f64 {
        1.0 / (1.0 + (-self.odds).exp())
    }

    /// Calls of sizes that are known. They take `level` times as long as expected where none stands in their way, if they stand in line.
    pub(super) fn learn(&mut self, calls: &[Slowed], level: f64) {
        let count = calls.len() as f64;
        if calls.len() < LEAST_CALLS {
            return;
        }
        let mean = |of: fn(&Slowed) -> f64| calls.iter().map(of).sum::<f64>() / count;
        let (took, line, shared) = (mean(|call| call.took), mean(|call| call.line), mean(|call| call.shared));
        let noise = self.noise.max(LEAST_NOISE);
        let clipped = |off: f64| off.abs().min(3.0 * noise.sqrt()).powi(2);
        let (mut left_line, mut left_shared, mut squares_line, mut squares_shared) = (0.0, 0.0, 0.0, 0.0);
        for call in calls {
            // Both in times of what the call should take: sharing spreads noise with all else, a line does not.
            let (off_line, off_shared) = ((call.line - line) * level, (call.shared / shared - 1.0) * took);
            left_line += clipped(off_line);
            left_shared += clipped(off_shared);
            squares_line += off_line * off_line;
            squares_shared += off_shared * off_shared;
        }
        let least = squares_line.min(squares_shared) / (count - 1.0);
        if self.noise == 0.0 {
            self.noise = least.max(LEAST_NOISE);
            return;
        }
        self.noise += (least.min(9.0 * noise) - self.noise) * (count * GAIN).min(1.0);
        let off = |mean: f64| 0.5 * (mean.ln() / MEAN_ERROR).powi(2);
        let more = (left_shared - left_line) / (2.0 * noise) + off(shared) - off(line);
        self.odds = (self.odds * KEEPS.powf(count) + more.clamp(-MOST_ONCE, MOST_ONCE)).clamp(-MOST, MOST);
    }

    /// Streams: the logarithm of how many times as long as they should they took, its standard error, and the logarithm of how many times
    /// by what they waited for their first token.
    pub(super) fn learn_from_streams(&mut self, took: f64, error: f64, waited: f64) {
        let error = error * error;
        let more = (took * (2.0 * waited - took) + error) / (2.0 * (STREAMS_ERROR * STREAMS_ERROR + error));
        let more = more.clamp(-MOST_ONCE, MOST_ONCE);
        self.odds = (self.odds * STREAMS_KEEP + more).clamp(-STREAMS_MOST, STREAMS_MOST);
    }
}
