//! `IndexedSymbol` and `SymbolDiff`: what an index says of symbols, without their text.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use sparecall_core::error::{Error, Result};
use sparecall_outline::{Diff, Entry, SymbolIndex, Was};

/// A symbol of an indexed file, as it was when it was asked for. Immutable; without its text.
#[pyclass(frozen, module = "sparecall.outline")]
#[derive(Clone)]
pub(crate) struct IndexedSymbol {
    pub(super) path: Arc<str>,
    /// Which of the file's symbols it is.
    #[pyo3(get)]
    pub(super) number: u32,
    entry: Arc<Entry>,
}

impl IndexedSymbol {
    pub(super) fn all(path: &str, entries: &[Entry]) -> Arc<[Self]> {
        let path: Arc<str> = path.into();
        let one = |(number, entry): (usize, &Entry)| Self {
            path: path.clone(),
            number: number as u32,
            entry: Arc::new(entry.clone()),
        };
        entries.iter().enumerate().map(one).collect()
    }

    /// Its number in the file as that is now.
    pub(super) fn number_in(&self, index: &SymbolIndex) -> Result<u32> {
        let entries = index.symbols(&self.path).unwrap_or_default();
        let is_it = |entry: &Entry| entry.kind == self.entry.kind && entry.name_path == self.entry.name_path;
        if entries.get(self.number as usize).is_some_and(is_it) {
            return Ok(self.number);
        }
        let found = entries.iter().position(is_it);
        found.map(|at| at as u32).ok_or_else(|| Error::InvalidArgument {
            name: "symbol",
            value: "no longer in its file".to_owned(),
            limit: "ask the index for the file's symbols again".to_owned(),
        })
    }
}

#[pymethods]
impl IndexedSymbol {
    /// The path of its file.
    #[getter]
    fn path(&self) -> &str {
        &self.path
    }

    /// The name of its language.
    #[getter]
    fn language(&self) -> &'static str {
        self.entry.language.name()
    }

    /// What it is: class, function, method and so on; the file itself is a module.
    #[getter]
    fn kind(&self) -> &'static str {
        self.entry.kind.name()
    }

    /// Its own name; of the file none.
    #[getter]
    fn name(&self) -> &str {
        self.entry.name()
    }

    /// Its names from the outermost in, joined by dots.
    #[getter]
    fn name_path(&self) -> &str {
        &self.entry.name_path
    }

    /// Its text from its first word, decorators left out, to its body.
    #[getter]
    fn signature(&self) -> &str {
        &self.entry.signature
    }

    /// The first line of its docstring or doc comment.
    #[getter]
    fn docstring(&self) -> Option<&str> {
        self.entry.docstring.as_deref()
    }

    /// The number of the symbol that holds it.
    #[getter]
    fn parent(&self) -> Option<u32> {
        self.entry.parent
    }

    /// The first byte of its text in the source's UTF-8, and the one after its last.
    #[getter]
    fn byte_range(&self) -> (u32, u32) {
        (self.entry.range.start, self.entry.range.end)
    }

    /// The line on which its text starts, from 1.
    #[getter]
    fn first_line(&self) -> u32 {
        self.entry.first_line
    }

    /// The line on which its text ends.
    #[getter]
    fn last_line(&self) -> u32 {
        self.entry.last_line
    }

    /// The hash of all its text; of its code where only that counts.
    #[getter]
    fn hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.entry.hash().to_le_bytes())
    }

    /// Likewise of its own text: without what is inside the symbols in it.
    #[getter]
    fn own_hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.entry.own_hash().to_le_bytes())
    }

    fn __repr__(&self) -> String {
        let entry = &self.entry;
        let (kind, first, last) = (entry.kind.name(), entry.first_line, entry.last_line);
        format!("IndexedSymbol({kind} {}, lines {first}-{last} of {:?})", entry.name_path, self.path)
    }
}

/// A symbol as it was before an update.
#[pyclass(frozen, get_all, module = "sparecall.outline")]
#[derive(Clone)]
pub(crate) struct FormerSymbol {
    /// The path of its file.
    path: String,
    /// What it was.
    kind: &'static str,
    /// Its names from the outermost in, joined by dots.
    name_path: String,
    /// The line on which its text started, from 1.
    first_line: u32,
    /// The line on which its text ended.
    last_line: u32,
}

#[pymethods]
impl FormerSymbol {
    fn __repr__(&self) -> String {
        let Self { path, kind, name_path, first_line, last_line } = self;
        format!("FormerSymbol({kind} {name_path}, lines {first_line}-{last_line} of {path:?})")
    }
}

impl From<Was> for FormerSymbol {
    fn from(was: Was) -> Self {
        Self {
            path: was.path.into(),
            kind: was.kind.name(),
            name_path: was.name_path.into(),
            first_line: was.first_line,
            last_line: was.last_line,
        }
    }
}

/// What an update changed. Each symbol of the file is in one of its tuples, and each that is gone in `removed`. Immutable.
#[pyclass(frozen, get_all, module = "sparecall.outline")]
pub(crate) struct SymbolDiff {
    /// The symbols that were not there before.
    added: Py<PyTuple>,
    /// The symbols whose own text changed, each after what it was.
    modified: Py<PyTuple>,
    /// The symbols whose own text is as before, while that of a symbol inside is not.
    enclosing: Py<PyTuple>,
    /// The symbols with the same text elsewhere, each after what it was.
    moved: Py<PyTuple>,
    /// The symbols that are gone, as they were.
    removed: Py<PyTuple>,
    /// The symbols of which all text is as before.
    unchanged: Py<PyTuple>,
}

impl SymbolDiff {
    pub(super) fn new(py: Python<'_>, diff: Diff, now: &[IndexedSymbol]) -> PyResult<Self> {
        let one = |at: u32| now[at as usize].clone();
        let some = |numbers: Vec<u32>| PyTuple::new(py, numbers.into_iter().map(one)).map(Bound::unbind);
        let pairs = |pairs: Vec<(Was, u32)>| {
            let pairs = pairs.into_iter().map(|(was, at)| (FormerSymbol::from(was), one(at)));
            PyTuple::new(py, pairs.collect::<Vec<_>>()).map(Bound::unbind)
        };
        Ok(Self {
            added: some(diff.added)?,
            modified: pairs(diff.modified)?,
            enclosing: some(diff.enclosing)?,
            moved: pairs(diff.moved)?,
            removed: PyTuple::new(py, diff.removed.into_iter().map(FormerSymbol::from).collect::<Vec<_>>())?.unbind(),
            unchanged: some(diff.unchanged)?,
        })
    }
}

#[pymethods]
impl SymbolDiff {
    fn __repr__(&self, py: Python<'_>) -> String {
        let [added, modified, enclosing, moved, removed, unchanged] =
            [&self.added, &self.modified, &self.enclosing, &self.moved, &self.removed, &self.unchanged]
                .map(|of| of.bind(py).len());
        format!(
            "SymbolDiff(added={added}, modified={modified}, enclosing={enclosing}, moved={moved}, removed={removed}, unchanged={unchanged})"
        )
    }
}
