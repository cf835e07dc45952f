//! When calls began, lately.

use std::collections::VecDeque;

const MOST: usize = 4096;
/// Seconds.
const SHORTEST: f64 = 1e-6;

/// The last 4096 of them. O(1) to add, O(log n) to ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts {
    times: VecDeque<f64>,
}

impl Starts {
    /// A call begins. Time never goes back: where the clock does, it stands still.
    pub(super) fn add(&mut self, now: f64) {
        if self.times.len() == MOST {
            self.times.pop_front();
        }
        self.times.push_back(self.times.back().map_or(now, |&last| now.max(last)));
    }

    /// Seconds for each call that began between these times, as far back as is known.
    pub(super) fn seconds_each(&self, from: f64, to: f64) -> f64 {
        let Some(&first) = self.times.front() else { return 1.0 };
        let from = from.max(first);
        let until = self.times.partition_point(|&time| time <= to);
        let count = until.saturating_sub(self.times.partition_point(|&time| time < from));
        (to - from).max(SHORTEST) / count.max(1) as f64
    }
}
