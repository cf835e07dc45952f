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
    /// Tokens it has to read.
    pub prompt: f64,
    /// A stream whose first token came.
    pub answered: bool,
}

/// They are numbered as they begin. O(log n) a step.
#[derive(Clone, Debug, Default)]
pub struct Running {
    calls: BTreeMap<u64, Call>,
    begun: u64,
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

    /// A call begins: its number.
    pub fn begin(&mut self, kind: usize, prompt: f64, now: f64) -> u64 {
        self.begun += 1;
        self.kinds[kind] += 1;
        let in_flight = (self.calls.len() + 1) as f64;
        self.calls.insert(self.begun, Call { kind, began: now, in_flight, prompt, answered: false });
        self.begun
    }

    /// It is over; none where it was before.
    pub fn end(&mut self, number: u64) -> Option<Call> {
        let call = self.calls.remove(&number)?;
        self.kinds[call.kind] -= 1;
        Some(call)
    }
}
