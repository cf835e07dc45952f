//! `CacheStats`: the counts of core as Python sees them.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use sparecall_core::cache::policy::Policy;
use sparecall_core::cache::{Cache, Path, Stats};

/// What a cache has done so far and what it holds: one moment, frozen.
#[pyclass(frozen, module = "sparecall.cache")]
pub(crate) struct CacheStats {
    stats: Stats,
    /// Entries held, those included that are over but have not been met yet.
    #[pyo3(get)]
    entries: usize,
    /// The sum of their weights.
    #[pyo3(get)]
    weight: u64,
    /// The bound of `weight`.
    #[pyo3(get)]
    max_weight: u64,
}

impl CacheStats {
    pub(super) fn of<K: Path, V, P: Policy>(cache: &Cache<K, V, P>) -> Self {
        Self { stats: cache.stats(), entries: cache.len(), weight: cache.weight(), max_weight: cache.max_weight() }
    }
}

#[pymethods]
impl CacheStats {
    /// Reads that found a live entry.
    #[getter]
    fn hits(&self) -> u64 {
        self.stats.hits
    }

    /// Reads that found none.
    #[getter]
    fn misses(&self) -> u64 {
        self.stats.misses
    }

    /// Entries stored.
    #[getter]
    fn sets(&self) -> u64 {
        self.stats.sets
    }

    /// Sets that stored nothing: too heavy for the whole cache, or already expired.
    #[getter]
    fn refused(&self) -> u64 {
        self.stats.refused
    }

    /// Dollars that hits spared: the costs of the entries they returned.
    #[getter]
    fn saved(&self) -> f64 {
        self.stats.saved.dollars
    }

    /// Seconds of waiting that hits spared.
    #[getter]
    fn saved_seconds(&self) -> f64 {
        self.stats.saved.seconds
    }

    /// Dollars that misses cost: the costs of the entries that were stored.
    #[getter]
    fn spent(&self) -> f64 {
        self.stats.spent.dollars
    }

    /// Seconds that misses took.
    #[getter]
    fn spent_seconds(&self) -> f64 {
        self.stats.spent.seconds
    }

    /// Hits among all reads, from 0 to 1; 0 where there was none.
    #[getter]
    fn hit_ratio(&self) -> f64 {
        share(self.stats.hits as f64, self.stats.misses as f64)
    }

    /// Dollars saved among all dollars, from 0 to 1; 0 where no cost was given.
    #[getter]
    fn dollar_hit_ratio(&self) -> f64 {
        share(self.stats.saved.dollars, self.stats.spent.dollars)
    }

    /// Entries that left, by reason.
    #[getter]
    fn evictions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let evicted = self.stats.evicted;
        let evictions = PyDict::new(py);
        evictions.set_item("size", evicted.size)?;
        evictions.set_item("expired", evicted.expired)?;
        evictions.set_item("replaced", evicted.replaced)?;
        evictions.set_item("deleted", evicted.deleted)?;
        evictions.set_item("invalidated", evicted.invalidated)?;
        Ok(evictions)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let Stats { hits, misses, sets, refused, saved, spent, .. } = self.stats;
        Ok(format!(
            "CacheStats(hits={hits}, misses={misses}, sets={sets}, refused={refused}, saved={:?}, spent={:?}, \
             evictions={}, entries={}, weight={}, max_weight={})",
            saved.dollars,
            spent.dollars,
            self.evictions(py)?,
            self.entries,
            self.weight,
            self.max_weight,
        ))
    }
}

/// Sums beyond all numbers count as the greatest of them; halves, so that two of those have a sum.
fn share(part: f64, rest: f64) -> f64 {
    let [part, rest] = [part, rest].map(|sum| sum.min(f64::MAX) / 2.0);
    if part > 0.0 { part / (part + rest) } else { 0.0 }
}
