//! When calls began, or ended, lately.

use std::collections::VecDeque;

const MOST: usize = 4096;
/// Seconds.
const SHORTEST: f64 = 1e-6;

/// The last 4096 of them. O(1) to add, O(log n) to ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    times: VecDeque<f64>,
    count: u64,
}

impl Moments {
    /// Time never goes back: where the clock does, it stands still.
    pub(super) fn add(&mut self, now: f64) {
        if self.times.len() == MOST {
            self.times.pop_front();
        }
        self.times.push_back(self.times.back().map_or(now, |&last| now.max(last)));
        self.count += 1;
    }

    /// How many there ever were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// When the one came that has so many before it; none while it has not. Of those no longer known the first that is.
    pub(super) fn time(&self, before: u64) -> Option<f64> {
        let back = self.count.checked_sub(before).filter(|&back| back > 0)? as usize;
        self.times.get(self.times.len().saturating_sub(back)).copied()
    }

    /// How many between these times; fewer than none where they stand the other way round.
    pub(super) fn between(&self, from: f64, to: f64) -> f64 {
        let until = |time: f64| self.times.partition_point(|&each| each <= time) as f64;
        until(to) - until(from)
    }

    /// Seconds for each between these times, as far back as is known.
    pub(super) fn seconds_each(&self, from: f64, to: f64) -> f64 {
        let Some(&first) = self.times.front() else { return 1.0 };
        let from = from.max(first);
        let until = self.times.partition_point(|&time| time <= to);
        let count = until.saturating_sub(self.times.partition_point(|&time| time < from));
        (to - from).max(SHORTEST) / count.max(1) as f64
    }
}
