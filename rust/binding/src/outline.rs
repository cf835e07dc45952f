//! `sparecall.outline`: reads the source, picks the language, lets the interpreter go where the parse is long.

mod entry;
mod index;
mod merge;
mod source;
mod symbol;
mod words;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use sparecall_core::error::{Error, Result};
use sparecall_outline::{Language, Parser};

use crate::error::{guard, to_python};
use crate::queue::Work;

pub(crate) use entry::{FormerSymbol, IndexedSymbol, SymbolDiff};
pub(crate) use index::SymbolIndex;
pub(crate) use merge::{_outline_merge_work, MergeConflict, Merged, outline_merge};
use source::Source;
pub(crate) use symbol::{Outline, OutlineSymbol, Skeleton};
pub(crate) use words::SymbolWords;

/// Nanoseconds a byte that a parse is predicted to take.
const PARSE: f64 = 120.0;
/// Nanoseconds of work above which the interpreter is let go.
const DETACH_ABOVE: f64 = 500_000.0;

thread_local! {
    static PARSER: RefCell<Parser> = RefCell::default();
}

/// Says whether so many seconds have passed since this was called.
fn clock(seconds: f64) -> impl FnMut() -> bool + Send + 'static {
    let start = Instant::now();
    let most = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    move || start.elapsed() > most
}

/// `max_seconds`, if it is a time.
fn check_seconds(py: Python<'_>, seconds: f64) -> PyResult<f64> {
    if seconds > 0.0 {
        return Ok(seconds);
    }
    let limit = "give a number of seconds above 0".to_owned();
    Err(to_python(py, &Error::InvalidArgument { name: "max_seconds", value: seconds.to_string(), limit }))
}

/// The language that is named, else that of the path, else that of the first line.
fn chosen(language: Option<&str>, path: Option<&str>, text: &str) -> Result<Language> {
    language.map_or_else(|| Language::of_file(path.unwrap_or_default(), text), Language::from_name)
}

fn read(source: &Source, language: Option<&str>, path: Option<&str>, seconds: f64) -> Result<symbol::Shared> {
    let mut expired = clock(seconds);
    let read = source.read();
    let language = chosen(language, path, &read.text)?;
    let outline = PARSER.with_borrow_mut(|parser| parser.outline_until(&read.text, language, &mut expired))?;
    Ok(symbol::Shared { read, outline })
}

/// What a source defines.
#[pyfunction]
#[pyo3(
    signature = (source, language=None, *, path=None, max_seconds=60.0),
    text_signature = "(source, language=None, *, path=None, max_seconds=60.0)"
)]
pub(crate) fn outline_read(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    language: Option<&str>,
    path: Option<&str>,
    max_seconds: f64,
) -> PyResult<Outline> {
    let (source, seconds) = (Source::of(source)?, check_seconds(py, max_seconds)?);
    guard(py, || {
        let work = || read(&source, language, path, seconds);
        let found = if source.max_len() as f64 * PARSE > DETACH_ABOVE { py.detach(work) } else { work() };
        found.map(Outline::new).map_err(|error| to_python(py, &error))
    })
}

/// `outline_read` as work for the workers.
#[pyfunction]
pub(crate) fn _outline_work(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    language: Option<String>,
    path: Option<String>,
    max_seconds: f64,
) -> PyResult<Work> {
    let (source, seconds) = (Source::of(source)?, check_seconds(py, max_seconds)?);
    let predicted = source.max_len() as f64 * PARSE / 1e9;
    let work = move || read(&source, language.as_deref(), path.as_deref(), seconds);
    Ok(Work::new(predicted, work, |py, found| {
        let found = found.map_err(|error| to_python(py, &error))?;
        Ok(Py::new(py, Outline::new(found))?.into_any())
    }))
}

/// The names of the languages that can be read, each with the endings of its files' names.
#[pyfunction]
pub(crate) fn outline_languages() -> Vec<(&'static str, Vec<String>)> {
    let endings = |language: Language| language.extensions().iter().map(|ending| format!(".{ending}")).collect();
    Language::ALL.into_iter().map(|language| (language.name(), endings(language))).collect()
}
