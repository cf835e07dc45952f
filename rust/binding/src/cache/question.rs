//! Keys that only Python code can compare are asked while nothing is locked; what they answered holds for those very objects.

use std::collections::HashMap;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::object_cache::{Cache, Objects};
use super::object_key;

/// How often a look-up begins again because keys to ask came meanwhile: more only where an `__eq__` adds them.
const MOST_ROUNDS: usize = 1000;

impl Cache {
    /// `Cache::find` where `question`, a key that is held, has to be asked first. Its answer, and those of all that stood
    /// beside it, are there the next time; only keys that came in between make for another.
    #[cold]
    pub(super) fn ask<'py, R>(
        &self,
        key: &Bound<'py, PyAny>,
        hash: u32,
        question: &Bound<'py, PyAny>,
        mut work: impl FnMut(&mut Objects, Option<u32>) -> R,
    ) -> PyResult<R> {
        let py = key.py();
        let same = question.eq(key)?;
        let mut others: HashMap<*mut ffi::PyObject, (Bound<'py, PyAny>, bool)> = HashMap::new();
        for _ in 0..MOST_ROUNDS {
            let mut unasked = Vec::new();
            let done = self.state.with(py, |state| {
                let found = state.cache.find(hash, |held| {
                    let held = held.0.bind(py);
                    if held.is(question) {
                        return same;
                    }
                    if let Some((_, same)) = others.get(&held.as_ptr()) {
                        return *same;
                    }
                    object_key::equal(held, key).unwrap_or_else(|| {
                        unasked.push(held.clone());
                        false
                    })
                });
                if found.is_none() && !unasked.is_empty() { None } else { Some(work(state, found)) }
            })?;
            if let Some(result) = done {
                return Ok(result);
            }
            for other in unasked {
                let same = other.eq(key)?;
                others.insert(other.as_ptr(), (other, same));
                if same {
                    break;
                }
            }
        }
        Err(PyRuntimeError::new_err("comparing this key with others never ended: its __eq__ changes the cache"))
    }
}
