//! Which entry leaves when room is needed: one small trait and the three ways to answer.
//!
//! A policy knows entries by the number of their slot. It keeps what it needs to know of each, its weight among it, and
//! never sees keys or values. Numbers are small and are used again: a new one is at most one past the highest ever seen.

mod adaptive;
mod any;
mod cost;
mod ghosts;
mod lru;

pub use adaptive::Adaptive;
pub use any::AnyPolicy;
pub use cost::Cost;
pub use lru::Lru;

/// What a policy learns of an entry that comes or changes.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Of the key, mixed: every bit is as good as another. The same key has the same hash when it comes again.
    pub hash: u32,
    pub weight: u64,
    /// What a miss would cost, in dollars; finite, from 0 up. 0 where nobody said.
    pub cost: f64,
}

/// A walk over the entries as they stood.
pub type Order = Box<dyn FnOnce() -> Vec<u32> + Send>;

/// The weights of all entries are at most the bound the policy was made with, or was given since, at every return.
pub trait Policy {
    /// An empty policy with the same settings.
    #[must_use]
    fn fresh(&self) -> Self
    where
        Self: Sized;

    /// Another bound; what is held weighs no more.
    fn resize(&mut self, max_weight: u64) {
        let _ = max_weight; // who leaves does not depend on it
    }

    /// An entry came into the free slot `index`. Room for it was made before.
    fn insert(&mut self, index: u32, load: Load);

    /// The entry was read.
    fn hit(&mut self, index: u32);

    /// The entry was overwritten, after [`Self::hit`]: here are its new weight and cost. Room for them was made before.
    fn reweigh(&mut self, index: u32, load: Load);

    /// The entry left, whatever the reason.
    fn remove(&mut self, index: u32, hash: u32);

    /// The entry that should leave so that one of weight `coming` fits; never `spare`. It stays until `remove` is called.
    /// `None` where nothing but `spare` is held.
    fn victim(&mut self, coming: u64, spare: u32) -> Option<u32>;

    /// What `index` weighs.
    fn weight(&self, index: u32) -> u64;

    /// The sum over all entries.
    fn total(&self) -> u64;

    /// Every entry, the one to leave first first: inserting them so again, each with [`Self::remember`], gives nearly the
    /// same state. Copying what is needed is quick; the walk, which is not, is left to whoever calls the result.
    fn order(&self) -> Order;

    /// How often the entry was used, in the policy's own terms: for a file, and for [`Self::remember`].
    fn memory(&self, index: u32) -> u8;

    /// Sets what [`Self::memory`] gave, right after the entry was inserted.
    fn remember(&mut self, index: u32, memory: u8);
}
