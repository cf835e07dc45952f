//! `Window`: a breaker's counts.

use pyo3::prelude::*;
use sparecall_core::flow;

use super::held::Held;

/// Counts of calls, failures and slow calls over the last seconds.
#[pyclass(frozen, module = "sparecall._core")]
pub(crate) struct Window {
    pub(super) inner: Held<flow::Window>,
}

#[pymethods]
impl Window {
    #[new]
    #[pyo3(signature = (seconds))]
    fn new(seconds: f64) -> Self {
        Self { inner: Held::new(flow::Window::new(seconds)) }
    }

    /// Forget everything.
    fn clear(&self, py: Python<'_>) {
        self.inner.with(py, flow::Window::clear);
    }

    /// Forget what is older than the window at `now`.
    fn pass_to(&self, py: Python<'_>, now: f64) {
        self.inner.with(py, |window| window.pass_to(now));
    }

    /// Count at `now`; `calls` is 0 where the call itself has been counted already.
    #[pyo3(signature = (now, *, calls, failed, slow))]
    fn add(&self, py: Python<'_>, now: f64, calls: u64, failed: bool, slow: bool) {
        self.inner.with(py, |window| window.add(now, calls, failed, slow));
    }

    /// Calls that ended, or that are slow, within the window.
    #[getter]
    fn calls(&self, py: Python<'_>) -> u64 {
        self.inner.with(py, |window| window.calls())
    }

    /// Of those, how many failed.
    #[getter]
    fn failed(&self, py: Python<'_>) -> u64 {
        self.inner.with(py, |window| window.failed())
    }

    /// Of those, how many were slow.
    #[getter]
    fn slow(&self, py: Python<'_>) -> u64 {
        self.inner.with(py, |window| window.slow())
    }
}
