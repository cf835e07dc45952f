//! `SymbolIndex`. The lock is held for moments, never while a file is parsed or Python code runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple, PyType};
use sparecall_core::error::Result;
use sparecall_outline::{Diff, Language, SymbolIndex as Core};

use super::entry::{IndexedSymbol, SymbolDiff};
use super::source::Source;
use super::{DETACH_ABOVE, PARSE, PARSER, check_seconds, clock};
use crate::error::{guard, to_python};
use crate::file::{self, Replacement};
use crate::queue::Work;

/// What a subject is made of: kind, language, name path, signature, docstring, text, and the name paths and signatures of what it names.
type Parts = (&'static str, &'static str, String, String, Option<String>, String, Vec<(String, String)>);

/// The symbols of many files, updated file by file.
#[pyclass(frozen, subclass, module = "sparecall.outline")]
pub(crate) struct SymbolIndex {
    index: Arc<Mutex<Core>>,
}

fn lock(index: &Mutex<Core>) -> MutexGuard<'_, Core> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An update with all that it reads: good for any thread.
struct Job {
    index: Arc<Mutex<Core>>,
    path: String,
    source: Source,
    language: Option<String>,
    seconds: f64,
}

impl Job {
    /// Nanoseconds that it is predicted to take: a tenth where the tree from before is there.
    fn predict(&self) -> f64 {
        let known = lock(&self.index).has_tree(&self.path);
        self.source.max_len() as f64 * PARSE * if known { 0.1 } else { 1.5 }
    }

    fn run(&self) -> Result<(Diff, Arc<[IndexedSymbol]>)> {
        let mut expired = clock(self.seconds);
        let language = self.language.as_deref().map(Language::from_name).transpose()?;
        let text = self.source.read().text;
        let begun = lock(&self.index).begin(&self.path, text, language)?;
        let read = PARSER.with_borrow_mut(|parser| begun.read(parser, &mut expired))?;
        let mut index = lock(&self.index);
        let diff = index.finish(read);
        let now = IndexedSymbol::all(&self.path, index.symbols(&self.path).unwrap_or_default());
        Ok((diff, now))
    }
}

fn finish(py: Python<'_>, done: Result<(Diff, Arc<[IndexedSymbol]>)>) -> PyResult<SymbolDiff> {
    let (diff, now) = done.map_err(|error| to_python(py, &error))?;
    SymbolDiff::new(py, diff, &now)
}

#[pymethods]
impl SymbolIndex {
    #[new]
    #[pyo3(
        signature = (*, max_bytes=268_435_456, code_only=false),
        text_signature = "(*, max_bytes=268435456, code_only=False)"
    )]
    fn new(max_bytes: usize, code_only: bool) -> Self {
        Self { index: Arc::new(Mutex::new(Core::new(max_bytes, code_only))) }
    }

    /// Reads `source` as what the file at `path` holds now, and returns what that changed.
    #[pyo3(
        signature = (path, source, *, language=None, max_seconds=60.0),
        text_signature = "($self, path, source, *, language=None, max_seconds=60.0)"
    )]
    fn update(
        &self,
        py: Python<'_>,
        path: String,
        source: &Bound<'_, PyAny>,
        language: Option<String>,
        max_seconds: f64,
    ) -> PyResult<SymbolDiff> {
        let job = self.job(py, path, source, language, max_seconds)?;
        guard(py, || {
            let done = if job.predict() > DETACH_ABOVE { py.detach(|| job.run()) } else { job.run() };
            finish(py, done)
        })
    }

    /// What `update` returns where that is quick, else work for the workers.
    fn _update_or_work<'py>(
        &self,
        py: Python<'py>,
        path: String,
        source: &Bound<'py, PyAny>,
        language: Option<String>,
        max_seconds: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let job = self.job(py, path, source, language, max_seconds)?;
        guard(py, || {
            let predicted = job.predict();
            if predicted <= DETACH_ABOVE {
                return Ok(Bound::new(py, finish(py, job.run())?)?.into_any());
            }
            let finish = |py: Python<'_>, done| Ok(Py::new(py, finish(py, done)?)?.into_any());
            Ok(Bound::new(py, Work::new(predicted / 1e9, move || job.run(), finish))?.into_any())
        })
    }

    /// Forgets the file at `path`, and returns which symbols that were; none where it is not known.
    fn remove(&self, py: Python<'_>, path: &str) -> PyResult<SymbolDiff> {
        guard(py, || {
            let removed = lock(&self.index).remove(path).unwrap_or_default();
            SymbolDiff::new(py, Diff { removed, ..Diff::default() }, &[])
        })
    }

    /// The symbols of the file at `path`, the file itself first; none where it is not known.
    fn symbols<'py>(&self, py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyTuple>> {
        let all = IndexedSymbol::all(path, lock(&self.index).symbols(path).unwrap_or_default());
        PyTuple::new(py, all.iter().cloned())
    }

    /// The text of one of the symbols that the file at its path has now.
    fn text(&self, py: Python<'_>, symbol: &IndexedSymbol) -> PyResult<String> {
        {
            let index = lock(&self.index);
            symbol.number_in(&index).and_then(|number| index.text(&symbol.path, number))
        }
        .map_err(|error| to_python(py, &error))
    }

    /// The paths of the files, in no order.
    fn paths(&self) -> Vec<String> {
        lock(&self.index).paths().map(ToString::to_string).collect()
    }

    /// About how many bytes are held: outlines, sources, trees.
    fn held(&self) -> (usize, usize, usize) {
        let held = lock(&self.index).held();
        (held.outlines, held.sources, held.trees)
    }

    /// Whether white space and comments do not count.
    #[getter]
    fn code_only(&self) -> bool {
        lock(&self.index).code_only()
    }

    /// The key of what is derived from the symbol as its file has it now.
    fn _key<'py>(&self, py: Python<'py>, symbol: &IndexedSymbol, whole: bool) -> PyResult<Bound<'py, PyBytes>> {
        let index = lock(&self.index);
        let key = symbol.number_in(&index).and_then(|number| index.key(&symbol.path, number, whole));
        Ok(PyBytes::new(py, &key.map_err(|error| to_python(py, &error))?.to_le_bytes()))
    }

    /// That key, and what a result may be derived from.
    fn _subject<'py>(
        &self,
        py: Python<'py>,
        symbol: &IndexedSymbol,
        whole: bool,
    ) -> PyResult<(Bound<'py, PyBytes>, Parts)> {
        let (key, found) = {
            let mut index = lock(&self.index);
            let found = symbol.number_in(&index).and_then(|number| {
                Ok((index.key(&symbol.path, number, whole)?, index.subject(&symbol.path, number, whole)?))
            });
            found.map_err(|error| to_python(py, &error))?
        };
        let names = found.names.into_iter().map(|(name, signature)| (name.into(), signature.into())).collect();
        let parts = (
            found.kind.name(),
            found.language.name(),
            found.name_path.into(),
            found.signature.into(),
            found.docstring.map(Into::into),
            found.text,
            names,
        );
        Ok((PyBytes::new(py, &key.to_le_bytes()), parts))
    }

    /// Writes outlines and hashes to `path`, in place of a file that was there.
    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let work = || {
            let bytes = lock(&self.index).save();
            let mut file = Replacement::create(&path)?;
            file.write(&bytes)?;
            file.commit()
        };
        guard(py, || py.detach(work).map_err(|error| file::to_python(&error, &path)))
    }

    /// The index that was saved to `path`.
    #[classmethod]
    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    #[pyo3(
        signature = (path, *, max_bytes=268_435_456),
        text_signature = "(path, *, max_bytes=268435456)"
    )]
    fn load<'py>(class: &Bound<'py, PyType>, path: PathBuf, max_bytes: usize) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        let loaded = guard(py, || {
            let bytes = py.detach(|| std::fs::read(&path)).map_err(|error| file::to_python(&error, &path))?;
            py.detach(|| Core::load(&bytes, max_bytes)).map_err(|error| to_python(py, &error))
        })?;
        let made = class.call0()?;
        *lock(&made.cast::<Self>()?.get().index) = loaded;
        Ok(made)
    }

    fn __len__(&self) -> usize {
        lock(&self.index).len()
    }

    fn __contains__(&self, path: &str) -> bool {
        lock(&self.index).symbols(path).is_some()
    }

    fn __repr__(&self) -> String {
        let index = lock(&self.index);
        format!("SymbolIndex(files={}, symbols={})", index.paths().count(), index.len())
    }
}

impl SymbolIndex {
    fn job(
        &self,
        py: Python<'_>,
        path: String,
        source: &Bound<'_, PyAny>,
        language: Option<String>,
        max_seconds: f64,
    ) -> PyResult<Job> {
        let (source, seconds) = (Source::of(source)?, check_seconds(py, max_seconds)?);
        Ok(Job { index: self.index.clone(), path, source, language, seconds })
    }
}
