//! `Matches`: what a search found, as Python sees it.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use sparecall_core::index::{Found, Hit};

/// What a search found, best first; of equally similar entries the lowest id first. Immutable.
#[pyclass(frozen, module = "sparecall.index")]
pub(crate) struct Matches {
    hits: Vec<Hit>,
    /// Whether nothing at or above the threshold can have been missed.
    #[pyo3(get)]
    exact: bool,
    /// The share of the namespace's entries whose vectors were read: the price of the proof.
    #[pyo3(get)]
    verified_fraction: f64,
}

impl Matches {
    pub(super) fn new(found: Found, exact: bool) -> Self {
        Self { verified_fraction: found.verified_fraction(), hits: found.hits, exact }
    }

    /// What a namespace without entries gives.
    pub(super) fn none(exact: bool) -> Self {
        Self { hits: Vec::new(), exact, verified_fraction: 0.0 }
    }
}

#[pymethods]
impl Matches {
    /// The ids found.
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.hits.iter().map(|hit| hit.id))
    }

    /// The cosine similarity of each, rounded to `float32`.
    #[getter]
    fn similarities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.hits.iter().map(|hit| f64::from(hit.similarity)))
    }

    /// What each true similarity is at least.
    #[getter]
    fn low<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.hits.iter().map(|hit| f64::from(hit.interval[0])))
    }

    /// What each true similarity is at most.
    #[getter]
    fn high<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.hits.iter().map(|hit| f64::from(hit.interval[1])))
    }

    fn __len__(&self) -> usize {
        self.hits.len()
    }

    fn __repr__(&self) -> String {
        let ids: Vec<i64> = self.hits.iter().take(10).map(|hit| hit.id).collect();
        let similarities: Vec<f32> = self.hits.iter().take(10).map(|hit| hit.similarity).collect();
        let exact = if self.exact { "True" } else { "False" };
        let (more, fraction) = (if self.hits.len() > 10 { ", ..." } else { "" }, self.verified_fraction);
        format!(
            "Matches(ids={ids:?}{more}, similarities={similarities:?}{more}, exact={exact}, verified_fraction={fraction:.4})"
        )
    }
}
