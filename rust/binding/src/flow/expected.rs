//! `Expected`: how long a call should take, for what is not decided natively.

use pyo3::prelude::*;
use sparecall_core::flow::{self, Size};

use super::held::Held;

/// How long a call should take by its tokens, fitted as calls end.
#[pyclass(frozen, module = "sparecall._core")]
pub(crate) struct Expected {
    inner: Held<flow::Expected>,
}

#[pymethods]
impl Expected {
    #[new]
    fn new() -> Self {
        Self { inner: Held::new(flow::Expected::default()) }
    }

    /// A call of that size took so long.
    #[pyo3(signature = (tokens, prompt, seconds, /))]
    fn learn(&self, py: Python<'_>, tokens: f64, prompt: f64, seconds: f64) {
        self.inner.with(py, |inner| inner.learn(Size { tokens, prompt }, seconds));
    }

    /// What a call of that size should take.
    #[pyo3(signature = (tokens, prompt, /))]
    fn seconds(&self, py: Python<'_>, tokens: f64, prompt: f64) -> f64 {
        self.inner.with(py, |inner| inner.seconds(Size { tokens, prompt }))
    }

    /// Seconds a token, where answers of different lengths were seen.
    #[getter]
    fn each(&self, py: Python<'_>) -> Option<f64> {
        self.inner.with(py, |inner| inner.each())
    }
}
