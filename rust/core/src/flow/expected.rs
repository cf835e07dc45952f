//! How long a call should take when nothing is in its way, by its tokens: a line fitted as calls end.

/// Of what was learned is kept with each sample: about the last 512 count.
const KEEPS: f64 = 1.0 - 1.0 / 512.0;
/// Standard deviations of a coefficient nobody has seen, in units of the first sample's.
const DOUBT: f64 = 10.0;
/// Seconds.
const LEAST: f64 = 1e-9;

/// `seconds = fixed + each * tokens`, by weighted recursive least squares with forgetting. O(1) a sample.
///
/// The noise is taken to be a share of the length, as queues and networks have it: each equation is divided by what was
/// expected. `leverage` says how far a number of tokens is from those seen, as the variance of the line there in units of
/// a sample's: a twentieth after twenty samples of that size.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    fixed: f64,
    each: f64,
    samples: u64,
    shortest: f64,
    variance_fixed: f64,
    variance_each: f64,
    covariance: f64,
    most_fixed: f64,
    most_each: f64,
}

impl Expected {
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// How many were learned from.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// What a call of so many tokens should take.
    pub fn seconds(&self, tokens: f64) -> f64 {
        (self.fixed + self.each * tokens).max(self.shortest).max(LEAST)
    }

    /// The variance of `seconds` at `tokens`, in units of one sample's.
    pub fn leverage(&self, tokens: f64) -> f64 {
        let expected = self.seconds(tokens);
        (self.variance_fixed + tokens * (2.0 * self.covariance + tokens * self.variance_each)) / (expected * expected)
    }

    /// A call of so many tokens took so long, with nothing in its way.
    pub fn learn(&mut self, tokens: f64, seconds: f64) {
        let seconds = seconds.max(LEAST);
        self.samples += 1;
        if self.samples == 1 {
            self.fixed = seconds;
            self.shortest = seconds / 2.0;
            self.variance_fixed = (DOUBT * seconds).powi(2);
            self.variance_each = (DOUBT * seconds / tokens.max(1.0)).powi(2);
            (self.most_fixed, self.most_each) = (self.variance_fixed, self.variance_each);
        }
        self.shortest = self.shortest.min(seconds / 2.0);
        // The equation, divided by what was expected.
        let one = 1.0 / self.seconds(tokens);
        let size = tokens * one;
        let toward_fixed = self.variance_fixed * one + self.covariance * size;
        let toward_each = self.covariance * one + self.variance_each * size;
        let whole = KEEPS + one * toward_fixed + size * toward_each;
        let error = (seconds - self.fixed - self.each * tokens) * one;
        self.fixed += toward_fixed / whole * error;
        self.each += toward_each / whole * error;
        self.variance_fixed -= toward_fixed * toward_fixed / whole;
        self.covariance -= toward_fixed * toward_each / whole;
        self.variance_each -= toward_each * toward_each / whole;
        // What no sample speaks of is forgotten only so far: it must not be forgotten without end.
        if self.variance_fixed < KEEPS * self.most_fixed && self.variance_each < KEEPS * self.most_each {
            self.variance_fixed /= KEEPS;
            self.covariance /= KEEPS;
            self.variance_each /= KEEPS;
        }
    }
}
