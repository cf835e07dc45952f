//! `Gcra`: one limit, shared by the gate, which takes from it, and Python, which tells it what the server said.

use pyo3::prelude::*;
use sparecall_core::flow;

use super::held::Held;

/// One limit's arithmetic: the generic cell rate algorithm, and what the server tells of the same limit.
#[pyclass(frozen, module = "sparecall._core")]
pub(crate) struct Gcra {
    pub(super) inner: Held<flow::Gcra>,
}

#[pymethods]
impl Gcra {
    #[new]
    #[pyo3(signature = (limit, *, per, burst, now))]
    fn new(limit: Option<f64>, per: Option<f64>, burst: f64, now: f64) -> Self {
        Self { inner: Held::new(flow::Gcra::new(limit, per, burst, now)) }
    }

    /// When `amount` can be taken, as far as is known at `now`; not after `now` where it can be now.
    fn ready_at(&self, py: Python<'_>, amount: f64, now: f64) -> f64 {
        self.inner.with(py, |gcra| gcra.ready_at(amount, now))
    }

    /// Take it, whether it is there or not.
    fn take(&self, py: Python<'_>, amount: f64, now: f64) {
        self.inner.with(py, |gcra| gcra.take(amount, now));
    }

    /// Give back `amount` of what was taken at `sent`, when `mark` had passed.
    fn give_back(&self, py: Python<'_>, amount: f64, mark: f64, sent: f64) {
        self.inner.with(py, |gcra| gcra.give_back(amount, flow::Mark { passed: mark, sent }));
    }

    /// No more than the limit goes in any period from now on: the server refused what it should have taken.
    fn refused(&self, py: Python<'_>, now: f64) {
        self.inner.with(py, |gcra| gcra.refused(now));
    }

    /// One unit at `until`, none before: the server said so.
    fn hold(&self, py: Python<'_>, until: f64) {
        self.inner.with(py, |gcra| gcra.hold(until));
    }

    /// Believe the server's count where it is the newest and stricter than ours.
    #[pyo3(signature = (*, limit, remaining, reset, rounded, mark, sent, now))]
    #[allow(clippy::too_many_arguments)] // all of them by name
    fn told(
        &self,
        py: Python<'_>,
        limit: Option<f64>,
        remaining: Option<f64>,
        reset: Option<f64>,
        rounded: f64,
        mark: f64,
        sent: f64,
        now: f64,
    ) {
        let mark = flow::Mark { passed: mark, sent };
        self.inner.with(py, |gcra| gcra.told(flow::Told { limit, remaining, reset, rounded }, mark, now));
    }

    /// So many each `per` seconds, as was found out, of which the present period had `used`.
    #[pyo3(signature = (limit, *, per, used, now))]
    fn learned(&self, py: Python<'_>, limit: f64, per: f64, used: f64, now: f64) {
        self.inner.with(py, |gcra| gcra.learned(limit, per, used, now));
    }

    /// Only this share of the limit, which is too high.
    fn lower(&self, py: Python<'_>, share: f64) {
        self.inner.with(py, |gcra| gcra.lower(share));
    }

    /// The share of the limit spent in about the last period.
    fn spent(&self, py: Python<'_>, now: f64) -> f64 {
        self.inner.with(py, |gcra| gcra.spent(now))
    }

    /// Units a period; infinite where unknown.
    #[getter]
    fn limit(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gcra| gcra.limit)
    }

    /// Seconds of the period, given or learned.
    #[getter]
    fn per(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gcra| gcra.per)
    }

    /// Seconds a unit.
    #[getter]
    fn interval(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gcra| gcra.interval)
    }

    /// Seconds that the virtual clock may run ahead.
    #[getter]
    fn tolerance(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gcra| gcra.tolerance)
    }

    /// The virtual clock.
    #[getter]
    fn tat(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gcra| gcra.tat)
    }

    /// Taken and not given back.
    #[getter]
    fn taken(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gcra| gcra.taken)
    }

    /// Taken ever: it never shrinks.
    #[getter]
    fn passed(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gcra| gcra.passed)
    }

    /// What had passed with the call that the server's newest count came with.
    #[getter]
    fn mark(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gcra| gcra.mark)
    }

    /// The most that may pass until `ceiling_until`.
    #[getter]
    fn ceiling(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gcra| gcra.ceiling)
    }

    /// When the ceiling ends.
    #[getter]
    fn ceiling_until(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gcra| gcra.ceiling_until)
    }
}
