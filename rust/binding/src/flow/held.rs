//! Data behind the interpreter's own lock. Limits belong to one event loop, and this module asks for that lock (`gil_used`).

#![allow(unsafe_code)]

use std::cell::UnsafeCell;

use pyo3::Python;

pub(super) struct Held<T>(UnsafeCell<T>);

// SAFETY: the value is touched only by a thread that holds the interpreter; see `with`.
unsafe impl<T: Send> Sync for Held<T> {}

impl<T> Held<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Runs `work` on the data. It must run no Python code, nor drop a Python object: nothing may come back here meanwhile.
    #[inline]
    pub(super) fn with<R>(&self, _py: Python<'_>, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the token says that this thread holds the interpreter, and `work` neither lets go of it nor comes back.
        work(unsafe { &mut *self.0.get() })
    }
}
