//! `Outline` and `Symbol`, as Python sees them: views of one shared source.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use sparecall_outline as core;

use super::source::Read;
use crate::error::guard;
use crate::tokens::count_str;

/// A source and what it defines.
pub(crate) struct Shared {
    pub(crate) read: Read,
    pub(crate) outline: core::Outline,
}

/// What a source defines. Immutable.
#[pyclass(frozen, module = "sparecall.outline")]
pub(crate) struct Outline {
    shared: Arc<Shared>,
}

impl Outline {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    fn symbol(&self, at: usize) -> OutlineSymbol {
        OutlineSymbol { shared: self.shared.clone(), at }
    }
}

#[pymethods]
impl Outline {
    /// The language's name.
    #[getter]
    fn language(&self) -> &'static str {
        self.shared.outline.language.name()
    }

    /// The source as text.
    #[getter]
    fn source(&self) -> &str {
        &self.shared.read.text
    }

    /// By which encoding bytes were read: utf-8, utf-8-sig, utf-16-le, utf-16-be or latin-1; None where the source was text.
    #[getter]
    fn encoding(&self) -> Option<&'static str> {
        self.shared.read.encoding
    }

    /// Whether some bytes could not be read, and stand as U+FFFD.
    #[getter]
    fn lossy(&self) -> bool {
        self.shared.read.lossy
    }

    /// Whether parts could not be parsed. The symbols around them are there.
    #[getter]
    fn has_errors(&self) -> bool {
        self.shared.outline.has_errors
    }

    /// The symbols, in the order they start; a parent stands before its children.
    #[getter]
    fn symbols<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let all = (0..self.shared.outline.symbols.len()).map(|at| Py::new(py, self.symbol(at)));
        PyTuple::new(py, all.collect::<PyResult<Vec<_>>>()?)
    }

    /// The source without what its functions do; `keep` stays whole.
    #[pyo3(signature = (keep=Vec::new()), text_signature = "($self, keep=())")]
    fn skeleton(&self, py: Python<'_>, keep: Vec<String>) -> PyResult<Skeleton> {
        let shared = self.shared.clone();
        let work = move || {
            let keep: Vec<&str> = keep.iter().map(String::as_str).collect();
            shared.outline.skeleton(&shared.read.text, &keep)
        };
        guard(py, || {
            let made = if self.shared.read.text.len() > SKELETON_DETACH { py.detach(work) } else { work() };
            Ok(Skeleton { made })
        })
    }

    /// How many tokens the source has.
    #[pyo3(signature = (encoding="o200k_base"))]
    fn tokens(&self, py: Python<'_>, encoding: &str) -> PyResult<usize> {
        count_str(py, &self.shared.read.text, encoding)
    }

    fn __len__(&self) -> usize {
        self.shared.outline.symbols.len()
    }

    fn __repr__(&self) -> String {
        let outline = &self.shared.outline;
        format!(
            "Outline(language={:?}, symbols={}, has_errors={})",
            outline.language.name(),
            outline.symbols.len(),
            if outline.has_errors { "True" } else { "False" }
        )
    }
}

/// Bytes of a source above which the interpreter is let go while it is cut.
const SKELETON_DETACH: usize = 32 * 1024;

/// A source without what its functions do. Immutable; `str()` of it is its text.
#[pyclass(frozen, module = "sparecall.outline")]
pub(crate) struct Skeleton {
    made: core::Skeleton,
}

#[pymethods]
impl Skeleton {
    /// The text.
    #[getter]
    fn text(&self) -> &str {
        &self.made.text
    }

    /// The name paths of the symbols that stayed whole, as was asked.
    #[getter]
    fn kept<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.made.kept.iter().map(|name| &**name))
    }

    /// How many bodies were left out.
    #[getter]
    fn elided(&self) -> usize {
        self.made.elided
    }

    /// How many tokens the text has.
    #[pyo3(signature = (encoding="o200k_base"))]
    fn tokens(&self, py: Python<'_>, encoding: &str) -> PyResult<usize> {
        count_str(py, &self.made.text, encoding)
    }

    fn __str__(&self) -> &str {
        &self.made.text
    }

    fn __repr__(&self) -> String {
        format!("Skeleton(bytes={}, kept={}, elided={})", self.made.text.len(), self.made.kept.len(), self.made.elided)
    }
}

/// What a source defines at one place. Immutable.
#[pyclass(frozen, name = "Symbol", module = "sparecall.outline")]
pub(crate) struct OutlineSymbol {
    shared: Arc<Shared>,
    at: usize,
}

impl OutlineSymbol {
    fn one(&self) -> &core::Symbol {
        &self.shared.outline.symbols[self.at]
    }
}

#[pymethods]
impl OutlineSymbol {
    /// What it is: class, function, method, variable and so on.
    #[getter]
    fn kind(&self) -> &'static str {
        self.one().kind.name()
    }

    /// Its own name.
    #[getter]
    fn name(&self) -> &str {
        self.one().name()
    }

    /// Its names from the outermost in, joined by dots.
    #[getter]
    fn name_path(&self) -> &str {
        &self.one().name_path
    }

    /// Its text from its first word, decorators left out, to its body.
    #[getter]
    fn signature(&self) -> &str {
        self.shared.outline.signature(&self.shared.read.text, self.one())
    }

    /// The first line of its docstring or doc comment.
    #[getter]
    fn docstring(&self) -> Option<&str> {
        self.shared.outline.docstring(&self.shared.read.text, self.one())
    }

    /// All of it, with its decorators and the comments directly above.
    #[getter]
    fn text(&self) -> &str {
        self.shared.outline.text(&self.shared.read.text, self.one())
    }

    /// The symbol that holds it.
    #[getter]
    fn parent(&self) -> Option<Self> {
        self.one().parent.map(|at| Self { shared: self.shared.clone(), at: at as usize })
    }

    /// The first byte of its text in the source's UTF-8, and the one after its last.
    #[getter]
    fn byte_range(&self) -> (u32, u32) {
        (self.one().range.start, self.one().range.end)
    }

    /// The line on which its text starts, from 1.
    #[getter]
    fn first_line(&self) -> u32 {
        self.one().first_line
    }

    /// The line on which its text ends.
    #[getter]
    fn last_line(&self) -> u32 {
        self.one().last_line
    }

    fn __repr__(&self) -> String {
        let symbol = self.one();
        let (first, last) = (symbol.first_line, symbol.last_line);
        format!("Symbol({} {}, lines {first}-{last})", symbol.kind.name(), symbol.name_path)
    }
}
