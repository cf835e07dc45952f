//! `SymbolWords`: symbols by the words they have.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use sparecall_outline::search::{Fields, WordIndex};

use crate::error::guard;
use crate::text::Text;

/// Reading so many bytes takes half a millisecond.
const DETACH_ABOVE: usize = 16 * 1024;
/// Searching among so many symbols takes half a millisecond.
const DETACH_ABOVE_SYMBOLS: usize = 20_000;

/// Symbols by their words, entered and removed at any time, from any thread.
#[pyclass(frozen, module = "sparecall._core", name = "SymbolWords")]
pub(crate) struct SymbolWords {
    inner: Mutex<WordIndex>,
}

impl SymbolWords {
    fn lock(&self) -> MutexGuard<'_, WordIndex> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl SymbolWords {
    #[new]
    fn new() -> Self {
        Self { inner: Mutex::default() }
    }

    /// Enters a symbol under an id, in place of one that was there.
    #[pyo3(signature = (id, name_path, signature, text, context, /))]
    fn add(
        &self,
        py: Python<'_>,
        id: u64,
        name_path: &Bound<'_, PyAny>,
        signature: &Bound<'_, PyAny>,
        text: &Bound<'_, PyAny>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let texts = [
            Text::of(name_path, "name_path")?,
            Text::of(signature, "signature")?,
            Text::of(text, "text")?,
            Text::of(context, "context")?,
        ];
        let length: usize = texts.iter().map(Text::max_utf8_len).sum();
        let work = || {
            let [name_path, signature, text, context] = texts.each_ref().map(Text::utf8);
            let fields = Fields { name_path: &name_path, signature: &signature, text: &text, context: &context };
            self.lock().add(id, &fields);
        };
        guard(py, || {
            if length > DETACH_ABOVE {
                py.detach(work);
            } else {
                work();
            }
            Ok(())
        })
    }

    /// Whether it was there.
    #[pyo3(signature = (id, /))]
    fn remove(&self, py: Python<'_>, id: u64) -> PyResult<bool> {
        guard(py, || Ok(self.lock().remove(id)))
    }

    /// The ids that fit best, with their scores, best first.
    #[pyo3(signature = (question, k, /))]
    fn search(&self, py: Python<'_>, question: &Bound<'_, PyAny>, k: usize) -> PyResult<Vec<(u64, f32)>> {
        let question = Text::of(question, "question")?;
        let work = || self.lock().search(&question.utf8(), k);
        let is_long = self.lock().len() > DETACH_ABOVE_SYMBOLS || question.max_utf8_len() > DETACH_ABOVE;
        guard(py, || Ok(if is_long { py.detach(work) } else { work() }))
    }

    fn __len__(&self) -> usize {
        self.lock().len()
    }

    fn __repr__(&self) -> String {
        format!("SymbolWords(symbols={})", self.lock().len())
    }
}
