//! `truncate`: the most of a text that fits a limit.

use pyo3::prelude::*;
use pyo3::types::{PyInt, PySlice, PyString};
use sparecall_core::error::Error;
use sparecall_core::tokens::Keep;

use super::chosen::Chosen;
use super::{check_length, run, with_scratch};
use crate::error::{guard, to_python, wrong_type};
use crate::text::Text;

/// Cut `text` so that it has at most `limit` tokens, with `marker` in place of what is left out.
#[pyfunction]
#[pyo3(signature = (text, limit, encoding = None, *, keep = "head", marker = ""),
       text_signature = "(text, limit, encoding='o200k_base', *, keep='head', marker='')")]
pub(crate) fn tokens_truncate<'py>(
    py: Python<'py>,
    text: &Bound<'py, PyAny>,
    limit: &Bound<'py, PyAny>,
    encoding: Option<Chosen>,
    keep: &str,
    marker: &str,
) -> PyResult<Bound<'py, PyAny>> {
    guard(py, || {
        let read = Text::of(text, "text")?;
        let length = check_length(py, "text", &read)?;
        let limit = limit_of(py, limit)?;
        let keep = keep_named(py, keep)?;
        let encoding = Chosen::or_default(py, encoding)?;
        let clipped = clip(text.cast::<PyString>()?, limit.saturating_mul(encoding.longest_token()))?;
        let (read, length) = match &clipped {
            Some(clipped) => (Text::of(clipped, "text")?, clipped.len()? * 4),
            None => (read, length),
        };
        let cut = run(py, &encoding, length + marker.len(), || {
            let text = read.utf8();
            let cut = with_scratch(|scratch| encoding.truncate(&text, limit, keep, marker, &mut scratch.fast))?;
            Ok(cut.map(|cut| [&text[..cut.head], marker, &text[cut.tail..]].concat()))
        });
        match cut {
            Ok(Some(kept)) => Ok(PyString::new(py, &kept).into_any()),
            Ok(None) => Ok(text.clone()),
            Err(error) => Err(to_python(py, &error)),
        }
    })
}

/// The two ends of a text that is far longer than `most` bytes, more than which cannot fit: of these all that is looked
/// at in the search is at most twice as far from the ends. So a long text need not be transcoded in full.
fn clip<'py>(text: &Bound<'py, PyString>, most: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
    const MARGIN: usize = 1024;
    let (len, end) = (text.len()?, most.saturating_mul(2).saturating_add(MARGIN));
    if len / 4 <= end {
        return Ok(None);
    }
    let part = |from: usize, to: usize| text.get_item(PySlice::new(text.py(), from.cast_signed(), to.cast_signed(), 1));
    Ok(Some(part(0, end)?.add(part(len - end, len)?)?))
}

/// A number of tokens, at least 1; one past all counts stands for them.
fn limit_of(py: Python<'_>, limit: &Bound<'_, PyAny>) -> PyResult<usize> {
    let Ok(number) = limit.cast::<PyInt>() else { return Err(wrong_type("limit", "int", limit)) };
    if number.lt(1)? {
        let limit = "it must be at least 1".to_owned();
        return Err(to_python(py, &Error::InvalidArgument { name: "limit", value: number.to_string(), limit }));
    }
    Ok(number.extract().unwrap_or(usize::MAX))
}

fn keep_named(py: Python<'_>, name: &str) -> PyResult<Keep> {
    match name {
        "head" => Ok(Keep::Head),
        "tail" => Ok(Keep::Tail),
        "both" => Ok(Keep::Both),
        _ => {
            let known = "head, tail, both".to_owned();
            Err(to_python(py, &Error::UnknownName { kind: "part to keep", name: name.to_owned(), known }))
        }
    }
}
