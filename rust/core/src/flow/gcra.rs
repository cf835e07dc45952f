//! One limit's arithmetic: the generic cell rate algorithm of ITU-T I.371, and what the server tells of the same limit.
//!
//! A virtual clock runs ahead of time by an interval for each unit taken, and no further than the tolerance for a burst.

use super::period::Period;
use super::sent::Sent;

/// The spent share is averaged at most this often a period.
const FOLDS: f64 = 64.0;
/// Of the limit is left to calls that went out before the newest count, and came to the server after it.
const OVERTAKEN: f64 = 0.005;
/// Units: a limit below it is no limit that anybody has, and its interval no number.
const LEAST: f64 = 1e-6;
/// Seconds: a timer may fire that much early.
const SLACK: f64 = 1e-7;

/// `limit` units each `per` seconds; after a pause the share `burst` of them at once. An unknown limit is infinite.
///
/// A single take larger than the burst waits until all of the burst is there, and what it takes above is missing afterwards.
/// Three things hold takes back: the virtual clock; a ceiling on all that was ever taken, which the server's own count
/// sets until its window ends; and for a server that counts by a log of the last period, a log of ours.
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
    /// The earliest that the server's window may end.
    ceiling_from: f64,
    /// Of a server that counts by a log, or refused what the virtual clock let through: within the limit in any period.
    log: Option<Sent>,
    /// By a log: when all will be there again is told later with each call.
    by_log: bool,
    /// An end of a window was seen, or that there is none.
    ended: bool,
    /// In the server's log and not in ours.
    others: f64,
    configured: Option<f64>,
    /// Where it is to be learned.
    period: Option<Period>,
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
    /// And by how much that may be too long.
    pub rounded: f64,
}

/// The call that it came with.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// What had passed with it.
    pub passed: f64,
    /// When it was sent; minus infinity where that is not known.
    pub sent: f64,
}

impl Gcra {
    /// Without `per` it is learned, from a minute on.
    pub fn new(limit: Option<f64>, per: Option<f64>, burst: f64, now: f64) -> Self {
        let mut gcra = Self {
            limit: 0.0,
            per: per.unwrap_or(60.0),
            interval: 0.0,
            tolerance: 0.0,
            tat: now,
            taken: 0.0,
            passed: 0.0,
            mark: f64::NEG_INFINITY,
            ceiling: f64::INFINITY,
            ceiling_until: f64::NEG_INFINITY,
            ceiling_from: f64::NEG_INFINITY,
            log: None,
            by_log: false,
            ended: false,
            others: 0.0,
            configured: limit,
            period: per.is_none().then(Period::default),
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

    /// Another period: what is missing of the limit stays missing.
    fn set_per(&mut self, per: f64, now: f64) {
        self.tat = now + (self.tat - now) * (per / self.per);
        self.per = per;
        self.set(self.limit);
        if self.log.take().is_some() {
            self.begin_log(self.limit, now);
        }
    }

    /// When `amount` can be taken, as far as is known at `now`; not after `now` where it can be now.
    #[inline]
    pub fn ready_at(&mut self, amount: f64, now: f64) -> f64 {
        let cost = amount * self.interval;
        let mut at = if cost <= self.tolerance { self.tat + cost - self.tolerance } else { self.tat };
        if self.passed + amount > self.ceiling && now < self.ceiling_until {
            at = at.max(self.ceiling_until);
        }
        if let Some(log) = &mut self.log {
            at = at.max(log.fits_at(amount, self.limit - self.others, now));
        }
        at
    }

    /// Takes it, whether it is there or not.
    #[inline]
    pub fn take(&mut self, amount: f64, now: f64) {
        self.tat = self.tat.max(now) + amount * self.interval;
        self.taken += amount;
        self.passed += amount;
        if let Some(log) = &mut self.log {
            log.add(amount, now);
        }
    }

    /// Gives back `amount` of what was taken with the call at `mark`.
    pub fn give_back(&mut self, amount: f64, mark: Mark) {
        self.tat -= amount * self.interval;
        self.taken -= amount;
        if mark.passed > self.mark {
            // What went out before may be less in the server's newest count already.
            self.ceiling += amount;
        }
        if let Some(log) = &mut self.log {
            log.give_back(amount, mark.sent);
        }
    }

    /// One unit at `until`, none before: the server said so.
    pub fn hold(&mut self, until: f64) {
        self.tat = self.tat.max(until + (self.tolerance - self.interval).max(0.0));
    }

    /// The server refused what it should have taken: from now on no more than the limit goes in any period, which no server can mind.
    pub fn refused(&mut self, now: f64) {
        if self.limit < f64::INFINITY {
            self.begin_log(self.limit, now);
        }
    }

    /// So many each `per` seconds, as was found out, in any period, of which the present one had `used` so far.
    pub fn learned(&mut self, limit: f64, per: f64, used: f64, now: f64) {
        self.period = None;
        (self.ceiling, self.ceiling_until) = (f64::INFINITY, f64::NEG_INFINITY);
        self.set_per(per, now);
        self.set(limit);
        let mut log = Sent::new(per, now);
        log.add(used, now);
        self.log = Some(log);
    }

    /// The limit is too high by so much.
    pub fn lower(&mut self, share: f64) {
        self.set(self.limit * share);
    }

    /// Of what went before only that much is known to be in the server's log.
    fn begin_log(&mut self, used: f64, now: f64) {
        if self.log.is_some() {
            return;
        }
        let mut log = Sent::new(self.per, now);
        if self.passed <= used {
            log.add(self.passed, now);
        } else {
            log.fill(used);
        }
        self.log = Some(log);
    }

    /// Believes the server's count where it is the newest. `mark`: the call it came with.
    ///
    /// For a server that refills as time goes by, `reset` is when the missing units will have been refilled: then the virtual clock
    /// goes no slower than its. Another time that comes means that it counts in windows: no more than `remaining` is taken until the
    /// window ends. Another that never comes, but moves with each call, is of a log.
    pub fn told(&mut self, told: Told, mark: Mark, now: f64) {
        let limit = told.limit.filter(|&limit| limit >= LEAST);
        if let Some(limit) = limit {
            let known = self.configured.map_or(limit, |configured| limit.min(configured));
            #[allow(clippy::float_cmp)] // the same number told again
            if known != self.limit {
                self.set(known);
            }
        }
        let Some(remaining) = told.remaining.filter(|_| mark.passed >= self.mark) else {
            return; // nothing, or of a call that went out before the newest that the server told of: its count is old
        };
        self.mark = mark.passed;
        let whole = limit.unwrap_or(self.limit);
        let used = if whole < f64::INFINITY { (whole - remaining).max(0.0) } else { 0.0 };
        let refilled = if whole < f64::INFINITY { used * self.per / whole } else { 0.0 };
        let reset = told.reset.unwrap_or(if self.interval > 0.0 { refilled } else { self.per });
        let mut steady = (reset - refilled).abs() <= 0.1 * refilled + 1.0;
        let mut unsure = false;
        if let (Some(period), Some(reset), true) = (&mut self.period, told.reset, whole < f64::INFINITY) {
            period.told(whole, used, reset, told.rounded);
            steady = period.refills();
            unsure = period.may_refill() && !steady;
        }
        if steady {
            (self.ceiling_from, self.ceiling_until) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        } else {
            self.ends(reset, told.rounded, unsure, mark, now);
        }
        if let Some(per) = self.period.map(|period| period.per(self.per, self.ended)) {
            #[allow(clippy::float_cmp)] // the same again
            if per != self.per {
                self.set_per(per, now);
            }
        }
        if self.by_log {
            self.begin_log(used, now);
            (self.ceiling, self.ceiling_until) = (f64::INFINITY, f64::NEG_INFINITY);
            if let (Some(log), true) = (&mut self.log, mark.sent > now - self.per) {
                log.sum(now);
                self.others = (used - log.since(mark.sent - self.per)).max(0.0);
            }
            return;
        }
        if self.interval > 0.0 {
            // Only ever forward.
            let left = remaining - (self.passed - mark.passed);
            self.tat = self.tat.max(now + self.tolerance - left * self.interval);
        }
        let overtaken = (OVERTAKEN * if self.limit < f64::INFINITY { self.limit } else { remaining }).floor();
        self.ceiling = if steady { f64::INFINITY } else { mark.passed + remaining - overtaken };
    }

    /// All will be there again in `reset` seconds, as was told with the call at `mark`: at the end known already, or at another.
    /// `unsure`: it may be a refill's, which moves too.
    fn ends(&mut self, reset: f64, rounded: f64, unsure: bool, mark: Mark, now: f64) {
        let (from, until) = (mark.sent + reset - rounded, now + reset);
        let known = mark.sent > f64::NEG_INFINITY;
        if from <= self.ceiling_until && (known || now < self.ceiling_until) {
            self.ceiling_from = self.ceiling_from.max(from);
            self.ceiling_until = self.ceiling_until.min(until);
            return;
        }
        if known && !unsure && self.ceiling_from > f64::NEG_INFINITY {
            self.ended = true;
            self.by_log |= now < self.ceiling_from;
        }
        (self.ceiling_from, self.ceiling_until) = (from, until);
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
