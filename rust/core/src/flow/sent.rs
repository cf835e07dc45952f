//! What was sent in about the last period: for a server that counts by a log of it, where a burst is missing until it is a period old.

/// A period is that many buckets; what is in one leaves at once, and no sooner than a period and a bucket after it was sent.
const BUCKETS: i64 = 256;
/// Buckets kept, those that left already among them: a reply tells of the moment in which its call was counted.
const KEPT: i64 = 2 * BUCKETS;
/// Seconds by which calls may come to the server at other distances than they were sent.
const JITTER: f64 = 0.05;

/// Amounts by the time they were sent at. A step costs as many buckets as time passed; what does not fit asks all of them.
#[derive(Clone, Debug)]
pub struct Sent {
    width: f64,
    /// Buckets that an amount stays.
    stays: i64,
    newest: i64,
    buckets: Box<[f64]>,
    sum: f64,
}

impl Sent {
    pub fn new(per: f64, now: f64) -> Self {
        let width = per / BUCKETS as f64;
        Self {
            width,
            stays: BUCKETS + ((JITTER / width).ceil() as i64).clamp(1, BUCKETS / 4),
            newest: (now / width).floor() as i64,
            buckets: vec![0.0; KEPT as usize].into_boxed_slice(),
            sum: 0.0,
        }
    }

    /// As though `amount` had been sent evenly over the last period.
    pub fn fill(&mut self, amount: f64) {
        for bucket in self.newest - BUCKETS + 1..=self.newest {
            self.buckets[index(bucket)] += amount / BUCKETS as f64;
        }
        self.sum += amount;
    }

    /// What has not left at `now`. Time that goes back does not.
    pub fn sum(&mut self, now: f64) -> f64 {
        let newest = (now / self.width).floor() as i64;
        if newest > self.newest {
            if newest - self.newest >= KEPT {
                self.buckets.fill(0.0);
                self.sum = 0.0;
            } else {
                for bucket in self.newest + 1..=newest {
                    self.sum -= self.buckets[index(bucket - self.stays - 1)];
                    self.buckets[index(bucket)] = 0.0;
                }
            }
            self.newest = newest;
        }
        self.sum
    }

    pub fn add(&mut self, amount: f64, now: f64) {
        self.sum(now);
        self.buckets[index(self.newest)] += amount;
        self.sum += amount;
    }

    /// `amount` of what was sent at `at` did not count.
    pub fn give_back(&mut self, amount: f64, at: f64) {
        let bucket = ((at / self.width).floor() as i64).min(self.newest);
        let age = self.newest - bucket;
        if age >= KEPT {
            return;
        }
        let held = &mut self.buckets[index(bucket)];
        let amount = amount.min(*held);
        *held -= amount;
        if age <= self.stays {
            self.sum -= amount;
        }
    }

    /// Sent since `from`, the bucket that it is in among it.
    pub fn since(&self, from: f64) -> f64 {
        let from = ((from / self.width).floor() as i64).max(self.newest - KEPT + 1);
        (from..=self.newest).map(|bucket| self.buckets[index(bucket)]).sum()
    }

    /// When `amount` more is within `most`, or nothing is left that could leave.
    pub fn fits_at(&mut self, amount: f64, most: f64, now: f64) -> f64 {
        let mut sum = self.sum(now);
        if sum + amount <= most || sum <= 0.0 {
            return f64::NEG_INFINITY;
        }
        let mut leaves = self.newest;
        for bucket in self.newest - self.stays..=self.newest {
            let held = self.buckets[index(bucket)];
            if held > 0.0 {
                sum -= held;
                leaves = bucket;
            }
            if sum + amount <= most {
                break;
            }
        }
        (leaves + self.stays + 1) as f64 * self.width
    }
}

fn index(bucket: i64) -> usize {
    bucket.rem_euclid(KEPT) as usize
}
