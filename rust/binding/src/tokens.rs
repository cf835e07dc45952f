//! `sparecall.tokens`: find the encoding, read the texts, count.

mod chosen;
pub(crate) mod encoding;
mod meter;
mod prefix;
mod special;
mod truncate;

use std::cell::RefCell;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use sparecall_core::error::Error;
use sparecall_core::tokens::{Encoding, MAX_TEXT, TokenizerScratch};

use crate::error::{guard, to_python};
use crate::queue::Work;
use crate::text::{HeldText, Text};

pub(crate) use chosen::Chosen;
pub(crate) use meter::Meter;
pub(crate) use prefix::Prefix;
pub(crate) use truncate::tokens_truncate;

/// Counting this many bytes takes 200 microseconds, 900 at worst: releasing the interpreter costs more than that below it.
const DETACH_ABOVE: usize = 32 * 1024;

/// Long pieces cost a few times as much where all their prefixes are looked at.
const DETACH_PREFIXES_ABOVE: usize = DETACH_ABOVE / 4;

thread_local! {
    static SCRATCH: RefCell<TokenizerScratch> = RefCell::default();
}

/// Calls `work` with what this thread keeps from one count to the next. No Python code may run in it.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut TokenizerScratch) -> T) -> T {
    SCRATCH.with_borrow_mut(work)
}

/// Runs what looks at the prefixes of `length` bytes, without the interpreter where that takes long.
fn run<T: Send>(py: Python<'_>, encoding: &Encoding, length: usize, work: impl FnOnce() -> T + Send) -> T {
    let short = if encoding.is_indexed() { DETACH_PREFIXES_ABOVE } else { 256 };
    if length > short { py.detach(work) } else { work() }
}

fn find(py: Python<'_>, name: &str) -> PyResult<&'static Encoding> {
    let found = match Encoding::is_ready(name) {
        Ok(true) => Encoding::by_name(name),
        Ok(false) => py.detach(|| Encoding::by_name(name)),
        Err(error) => Err(error),
    };
    found.map_err(|error| to_python(py, &error))
}

pub(crate) fn check_length(py: Python<'_>, name: &'static str, text: &Text<'_>) -> PyResult<usize> {
    let length = text.max_utf8_len();
    if length <= MAX_TEXT {
        return Ok(length);
    }
    let value = format!("up to {length} bytes long");
    let limit = format!("at most {MAX_TEXT} can be counted at once: count it in parts");
    Err(to_python(py, &Error::InvalidArgument { name, value, limit }))
}

/// What an iterable of texts holds; one `str` in its place is a `TypeError`.
fn objects<'py>(texts: &Bound<'py, PyAny>, name: &str) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if texts.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!("{name} must be an iterable of str, not one str")));
    }
    texts.try_iter()?.collect()
}

/// The texts of an iterable's objects, and the most bytes their UTF-8 can have together.
fn views<'a>(py: Python<'_>, texts: &'a [Bound<'_, PyAny>], name: &'static str) -> PyResult<(Vec<Text<'a>>, usize)> {
    let mut length = 0;
    let mut views = Vec::with_capacity(texts.len());
    for (i, object) in texts.iter().enumerate() {
        let view = Text::of(object, format_args!("{name}[{i}]"))?;
        length += check_length(py, name, &view)?;
        views.push(view);
    }
    Ok((views, length))
}

/// Count the tokens of `text`, as tiktoken's `len(encode_ordinary(text))`.
#[pyfunction]
#[pyo3(signature = (text, encoding = "o200k_base"))]
pub(crate) fn tokens_count(py: Python<'_>, text: &Bound<'_, PyAny>, encoding: &str) -> PyResult<usize> {
    guard(py, || {
        let text = Text::of(text, "text")?;
        let length = check_length(py, "text", &text)?;
        let encoding = find(py, encoding)?;
        let work = || with_scratch(|scratch| encoding.count_with(&text.utf8(), &mut scratch.fast));
        Ok(if length > DETACH_ABOVE { py.detach(work) } else { work() })
    })
}

/// Count the tokens of each of `texts`, in their order.
#[pyfunction]
#[pyo3(signature = (texts, encoding = "o200k_base"))]
pub(crate) fn tokens_count_many(py: Python<'_>, texts: &Bound<'_, PyAny>, encoding: &str) -> PyResult<Vec<usize>> {
    guard(py, || {
        let texts = objects(texts, "texts")?;
        let (views, length) = views(py, &texts, "texts")?;
        let encoding = find(py, encoding)?;
        let count =
            |text: &Text<'_>, scratch: &mut TokenizerScratch| encoding.count_with(&text.utf8(), &mut scratch.fast);
        let work = || with_scratch(|scratch| views.iter().map(|text| count(text, scratch)).collect());
        Ok(if length > DETACH_ABOVE { py.detach(work) } else { work() })
    })
}

/// The tokens of a text that Rust holds.
pub(crate) fn count_str(py: Python<'_>, text: &str, encoding: &str) -> PyResult<usize> {
    guard(py, || {
        let encoding = find(py, encoding)?;
        let work = || with_scratch(|scratch| encoding.count_with(text, &mut scratch.fast));
        Ok(if text.len() > DETACH_ABOVE { py.detach(work) } else { work() })
    })
}

/// Nanoseconds a byte that counting is predicted to take.
const COUNT: f64 = 6.0;

fn seconds(length: usize) -> f64 {
    COUNT * length as f64 / 1e9
}

/// `tokens_count` as work for the workers, which expand the encoding too where that was not done yet.
#[pyfunction]
pub(crate) fn _tokens_count_work(py: Python<'_>, text: &Bound<'_, PyAny>, encoding: String) -> PyResult<Work> {
    let text = HeldText::of(text, "text")?;
    let length = check_length(py, "text", text.text())?;
    let work = move || {
        let encoding = Encoding::by_name(&encoding)?;
        Ok(with_scratch(|scratch| encoding.count_with(&text.text().utf8(), &mut scratch.fast)))
    };
    Ok(Work::new(seconds(length), work, to_object))
}

/// `tokens_count_many`, likewise.
#[pyfunction]
pub(crate) fn _tokens_count_many_work(py: Python<'_>, texts: &Bound<'_, PyAny>, encoding: String) -> PyResult<Work> {
    let (mut length, mut held) = (0, Vec::new());
    for (i, object) in objects(texts, "texts")?.iter().enumerate() {
        let text = HeldText::of(object, format_args!("texts[{i}]"))?;
        length += check_length(py, "texts", text.text())?;
        held.push(text);
    }
    let work = move || {
        let encoding = Encoding::by_name(&encoding)?;
        let count = |scratch: &mut TokenizerScratch, text: &HeldText| {
            encoding.count_with(&text.text().utf8(), &mut scratch.fast)
        };
        Ok(with_scratch(|scratch| held.iter().map(|text| count(scratch, text)).collect::<Vec<usize>>()))
    };
    Ok(Work::new(seconds(length), work, to_object))
}

fn to_object<T>(py: Python<'_>, counted: sparecall_core::error::Result<T>) -> PyResult<Py<PyAny>>
where
    T: for<'py> IntoPyObject<'py>,
{
    counted.map_err(|error| to_python(py, &error))?.into_py_any(py)
}

/// List the names of the encodings that are shipped.
#[pyfunction]
pub(crate) fn tokens_encodings(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, Encoding::names())
}

/// For tests: the tokens of `text`.
#[pyfunction]
#[pyo3(signature = (text, encoding))]
pub(crate) fn _tokens_encode(py: Python<'_>, text: &Bound<'_, PyAny>, encoding: &str) -> PyResult<Vec<u32>> {
    guard(py, || {
        let text = Text::of(text, "text")?;
        check_length(py, "text", &text)?;
        Ok(find(py, encoding)?.encode(&text.utf8()))
    })
}

/// For tests: the bytes of every token and its rank.
#[pyfunction]
pub(crate) fn _tokens_ranks<'py>(py: Python<'py>, encoding: &str) -> PyResult<Bound<'py, PyDict>> {
    guard(py, || {
        let encoding = find(py, encoding)?;
        let ranks = PyDict::new(py);
        for rank in 0..encoding.vocabulary_len() as u32 {
            ranks.set_item(encoding.token(rank).map(|token| PyBytes::new(py, token)), rank)?;
        }
        Ok(ranks)
    })
}
