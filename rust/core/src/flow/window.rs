//! Counts of calls, failures and slow calls over the last seconds: ten buckets, the oldest forgotten whole.

const BUCKETS: i64 = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    calls: u64,
    failed: u64,
    slow: u64,
}

/// A sliding window, forgotten a tenth at a time; the sums are kept. O(1) a call. `now` never goes back; the caller sees to that.
#[derive(Clone, Debug)]
pub struct Window {
    width: f64,
    sums: Counts,
    buckets: [Counts; BUCKETS as usize],
    epoch: i64,
    /// Of the present bucket: nothing is there to be forgotten before.
    ends: f64,
}

impl Window {
    pub fn new(seconds: f64) -> Self {
        Self {
            width: seconds / BUCKETS as f64,
            sums: Counts::default(),
            buckets: [Counts::default(); BUCKETS as usize],
            epoch: 0,
            ends: 0.0,
        }
    }

    pub fn calls(&self) -> u64 {
        self.sums.calls
    }

    pub fn failed(&self) -> u64 {
        self.sums.failed
    }

    pub fn slow(&self) -> u64 {
        self.sums.slow
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.sums = Counts::default();
        self.buckets = [Counts::default(); BUCKETS as usize];
        (self.epoch, self.ends) = (0, 0.0);
    }

    /// Forgets what is older than the window at `now`.
    pub fn pass_to(&mut self, now: f64) {
        if now < self.ends {
            return;
        }
        let epoch = (now / self.width) as i64;
        if epoch - self.epoch >= BUCKETS || self.sums.calls == 0 {
            self.clear();
        } else {
            for past in self.epoch + 1..=epoch {
                let bucket = std::mem::take(&mut self.buckets[index(past)]);
                self.sums.calls -= bucket.calls;
                self.sums.failed -= bucket.failed;
                self.sums.slow -= bucket.slow;
            }
        }
        self.epoch = epoch;
        self.ends = (epoch + 1) as f64 * self.width;
    }

    /// Counts at `now`; `calls` is 0 where the call itself has been counted already.
    #[inline]
    pub fn add(&mut self, now: f64, calls: u64, failed: bool, slow: bool) {
        if now >= self.ends {
            self.pass_to(now);
        }
        for counts in [&mut self.buckets[index(self.epoch)], &mut self.sums] {
            counts.calls += calls;
            counts.failed += u64::from(failed);
            counts.slow += u64::from(slow);
        }
    }
}

fn index(epoch: i64) -> usize {
    epoch.rem_euclid(BUCKETS) as usize
}
