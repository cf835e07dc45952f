//! What a cache counts.

/// What a miss costs. Both numbers are finite, from 0 up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    pub dollars: f64,
    pub seconds: f64,
}

impl Cost {
    pub const NONE: Self = Self { dollars: 0.0, seconds: 0.0 };

    pub fn is_valid(self) -> bool {
        [self.dollars, self.seconds].iter().all(|number| number.is_finite() && *number >= 0.0)
    }

    #[inline]
    pub(super) fn add(&mut self, other: Self) {
        self.dollars += other.dollars;
        self.seconds += other.seconds;
    }
}

/// What happened since the cache was made. `sets` = live entries + the ways an entry can leave.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    pub hits: u64,
    pub misses: u64,
    /// Entries stored.
    pub sets: u64,
    /// Sets that stored nothing: heavier than the whole cache, or already expired.
    pub refused: u64,
    /// The costs of the entries that hits returned.
    pub saved: Cost,
    /// The costs of the entries that were stored, those from a file left out.
    pub spent: Cost,
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
