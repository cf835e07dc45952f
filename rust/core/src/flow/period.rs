//! How long the period of a limit is, by what the server tells of it with each reply.
//!
//! Where it refills as time goes by, a reply tells its period: the whole limit's time is to the missing units' time as the limit is to
//! them, the same with each reply. Where it does not, no reply tells of a longer time than a period, and the first of a window of
//! nearly one.

/// Seconds of periods in use: one that is near, or not quite seen yet, is one of these.
const USUAL: [f64; 5] = [1.0, 10.0, 60.0, 3600.0, 86400.0];
/// Of a period, is nothing but the way there.
const NEAR: f64 = 0.03;
/// Times as many units missing as with another reply tell a steady refill from a window.
const APART: f64 = 1.2;

/// Bounds of a refilling limit's period, and the longest time told.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    limit: f64,
    low: f64,
    high: f64,
    least_used: f64,
    most_used: f64,
    longest: f64,
    rounded: f64,
}

impl Default for Period {
    fn default() -> Self {
        Self {
            limit: f64::NAN,
            low: 0.0,
            high: f64::INFINITY,
            least_used: f64::INFINITY,
            most_used: 0.0,
            longest: 0.0,
            rounded: 0.0,
        }
    }
}

impl Period {
    /// Of `limit`, `used` are missing, and all will be there in `reset` seconds, which is rounded up by no more than `rounded`.
    pub fn told(&mut self, limit: f64, used: f64, reset: f64, rounded: f64) {
        #[allow(clippy::float_cmp)] // the same number told again
        if limit != self.limit {
            *self = Self { limit, ..Self::default() };
        }
        self.longest = self.longest.max(reset);
        self.rounded = self.rounded.max(rounded);
        if used < 1.0 {
            return; // next to nothing is missing
        }
        self.low = self.low.max((reset - rounded) * limit / used);
        if used > 1.0 {
            self.high = self.high.min(reset * limit / (used - 1.0)); // what remains is rounded down
        }
        self.least_used = self.least_used.min(used);
        self.most_used = self.most_used.max(used);
    }

    /// Whether all that was told may be of a steady refill.
    pub fn may_refill(&self) -> bool {
        self.low <= self.high * (1.0 + NEAR)
    }

    /// Whether it cannot well be anything else.
    pub fn refills(&self) -> bool {
        self.may_refill() && self.most_used > APART * self.least_used && self.high <= 2.0 * self.low
    }

    /// The period, where `per` was believed. `ended`: a window's end was seen, or that there is none.
    pub fn per(&self, per: f64, ended: bool) -> f64 {
        if self.refills() {
            let inside = |at: &f64| (self.low / (1.0 + NEAR)..=self.high * (1.0 + NEAR)).contains(at);
            return USUAL.into_iter().find(inside).unwrap_or_else(|| f64::midpoint(self.low, self.high));
        }
        let longest = self.longest;
        if ended {
            let near = |at: &f64| (longest - at).abs() <= NEAR * at + self.rounded;
            return USUAL.into_iter().find(near).unwrap_or(longest).max(0.001);
        }
        if longest <= per * (1.0 + NEAR) + self.rounded {
            return per;
        }
        USUAL.into_iter().find(|at| longest <= at * (1.0 + NEAR) + self.rounded).unwrap_or(longest)
    }
}
