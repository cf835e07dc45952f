//! `sparecall.context`, its native part: documents made ready, pointers to what stands above, and the choice under a budget.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};
use sparecall_core::context::{self, Board, HANDLE, Item, MARKER, Options, Repeats};
use sparecall_core::error::Error;

use crate::error::{guard, to_python};
use crate::text::Text;
use crate::tokens::{Chosen, check_length, with_scratch};

mod documents;

pub(crate) use documents::{ContextDocument, context_documents};

/// Reading so many bytes takes half a millisecond.
const DETACH_ABOVE: usize = 32 * 1024;
/// Choosing among so many segments takes half a millisecond.
const DETACH_ABOVE_SEGMENTS: usize = 1_000;

/// Cut a document to `budget` tokens; see `_core.pyi`.
#[pyfunction]
#[pyo3(signature = (document, encoding, /, *, budget, query = None, handle = ""))]
#[allow(clippy::needless_pass_by_value)] // what pyo3 hands over
pub(crate) fn context_reduce(
    py: Python<'_>,
    document: &Bound<'_, ContextDocument>,
    encoding: Chosen,
    budget: u32,
    query: Option<&Bound<'_, PyAny>>,
    handle: &str,
) -> PyResult<(String, Vec<String>)> {
    guard(py, || {
        let document = &document.get().inner;
        let query = query.map(|query| Text::of(query, "query")).transpose()?;
        let query = query.as_ref().map(Text::utf8).unwrap_or_default();
        let work =
            || with_scratch(|scratch| context::reduce(document, budget, &query, handle, &encoding, &mut scratch.fast));
        let reduced = if document.len() > DETACH_ABOVE_SEGMENTS { py.detach(work) } else { work() };
        Ok((reduced.text, reduced.removed))
    })
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
                let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                with_scratch(|scratch| inner.push(&text, &self.encoding, &mut scratch.fast))
            };
            Ok(if length > DETACH_ABOVE { py.detach(work) } else { work() })
        })
    }
}

/// What a choice leaves for the next one of the same conversation. One call at a time.
#[pyclass(frozen, module = "sparecall._core", name = "ContextBoard")]
pub(crate) struct ContextBoard {
    inner: Mutex<Laid>,
}

/// A board, and the items whose documents it has, or is to have.
#[derive(Default)]
struct Laid {
    board: Board,
    rows: Vec<Row>,
}

#[pymethods]
impl ContextBoard {
    #[new]
    fn new() -> Self {
        Self { inner: Mutex::default() }
    }

    /// The bytes it takes in memory, about.
    #[getter]
    fn size(&self) -> usize {
        let laid = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        laid.board.size() + laid.rows.len() * size_of::<Row>()
    }
}

/// A document, its atom, whether it is part of that atom's costs, and how much what stands there weighs.
type Row = (Py<ContextDocument>, u32, bool, f32);

/// Choose what to keep of a conversation under `budget` tokens; see `_core.pyi`.
#[pyfunction]
#[pyo3(signature = (items, costs, *, budget, query = None, similar = None, whole = 0, half_life = 12.0, relevance = 0.2, prior = 0.2, again = 0.1, later = 0.3, named = 0.6, crowd = 64.0, instructions = None, handles = None, board = None, same = 0))]
#[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // keywords of one Python function
pub(crate) fn context_select<'py>(
    py: Python<'py>,
    items: Vec<Row>,
    costs: Vec<u32>,
    budget: u32,
    query: Option<&Bound<'py, PyAny>>,
    similar: Option<Vec<f32>>,
    whole: u32,
    half_life: f32,
    relevance: f32,
    prior: f32,
    again: f32,
    later: f32,
    named: f32,
    crowd: f32,
    instructions: Option<Vec<Bound<'py, PyAny>>>,
    handles: Option<Vec<String>>,
    board: Option<&Bound<'py, ContextBoard>>,
    same: usize,
) -> PyResult<(Bound<'py, PyList>, u32)> {
    guard(py, || {
        let refuse = |name: &'static str, value: String, limit: &str| {
            to_python(py, &Error::InvalidArgument { name, value, limit: limit.to_owned() })
        };
        let count = same + items.len();
        if similar.as_ref().is_some_and(|similar| similar.len() != count) {
            return Err(refuse("similar", "of another length".to_owned(), "give a number for each item"));
        }
        if handles.as_ref().is_some_and(|handles| handles.len() != count) {
            return Err(refuse("handles", "of another length".to_owned(), "give one for each item"));
        }
        let query = query.map(|query| Text::of(query, "query")).transpose()?;
        let query = query.as_ref().map(Text::utf8).unwrap_or_default();
        let instructions: Vec<Text<'_>> =
            instructions.iter().flatten().map(|text| Text::of(text, "instructions")).collect::<PyResult<_>>()?;
        let handle = if handles.is_some() { HANDLE } else { 0 };
        let options = Options {
            budget,
            marker: MARKER,
            handle,
            whole,
            half_life,
            relevance,
            prior,
            again,
            later,
            named,
            crowd,
            commands: instructions.iter().flat_map(|text| context::commands(&text.utf8())).collect(),
        };
        let lock = || board.map(|board| board.get().inner.lock().unwrap_or_else(PoisonError::into_inner));
        if lock().map_or(0, |laid| laid.rows.len()) < same {
            return Err(refuse("same", same.to_string(), "at most the items of the board's last choice"));
        }
        // Taken out, so that nobody waits for the lock while another chooses.
        let mut laid = lock().map(|mut laid| std::mem::take(&mut *laid)).unwrap_or_default();
        laid.board.truncate(same.min(laid.board.len()));
        laid.rows.truncate(same);
        laid.rows.extend(items);
        if laid.rows.last().is_some_and(|row| row.1 as usize >= costs.len()) || !laid.rows.is_sorted_by_key(|row| row.1)
        {
            return Err(refuse("items", "of other atoms".to_owned(), "their atoms must be those of costs, in order"));
        }
        let Laid { board: known, rows } = &mut laid;
        let segments: usize = rows.iter().map(|row| row.0.get().inner.len()).sum();
        let mut work = || {
            let rows: Vec<Item<'_>> = rows
                .iter()
                .map(|(document, atom, is_fixed, weight)| Item {
                    document: &document.get().inner,
                    atom: *atom,
                    is_fixed: *is_fixed,
                    weight: *weight,
                })
                .collect();
            let choice = context::select(&rows, &costs, &query, similar.as_deref(), &options, known);
            (context::write(&rows, &choice, budget, handles.as_deref().unwrap_or_default(), known), choice.tokens)
        };
        let (texts, tokens) = if segments > DETACH_ABOVE_SEGMENTS { py.detach(work) } else { work() };
        if let Some(mut board) = lock() {
            *board = laid;
        }
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

/// So deep a message is looked into; what lies deeper is another.
const DEEPEST: u32 = 64;

/// Count the first messages that are the same in both lists; see `_core.pyi`.
#[pyfunction]
#[pyo3(signature = (earlier, later, /))]
#[allow(clippy::needless_pass_by_value)] // what pyo3 hands over
pub(crate) fn context_same(py: Python<'_>, earlier: Bound<'_, PyList>, later: Bound<'_, PyList>) -> PyResult<usize> {
    guard(py, || {
        for (count, (one, other)) in earlier.iter().zip(later.iter()).enumerate() {
            if !is_same(&one, &other, DEEPEST)? {
                return Ok(count);
            }
        }
        Ok(earlier.len().min(later.len()))
    })
}

/// Whether two values are the same JSON, the order of keys and the types of numbers included. Values of any other type are
/// never the same, so that no code of theirs runs.
fn is_same(one: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>, deepest: u32) -> PyResult<bool> {
    if one.is_exact_instance_of::<PyString>() {
        return Ok(other.is_exact_instance_of::<PyString>() && (one.is(other) || one.eq(other)?));
    }
    if deepest == 0 {
        return Ok(false);
    }
    if let (Ok(one), Ok(other)) = (one.cast_exact::<PyDict>(), other.cast_exact::<PyDict>()) {
        if one.len() != other.len() {
            return Ok(false);
        }
        for ((name, one), (other_name, other)) in one.iter().zip(other.iter()) {
            let is_text = name.is_exact_instance_of::<PyString>();
            if !is_text || !is_same(&name, &other_name, deepest)? || !is_same(&one, &other, deepest - 1)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if let (Ok(one), Ok(other)) = (one.cast_exact::<PyList>(), other.cast_exact::<PyList>()) {
        if one.len() != other.len() {
            return Ok(false);
        }
        for (one, other) in one.iter().zip(other.iter()) {
            if !is_same(&one, &other, deepest - 1)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if let (Ok(one), Ok(other)) = (one.cast_exact::<PyFloat>(), other.cast_exact::<PyFloat>()) {
        return Ok(one.value().to_bits() == other.value().to_bits());
    }
    if one.is_exact_instance_of::<PyInt>() && other.is_exact_instance_of::<PyInt>() {
        return one.eq(other);
    }
    // True, False and None are themselves.
    Ok(one.is(other) && (one.is_none() || one.is_exact_instance_of::<PyBool>()))
}
