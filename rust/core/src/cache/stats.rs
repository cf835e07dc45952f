//! What a cache counts.

/// What happened since the cache was made. `sets` = live entries + the ways an entry can leave.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    pub hits: u64,
    pub misses: u64,
    /// Entries stored.
    pub sets: u64,
    /// Sets that stored nothing: heavier than the whole cache, or already expired.
    pub refused: u64,
    /// The costs of the entries that hits returned, in dollars.
    pub saved: f64,
    /// The costs of the entries that were stored.
    pub spent: f64,
    pub evicted: Evicted,
}

/// Entries that left, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evicted {
    /// To make room.
    pub size: u64,
    /// Past their life.
    pub expired: u64,
    /// By a set under the same key, stored or refused.
    pub replaced: u64,
    /// By `delete` or `clear`.
    pub deleted: u64,
    /// By a tag or a prefix; counted when they are met, not when it was invalidated.
    pub invalidated: u64,
}

/// Why an entry leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Size,
    Expired,
    Replaced,
    Deleted,
    Invalidated,
}

impl Evicted {
    pub(super) fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::Size => &mut self.size,
            Reason::Expired => &mut self.expired,
            Reason::Replaced => &mut self.replaced,
            Reason::Deleted => &mut self.deleted,
            Reason::Invalidated => &mut self.invalidated,
        } += 1;
    }
}
