//! `CacheStats`: the counts of core as Python sees them.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use sparecall_core::cache::Stats;

/// What a cache has done so far and what it holds: one moment, frozen.
#[pyclass(frozen, module = "sparecall.cache")]
pub(crate) struct CacheStats {
    pub(super) stats: Stats,
    /// Entries held, expired ones that have not been met yet included.
    #[pyo3(get)]
    pub(super) entries: usize,
    /// Bytes held, 64 for each entry included.
    #[pyo3(get)]
    pub(super) weight: u64,
    /// The bound of `weight`.
    #[pyo3(get)]
    pub(super) max_bytes: u64,
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

    /// Entries stored: `entries` and all `evictions` together.
    #[getter]
    fn sets(&self) -> u64 {
        self.stats.sets
    }

    /// Sets that stored nothing: too heavy for the whole cache, or already expired.
    #[getter]
    fn refused(&self) -> u64 {
        self.stats.refused
    }

    /// Entries that left, by reason: `size`, `expired`, `replaced`, `deleted`.
    #[getter]
    fn evictions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let evicted = self.stats.evicted;
        let evictions = PyDict::new(py);
        evictions.set_item("size", evicted.size)?;
        evictions.set_item("expired", evicted.expired)?;
        evictions.set_item("replaced", evicted.replaced)?;
        evictions.set_item("deleted", evicted.deleted)?;
        Ok(evictions)
    }

    fn __repr__(&self) -> String {
        let Stats { hits, misses, sets, refused, evicted } = self.stats;
        format!(
            "CacheStats(hits={hits}, misses={misses}, sets={sets}, refused={refused}, evictions={{'size': {}, \
             'expired': {}, 'replaced': {}, 'deleted': {}}}, entries={}, weight={}, max_bytes={})",
            evicted.size, evicted.expired, evicted.replaced, evicted.deleted, self.entries, self.weight, self.max_bytes,
        )
    }
}
