//! What waits, shared by the queue and by whoever may take it back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Priority;

/// Nanoseconds: what has no deadline is ordered inside its class as if it were due so long after it came.
pub const PATIENCE: u64 = 1_000_000_000;

/// A value, until it is taken, by the drainer or by a cancellation; then a tombstone.
#[derive(Debug)]
pub(super) struct Slot<T> {
    value: Mutex<Option<T>>,
    /// Said early, without the lock. The lock has the last word.
    gone: AtomicBool,
    pub(super) priority: Priority,
    pub(super) tokens: u64,
    pub(super) arrived: u64,
    pub(super) deadline: Option<u64>,
}

impl<T> Slot<T> {
    pub(super) fn new(value: T, priority: Priority, tokens: u64, deadline: Option<u64>, now: u64) -> Self {
        let value = Mutex::new(Some(value));
        Self { value, gone: AtomicBool::new(false), priority, tokens: tokens.max(1), arrived: now, deadline }
    }

    /// What orders slots inside a class.
    pub(super) fn due(&self) -> u64 {
        self.deadline.unwrap_or(self.arrived.saturating_add(PATIENCE))
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// The value; whoever comes second gets none.
    pub(super) fn take(&self) -> Option<T> {
        let taken = self.value.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.gone.store(true, Ordering::Relaxed);
        taken
    }
}

/// The right to take a value back while it waits. Good for any thread.
#[derive(Debug)]
pub struct Ticket<T>(pub(super) Arc<Slot<T>>);

impl<T> Ticket<T> {
    /// Whether the value was neither taken nor cancelled yet.
    pub fn is_waiting(&self) -> bool {
        !self.0.is_gone()
    }
}
