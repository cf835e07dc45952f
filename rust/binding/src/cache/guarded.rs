//! Data behind the interpreter's own lock: holding the interpreter is holding the data, and costs nothing.
//!
//! Sound whatever the work inside does: only a thread that holds the interpreter gets here, and should the work let go of
//! it, or call Python code that comes back, the second comer is turned away. Builds of Python without that lock use a mutex.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;

use crate::error::internal;

/// What can begin anew should core have panicked in the middle of a step.
pub(super) trait Renew {
    #[must_use]
    fn renewed(&self) -> Self;
}

pub(super) struct Guarded<T> {
    #[cfg(Py_GIL_DISABLED)]
    lock: std::sync::Mutex<()>,
    busy: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: both cells are touched only by a thread that holds the interpreter or, in builds without its lock, the mutex.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T: Renew> Guarded<T> {
    pub(super) const fn new(value: T) -> Self {
        Self {
            #[cfg(Py_GIL_DISABLED)]
            lock: std::sync::Mutex::new(()),
            busy: Cell::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `work` on the data. It runs no Python code and drops no Python object. Should it panic, the data begins anew.
    #[inline]
    pub(super) fn with<R>(&self, py: Python<'_>, work: impl FnOnce(&mut T) -> R) -> PyResult<R> {
        #[cfg(Py_GIL_DISABLED)]
        let _held = self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.busy.replace(true) {
            return Err(internal(py));
        }
        // SAFETY: `busy` was false and nobody else can have seen it so: no other reference to the value exists until it is
        // false again, which no code but what follows makes it.
        let value = unsafe { &mut *self.value.get() };
        let done = catch_unwind(AssertUnwindSafe(|| work(value)));
        let Ok(result) = done else {
            let broken = std::mem::replace(value, value.renewed());
            self.busy.set(false);
            drop(broken); // its objects may run code of their own
            return Err(internal(py));
        };
        self.busy.set(false);
        Ok(result)
    }

    /// Shows the data to the garbage collector, which comes without a token but holds the interpreter. Work under way makes
    /// no object that the collector watches, so none begins in the middle of it; and if it did, it would find the data
    /// busy at each of its visits, and so the same.
    pub(super) fn traverse<R>(&self, visit: impl FnOnce(&T) -> R) -> Option<R> {
        if self.busy.get() {
            return None;
        }
        // SAFETY: nobody has a mutable reference (`busy`), and the visit, which only reports objects, does not come here.
        Some(visit(unsafe { &*self.value.get() }))
    }
}
