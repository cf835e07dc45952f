//! One limit's arithmetic: the generic cell rate algorithm of ITU-T I.371, and what the server tells of the same limit.
//!
//! A virtual clock runs ahead of time by an interval for each unit taken, and no further than the tolerance for a burst.

/// The spent share is averaged at most this often a period.
const FOLDS: f64 = 64.0;
/// Of the limit is left to calls that went out before the newest count, and came to the server after it.
const OVERTAKEN: f64 = 0.005;
/// Seconds: ends told that differ by less are one end, rounded and delayed differently; the earliest is nearest.
const SAME_WINDOW: f64 = 5.0;
/// Seconds: a timer may fire that much early.
const SLACK: f64 = 1e-7;

/// `limit` units each `per` seconds; after a pause the share `burst` of them at once. An unknown limit is infinite.
///
/// A single take larger than the burst waits until all of the burst is there, and what it takes above is missing afterwards.
/// Two things hold takes back: the virtual clock, and a ceiling on all that was ever taken, which the server's own count
/// sets until its window ends.
#[derive(Clone, Debug)]
pub struct Gcra {
    pub limit: f64,
    pub per: f64,
    /// Seconds a unit; 0 where there is no limit.
    pub interval: f64,
    pub tolerance: f64,
    /// The virtual clock: the "theoretical arrival time".
    pub tat: f64,
    /// And not given back.
    pub taken: f64,
    /// Taken ever, which never shrinks: the order of takes, and what the ceiling is for.
    pub passed: f64,
    /// What had passed with the call that the server's newest count came with.
    pub mark: f64,
    pub ceiling: f64,
    pub ceiling_until: f64,
    configured: Option<f64>,
    burst: f64,
    spent: f64,
    folded: f64,
    folded_at: f64,
}

/// What a server tells of a limit with its reply to one call.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub limit: Option<f64>,
    pub remaining: Option<f64>,
    /// Seconds until all of the limit is there again.
    pub reset: Option<f64>,
}

impl Gcra {
    pub fn new(limit: Option<f64>, per: f64, burst: f64, now: f64) -> Self {
        let mut gcra = Self {
            limit: 0.0,
            per,
            interval: 0.0,
            tolerance: 0.0,
            tat: now,
            taken: 0.0,
            passed: 0.0,
            mark: f64::NEG_INFINITY,
            ceiling: f64::INFINITY,
            ceiling_until: f64::NEG_INFINITY,
            configured: limit,
            burst,
            spent: 0.0,
            folded: 0.0,
            folded_at: now,
        };
        gcra.set(limit.unwrap_or(f64::INFINITY));
        gcra
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit;
        self.interval = self.per / limit;
        self.tolerance = if limit < f64::INFINITY { (self.burst * limit).max(1.0) * self.interval } else { 0.0 };
    }

    /// When `amount` can be taken, as far as is known at `now`; not after `now` where it can be now.
    #[inline]
    pub fn ready_at(&self, amount: f64, now: f64) -> f64 {
        let cost = amount * self.interval;
        let at = if cost <= self.tolerance { self.tat + cost - self.tolerance } else { self.tat };
        if self.passed + amount > self.ceiling && now < self.ceiling_until {
            return at.max(self.ceiling_until);
        }
        at
    }

    /// Takes it, whether it is there or not.
    #[inline]
    pub fn take(&mut self, amount: f64, now: f64) {
        self.tat = self.tat.max(now) + amount * self.interval;
        self.taken += amount;
        self.passed += amount;
    }

    /// Gives back `amount` of what was taken when `mark` had passed.
    pub fn give_back(&mut self, amount: f64, mark: f64) {
        self.tat -= amount * self.interval;
        self.taken -= amount;
        if mark > self.mark {
            // What went out before may be less in the server's newest count already.
            self.ceiling += amount;
        }
    }

    /// One unit at `until`, none before: the server said so.
    pub fn hold(&mut self, until: f64) {
        self.tat = self.tat.max(until + (self.tolerance - self.interval).max(0.0));
    }

    /// Believes the server's count where it is the newest and stricter than ours. `mark`: what had passed with the call it came with.
    ///
    /// For a server that refills as time goes by, `reset` is when the missing units will have been refilled. Another time means
    /// that it counts in windows: then no more than `remaining` is taken until the window ends.
    pub fn told(&mut self, told: Told, mark: f64, now: f64) {
        let limit = told.limit.filter(|&limit| limit > 0.0);
        if let Some(limit) = limit {
            let known = self.configured.map_or(limit, |configured| limit.min(configured));
            #[allow(clippy::float_cmp)] // the same number told again
            if known != self.limit {
                self.set(known);
            }
        }
        let Some(remaining) = told.remaining.filter(|_| mark >= self.mark) else {
            return; // nothing, or of a call that went out before the newest that the server told of: its count is old
        };
        self.mark = mark;
        let left = remaining - (self.passed - mark);
        if self.interval > 0.0 {
            // Only ever forward.
            self.tat = self.tat.max(now + self.tolerance - left * self.interval);
        }
        let whole = limit.unwrap_or(self.limit);
        let refilled = if whole < f64::INFINITY { (whole - remaining) * self.per / whole } else { 0.0 };
        let reset = told.reset.unwrap_or(if self.interval > 0.0 { refilled } else { self.per });
        if (reset - refilled).abs() > 0.1 * refilled + 1.0 {
            let overtaken = (OVERTAKEN * if self.limit < f64::INFINITY { self.limit } else { remaining }).floor();
            let mut until = now + reset;
            if (until - self.ceiling_until).abs() < SAME_WINDOW {
                until = until.min(self.ceiling_until);
            }
            self.ceiling = mark + remaining - overtaken;
            self.ceiling_until = until;
        } else {
            self.ceiling = f64::INFINITY;
            self.ceiling_until = f64::NEG_INFINITY;
        }
    }

    /// The share of the limit spent in about the last period: by our count, exponentially averaged, or by the server's if that is more.
    pub fn spent(&mut self, now: f64) -> f64 {
        if self.limit == f64::INFINITY {
            return 0.0;
        }
        let passed = now - self.folded_at;
        if passed >= self.per / FOLDS {
            self.spent = self.spent * (-passed / self.per).exp() + (self.taken - self.folded);
            self.folded = self.taken;
            self.folded_at = now;
        }
        let mut share = (self.spent + self.taken - self.folded) / self.limit;
        if now < self.ceiling_until {
            share = share.max(1.0 - (self.ceiling - self.passed) / self.limit);
        }
        share.clamp(0.0, 1.0)
    }
}

/// Whether `at` has come: a timer may be a hair early.
#[inline]
pub fn is_due(at: f64, now: f64) -> bool {
    at <= now + SLACK
}
