//! `sparecall.context`, its native part: documents made ready, pointers to what stands above, and the choice under a budget.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList, PyString};
use sparecall_core::context::{self, Document, Item, MARKER, Options, Repeats};
use sparecall_core::error::Error;

use crate::error::{guard, to_python};
use crate::text::Text;
use crate::tokens::{Chosen, check_length, with_scratch};

/// Reading so many bytes takes half a millisecond.
const DETACH_ABOVE: usize = 32 * 1024;
/// Choosing among so many segments takes half a millisecond.
const DETACH_ABOVE_SEGMENTS: usize = 1_000;

/// A text in segments, with the tokens, words and values of each. Immutable.
#[pyclass(frozen, module = "sparecall._core", name = "ContextDocument")]
pub(crate) struct ContextDocument {
    inner: Document,
}

#[pymethods]
#[allow(clippy::needless_pass_by_value)] // what pyo3 hands over
impl ContextDocument {
    #[new]
    #[pyo3(signature = (text, encoding, /, *, compact = false))]
    fn new(py: Python<'_>, text: &Bound<'_, PyAny>, encoding: Chosen, compact: bool) -> PyResult<Self> {
        guard(py, || {
            let text = Text::of(text, "text")?;
            let length = check_length(py, "text", &text)?;
            let work = || {
                let text = text.utf8();
                with_scratch(|scratch| Self { inner: Document::new(&text, compact, &encoding, &mut scratch.fast) })
            };
            Ok(if length > DETACH_ABOVE { py.detach(work) } else { work() })
        })
    }

    /// The text, in its compact form where that has fewer tokens.
    #[getter]
    fn text(&self) -> &str {
        self.inner.text()
    }

    /// Whether `text` is the compact form of what came.
    #[getter]
    fn is_compact(&self) -> bool {
        self.inner.is_compact()
    }

    /// What the text looks like: `json`, `diff`, `test`, `log`, `code`, `data` or `prose`.
    #[getter]
    fn kind(&self) -> &'static str {
        self.inner.kind().name()
    }

    /// The tokens of `text`.
    #[getter]
    fn tokens(&self) -> u32 {
        self.inner.tokens()
    }

    /// The bytes it takes in memory, about.
    #[getter]
    fn size(&self) -> usize {
        self.inner.size()
    }

    /// How many segments it has.
    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn __repr__(&self) -> String {
        format!("ContextDocument({}, {} tokens in {} segments)", self.kind(), self.tokens(), self.inner.len())
    }
}

/// The texts so far, by their lines. One call at a time.
#[pyclass(frozen, module = "sparecall._core", name = "ContextRepeats")]
pub(crate) struct ContextRepeats {
    encoding: Chosen,
    inner: Mutex<Repeats>,
}

#[pymethods]
impl ContextRepeats {
    #[new]
    #[pyo3(signature = (encoding, /))]
    fn new(encoding: Chosen) -> Self {
        Self { encoding, inner: Mutex::default() }
    }

    /// Take a text in; return it with pointers for what stands in earlier ones, or None where nothing is gained.
    #[pyo3(signature = (text, /))]
    fn push(&self, py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        guard(py, || {
            let text = Text::of(text, "text")?;
            let length = check_length(py, "text", &text)?;
            let work = || {
                let text = text.utf8();
                let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                with_scratch(|scratch| inner.push(&text, &self.encoding, &mut scratch.fast))
            };
            Ok(if length > DETACH_ABOVE { py.detach(work) } else { work() })
        })
    }

    /// Another one that knows the same texts.
    fn copy(&self) -> Self {
        let inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Self { encoding: self.encoding.clone(), inner: Mutex::new(inner) }
    }
}

/// A document, its atom, whether it is part of that atom's costs, and how much what stands there weighs.
type Row<'py> = (Bound<'py, ContextDocument>, u32, bool, f32);

/// Choose what to keep of a conversation under `budget` tokens; see `_core.pyi`.
#[pyfunction]
#[pyo3(signature = (items, costs, *, budget, query = None, similar = None, whole = 0, half_life = 12.0, relevance = 0.2, prior = 0.2, again = 0.1))]
#[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // keywords of one Python function
pub(crate) fn context_select<'py>(
    py: Python<'py>,
    items: Vec<Row<'py>>,
    costs: Vec<u32>,
    budget: u32,
    query: Option<&Bound<'py, PyAny>>,
    similar: Option<Vec<f32>>,
    whole: u32,
    half_life: f32,
    relevance: f32,
    prior: f32,
    again: f32,
) -> PyResult<(Bound<'py, PyList>, u32)> {
    guard(py, || {
        let refuse = |name: &'static str, value: String, limit: &str| {
            to_python(py, &Error::InvalidArgument { name, value, limit: limit.to_owned() })
        };
        if items.iter().any(|row| row.1 as usize >= costs.len()) || !items.is_sorted_by_key(|row| row.1) {
            return Err(refuse("items", "of other atoms".to_owned(), "their atoms must be those of costs, in order"));
        }
        if similar.as_ref().is_some_and(|similar| similar.len() != items.len()) {
            return Err(refuse("similar", "of another length".to_owned(), "give a number for each item"));
        }
        let rows: Vec<Item<'_>> = items
            .iter()
            .map(|(document, atom, is_fixed, weight)| Item {
                document: &document.get().inner,
                atom: *atom,
                is_fixed: *is_fixed,
                weight: *weight,
            })
            .collect();
        let query = query.map(|query| Text::of(query, "query")).transpose()?;
        let query = query.as_ref().map(Text::utf8).unwrap_or_default();
        let options = Options { budget, marker: MARKER, whole, half_life, relevance, prior, again };
        let segments: usize = rows.iter().map(|row| row.document.len()).sum();
        let work = || {
            let choice = context::select(&rows, &costs, &query, similar.as_deref(), &options);
            let texts: Vec<Option<Option<String>>> = choice
                .kept
                .iter()
                .zip(&rows)
                .map(|(kept, row)| {
                    kept.as_ref().map(|kept| {
                        let whole = row.document.is_empty() || kept[..] == [(0, row.document.len() as u32)];
                        (!whole).then(|| context::render(row.document, kept))
                    })
                })
                .collect();
            (texts, choice.tokens)
        };
        let (texts, tokens) = if segments > DETACH_ABOVE_SEGMENTS { py.detach(work) } else { work() };
        let out = PyList::empty(py);
        for text in texts {
            match text {
                None => out.append(py.None())?,
                Some(None) => out.append(PyBool::new(py, true))?,
                Some(Some(text)) => out.append(PyString::new(py, &text))?,
            }
        }
        Ok((out, tokens))
    })
}
