//! `Gradient`: the adaptive limit's arithmetic.

use pyo3::prelude::*;
use sparecall_core::flow;

use super::held::Held;
use crate::error::guard;

/// How many calls an endpoint takes at once, by what its calls tell.
#[pyclass(frozen, module = "sparecall._core")]
pub(crate) struct Gradient {
    inner: Held<flow::Gradient>,
}

#[pymethods]
impl Gradient {
    #[new]
    #[pyo3(signature = (*, initial, least, most))]
    fn new(initial: f64, least: f64, most: f64) -> Self {
        Self { inner: Held::new(flow::Gradient::new(initial, least, most)) }
    }

    /// The first token of a stream came after so long.
    fn answered(&self, py: Python<'_>, in_flight: f64, seconds: f64, prompt: f64, now: f64) -> PyResult<()> {
        guard(py, || {
            self.inner.with(py, |gradient| gradient.answered(in_flight, seconds, prompt, now));
            Ok(())
        })
    }

    /// A call ended well; the limit from here on. Of one that was streamed the length says something only where its tokens are known.
    fn ended(
        &self,
        py: Python<'_>,
        in_flight: f64,
        seconds: f64,
        tokens: Option<f64>,
        now: f64,
        streamed: bool,
    ) -> PyResult<f64> {
        guard(py, || {
            Ok(self.inner.with(py, |gradient| {
                gradient.ended(in_flight, seconds, tokens, now, streamed);
                gradient.limit()
            }))
        })
    }

    /// A call was refused for want of room, or timed out.
    fn dropped(&self, py: Python<'_>, in_flight: f64, seconds: f64, now: f64, refused: bool) -> PyResult<()> {
        guard(py, || {
            self.inner.with(py, |gradient| gradient.dropped(in_flight, seconds, now, refused));
            Ok(())
        })
    }

    /// Calls that fit at once.
    #[getter]
    fn limit(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gradient| gradient.limit())
    }

    /// How many of the calls in flight waited in the endpoint lately, as a share.
    #[getter]
    fn load(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gradient| gradient.load())
    }

    /// Mean seconds of a call, lately; 0 before the first.
    #[getter]
    fn duration(&self, py: Python<'_>) -> f64 {
        self.inner.with(py, |gradient| gradient.duration())
    }
}
