//! How long a call should take when nothing is in its way, by its tokens: a plane fitted as calls end.

/// Of what was learned is kept with each sample: about the last 512 count.
const KEEPS: f64 = 1.0 - 1.0 / 512.0;
/// Standard deviations of a coefficient nobody has seen, in units of the first sample's: of those of a line, and of what reading
/// takes beside them, which is less than all.
const DOUBT: f64 = 10.0;
const DOUBT_OF_READING: f64 = 1.0;
/// Of the variance of what nobody has seen, once it is known.
const SEEN: f64 = 1e-3;
/// Where nothing is known yet, a token of a prompt takes this part of one of an answer.
const READING: f64 = 1.0 / 50.0;
/// Prompts of fewer tokens tell nothing of what a token of one takes.
const SHORT: f64 = 256.0;
/// Seconds.
const LEAST: f64 = 1e-9;

/// What the length of a call goes by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Of the answer; or whatever it is that the time is looked at over.
    pub tokens: f64,
    /// Tokens that were read for it.
    pub prompt: f64,
}

impl From<f64> for Size {
    fn from(tokens: f64) -> Self {
        Self { tokens, prompt: 0.0 }
    }
}

impl Size {
    /// Its tokens, with those that were read for what they are thought to be.
    fn whole(self) -> f64 {
        self.tokens + READING * self.prompt
    }
}

/// `seconds = fixed + each * (tokens + prompt / 50) + more * prompt`, by weighted recursive least squares with forgetting. O(1) a sample.
///
/// The noise is taken to be a share of the length, as queues and networks have it: each equation is divided by what was
/// expected. `leverage` says how far a size is from those seen, as the variance of the plane there in units of
/// a sample's: a twentieth after twenty samples of that size. Where prompts do not vary, or there are none, a line remains.
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
    reading: Reading,
}

/// What a token of a prompt takes more than that part of one of an answer, and how that goes with the line.
#[derive(Clone, Debug, Default)]
struct Reading {
    more: f64,
    variance: f64,
    with_fixed: f64,
    with_each: f64,
    most: f64,
}

impl Expected {
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// How many were learned from.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Seconds a token of an answer; none where answers of different lengths were not seen, or longer ones took no longer.
    pub fn each(&self) -> Option<f64> {
        (self.variance_each < SEEN * self.most_each && self.each > 0.0).then_some(self.each)
    }

    /// Seconds a token of a prompt.
    pub fn each_read(&self) -> f64 {
        (READING * self.each + self.reading.more).max(0.0)
    }

    /// What a call of that size should take.
    pub fn seconds(&self, size: impl Into<Size>) -> f64 {
        let Size { tokens, prompt } = size.into();
        (self.fixed + self.each * tokens + self.each_read() * prompt).max(self.shortest).max(LEAST)
    }

    /// The variance of `seconds` at that size, in units of one sample's.
    pub fn leverage(&self, size: impl Into<Size>) -> f64 {
        let size = size.into();
        let (expected, tokens, prompt, reading) = (self.seconds(size), size.whole(), size.prompt, &self.reading);
        let line = self.variance_fixed + tokens * (2.0 * self.covariance + tokens * self.variance_each);
        let read = prompt * (2.0 * (reading.with_fixed + tokens * reading.with_each) + prompt * reading.variance);
        (line + read) / (expected * expected)
    }

    /// A call of that size took so long, with nothing in its way.
    pub fn learn(&mut self, size: impl Into<Size>, seconds: f64) {
        let size = size.into();
        let (tokens, prompt, seconds) = (size.whole(), size.prompt, seconds.max(LEAST));
        self.samples += 1;
        if self.samples == 1 {
            self.fixed = seconds;
            self.shortest = seconds / 2.0;
            self.variance_fixed = (DOUBT * seconds).powi(2);
            self.variance_each = (DOUBT * seconds / tokens.max(1.0)).powi(2);
            (self.most_fixed, self.most_each) = (self.variance_fixed, self.variance_each);
        }
        if prompt > 0.0 && self.reading.most == 0.0 {
            self.reading.most = (DOUBT_OF_READING * seconds / prompt.max(SHORT)).powi(2);
            self.reading.variance = self.reading.most;
        }
        self.shortest = self.shortest.min(seconds / 2.0);
        // The equation, divided by what was expected.
        let one = 1.0 / self.seconds(size);
        let (long, read, reading) = (tokens * one, prompt * one, &mut self.reading);
        let toward_fixed = self.variance_fixed * one + self.covariance * long + reading.with_fixed * read;
        let toward_each = self.covariance * one + self.variance_each * long + reading.with_each * read;
        let toward_more = reading.with_fixed * one + reading.with_each * long + reading.variance * read;
        let whole = KEEPS + one * toward_fixed + long * toward_each + read * toward_more;
        let error = (seconds - self.fixed - self.each * tokens - reading.more * prompt) * one;
        self.fixed += toward_fixed / whole * error;
        self.each += toward_each / whole * error;
        reading.more += toward_more / whole * error;
        self.variance_fixed -= toward_fixed * toward_fixed / whole;
        self.covariance -= toward_fixed * toward_each / whole;
        self.variance_each -= toward_each * toward_each / whole;
        reading.with_fixed -= toward_fixed * toward_more / whole;
        reading.with_each -= toward_each * toward_more / whole;
        reading.variance -= toward_more * toward_more / whole;
        self.forget();
    }

    /// What no sample speaks of is forgotten only so far: it must not be forgotten without end.
    fn forget(&mut self) {
        let reading = &mut self.reading;
        let mut both = 1.0;
        if self.variance_fixed < KEEPS * self.most_fixed && self.variance_each < KEEPS * self.most_each {
            self.variance_fixed /= KEEPS;
            self.covariance /= KEEPS;
            self.variance_each /= KEEPS;
            both *= KEEPS;
        }
        if reading.variance < KEEPS * reading.most {
            reading.variance /= KEEPS;
            both *= KEEPS;
        }
        let both = both.sqrt();
        reading.with_fixed /= both;
        reading.with_each /= both;
    }
}
