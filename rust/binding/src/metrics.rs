//! `sparecall.metrics`: a registry, its families, and series that count in one atomic operation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use sparecall_core::error::Error;
use sparecall_core::metrics::{self, Kind, Scalar, Series};

use crate::error::{guard, to_python, wrong_type};

/// Shared by a registry and its families. No Python code runs under the lock.
type Shared = Arc<Mutex<metrics::Registry>>;

fn lock(registry: &Shared) -> MutexGuard<'_, metrics::Registry> {
    // A panic under the lock can at worst have left a series out.
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Families of counters, gauges and histograms, and their Prometheus text.
#[pyclass(frozen, module = "sparecall._core", name = "MetricRegistry")]
pub(crate) struct Registry {
    shared: Shared,
}

#[pymethods]
impl Registry {
    #[new]
    #[pyo3(signature = (*, max_series=1000))]
    fn new(max_series: usize) -> Self {
        Self { shared: Arc::new(Mutex::new(metrics::Registry::new(max_series))) }
    }

    /// A family of numbers that only grow.
    #[pyo3(signature = (name, help, labels=Vec::new()), text_signature = "($self, name, help, labels=())")]
    fn counter(&self, py: Python<'_>, name: &str, help: &str, labels: Vec<String>) -> PyResult<Family> {
        self.register(py, Kind::Counter, name, help, labels)
    }

    /// A family of numbers that go up and down.
    #[pyo3(signature = (name, help, labels=Vec::new()), text_signature = "($self, name, help, labels=())")]
    fn gauge(&self, py: Python<'_>, name: &str, help: &str, labels: Vec<String>) -> PyResult<Family> {
        self.register(py, Kind::Gauge, name, help, labels)
    }

    /// A family of distributions over buckets with the given upper bounds, to which infinity is added.
    #[pyo3(
        signature = (name, help, labels=Vec::new(), *, buckets),
        text_signature = "($self, name, help, labels=(), *, buckets)"
    )]
    fn histogram(
        &self,
        py: Python<'_>,
        name: &str,
        help: &str,
        labels: Vec<String>,
        buckets: Vec<f64>,
    ) -> PyResult<Family> {
        self.register(py, Kind::Histogram { buckets }, name, help, labels)
    }

    /// Every series as Prometheus text format 0.0.4, in the order of names and label values.
    fn render(&self, py: Python<'_>) -> PyResult<String> {
        guard(py, || Ok(lock(&self.shared).render()))
    }

    fn __repr__(&self) -> String {
        let registry = lock(&self.shared);
        format!("Registry(families={}, max_series={})", registry.len(), registry.max_series())
    }
}

impl Registry {
    #[allow(clippy::needless_pass_by_value)] // as pyo3 hands it over
    fn register(&self, py: Python<'_>, kind: Kind, name: &str, help: &str, labels: Vec<String>) -> PyResult<Family> {
        let index = guard(py, || {
            let registered = lock(&self.shared).register(kind, name, help, &labels);
            registered.map_err(|error| to_python(py, &error))
        })?;
        Ok(Family { shared: Arc::clone(&self.shared), index })
    }
}

/// Series that share a name and are told apart by label values.
#[pyclass(frozen, generic, module = "sparecall._core", name = "MetricFamily")]
pub(crate) struct Family {
    shared: Shared,
    index: usize,
}

#[pymethods]
impl Family {
    /// The series of these label values. Past the registry's bound it is the one whose labels are all "other".
    #[pyo3(signature = (*values))]
    fn labels<'py>(&self, py: Python<'py>, values: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let texts = values.as_slice().iter().map(text).collect::<PyResult<Vec<_>>>()?;
        let (counter, series) = guard(py, || {
            let mut registry = lock(&self.shared);
            let family = registry.family(self.index);
            let counter = *family.kind() == Kind::Counter;
            let series = family.series(texts.iter().map(AsRef::as_ref));
            drop(registry);
            Ok((counter, series.map_err(|error| to_python(py, &error))?))
        })?;
        match series {
            Series::Scalar(scalar) if counter => Ok(Bound::new(py, Counter { scalar })?.into_any()),
            Series::Scalar(scalar) => Ok(Bound::new(py, Gauge { scalar })?.into_any()),
            Series::Histogram(histogram) => Ok(Bound::new(py, Histogram { histogram })?.into_any()),
        }
    }

    fn __repr__(&self) -> String {
        let mut registry = lock(&self.shared);
        let family = registry.family(self.index);
        format!("Family(name={:?}, kind={:?}, labels={:?})", family.name(), family.kind().name(), family.labels())
    }
}

/// A label value; what has no UTF-8 (a lone surrogate) is replaced, because counting must not fail on a user's text.
fn text<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<std::borrow::Cow<'a, str>> {
    value
        .cast::<pyo3::types::PyString>()
        .map(|text| text.to_string_lossy())
        .map_err(|_| wrong_type("label", "str", value))
}

/// A number that only grows.
#[pyclass(frozen, module = "sparecall._core", name = "MetricCounter")]
pub(crate) struct Counter {
    scalar: Arc<Scalar>,
}

#[pymethods]
impl Counter {
    /// Adds `n`, which is not negative.
    #[pyo3(signature = (n=1.0), text_signature = "($self, n=1)")]
    fn add(&self, py: Python<'_>, n: f64) -> PyResult<()> {
        if n >= 0.0 {
            self.scalar.add(n);
            return Ok(());
        }
        Err(invalid(py, "n", n, "a counter only grows: use a gauge"))
    }

    /// What was added so far.
    #[getter]
    fn value(&self) -> f64 {
        self.scalar.value()
    }

    fn __repr__(&self) -> String {
        format!("Counter(value={})", self.scalar.value())
    }
}

/// A number that goes up and down.
#[pyclass(frozen, module = "sparecall._core", name = "MetricGauge")]
pub(crate) struct Gauge {
    scalar: Arc<Scalar>,
}

#[pymethods]
impl Gauge {
    /// Adds `n`; a negative one takes away.
    #[pyo3(signature = (n=1.0), text_signature = "($self, n=1)")]
    fn add(&self, n: f64) {
        self.scalar.add(n);
    }

    /// Makes the value `x`.
    fn set(&self, x: f64) {
        self.scalar.set(x);
    }

    /// The value now.
    #[getter]
    fn value(&self) -> f64 {
        self.scalar.value()
    }

    fn __repr__(&self) -> String {
        format!("Gauge(value={})", self.scalar.value())
    }
}

/// A distribution over buckets.
#[pyclass(frozen, module = "sparecall._core", name = "MetricHistogram")]
pub(crate) struct Histogram {
    histogram: Arc<metrics::Histogram>,
}

#[pymethods]
impl Histogram {
    /// Counts `x` in the first bucket whose bound it does not exceed.
    fn observe(&self, py: Python<'_>, x: f64) -> PyResult<()> {
        if x.is_nan() {
            return Err(invalid(py, "x", x, "no bucket holds it: observe a number"));
        }
        self.histogram.observe(x);
        Ok(())
    }

    /// How many were observed.
    #[getter]
    fn count(&self) -> u64 {
        self.histogram.count()
    }

    /// The sum of what was observed.
    #[getter]
    fn sum(&self) -> f64 {
        self.histogram.sum()
    }

    fn __repr__(&self) -> String {
        format!("Histogram(count={}, sum={})", self.histogram.count(), self.histogram.sum())
    }
}

#[cold]
fn invalid(py: Python<'_>, name: &'static str, value: f64, limit: &str) -> PyErr {
    to_python(py, &Error::InvalidArgument { name, value: value.to_string(), limit: limit.to_owned() })
}
