//! Calls that were let through and have not ended: how many of each class, and which is the oldest.

use std::collections::BTreeMap;

/// Classes of calls.
pub const KINDS: usize = 3;

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub kind: usize,
    pub began: f64,
    /// How many were in flight then, itself among them.
    pub in_flight: f64,
    /// How many had ended then, and the integral until then of one by those in flight.
    pub ends: u64,
    pub share: f64,
    /// Tokens it has to read.
    pub prompt: f64,
    /// Seconds to the first token, of a stream where it came.
    pub first: Option<f64>,
}

/// They are numbered as they begin. O(log n) a step.
///
/// Time never goes back here: where the clock does, it stands still.
#[derive(Clone, Debug, Default)]
pub struct Running {
    calls: BTreeMap<u64, Call>,
    begun: u64,
    /// The integral of one by those in flight, and until when: what each had where all share.
    share: f64,
    until: f64,
    kinds: [usize; KINDS],
}

impl Running {
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub fn kinds(&self) -> [usize; KINDS] {
        self.kinds
    }

    pub fn oldest(&self) -> Option<(u64, &Call)> {
        self.calls.first_key_value().map(|(&number, call)| (number, call))
    }

    pub fn contains(&self, number: u64) -> bool {
        self.calls.contains_key(&number)
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut Call> {
        self.calls.get_mut(&number)
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Call)> {
        self.calls.iter().map(|(&number, call)| (number, call))
    }

    /// The integral of one by those in flight, until now.
    pub fn share(&mut self, now: f64) -> f64 {
        if !self.calls.is_empty() {
            self.share += (now - self.until).max(0.0) / self.calls.len() as f64;
        }
        self.until = self.until.max(now);
        self.share
    }

    /// The latest moment it was told of.
    pub fn until(&self) -> f64 {
        self.until
    }

    /// A call begins; so many ended before. Its number.
    pub fn begin(&mut self, kind: usize, prompt: f64, ends: u64, now: f64) -> u64 {
        let share = self.share(now);
        self.begun += 1;
        self.kinds[kind] += 1;
        let in_flight = (self.calls.len() + 1) as f64;
        self.calls.insert(self.begun, Call { kind, began: now, in_flight, ends, share, prompt, first: None });
        self.begun
    }

    /// It is over; none where it was before.
    pub fn end(&mut self, number: u64) -> Option<Call> {
        let call = self.calls.remove(&number)?;
        self.kinds[call.kind] -= 1;
        Some(call)
    }
}
