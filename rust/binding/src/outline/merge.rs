//! `Merged` and `MergeConflict`: a three-way merge of sources, as Python sees it.

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use sparecall_core::error::{Error, Result};
use sparecall_outline::Language;
use sparecall_outline::merge::{self, By, Excerpt};

use super::{DETACH_ABOVE, PARSE, PARSER, check_seconds, chosen, clock};
use crate::error::{guard, to_python};
use crate::queue::Work;
use crate::text::HeldText;

/// The merge of two edits of a source, or the conflicts that stand in its way. Immutable.
#[pyclass(frozen, module = "sparecall.outline")]
pub(crate) struct Merged {
    inner: merge::Merged,
}

#[pymethods]
impl Merged {
    /// The merged text; None where there are conflicts.
    #[getter]
    fn text(&self) -> Option<&str> {
        self.inner.text()
    }

    /// The places where the sides do not agree.
    #[getter]
    fn conflicts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let all = self.inner.conflicts.iter().map(|conflict| Py::new(py, MergeConflict { inner: conflict.clone() }));
        PyTuple::new(py, all.collect::<PyResult<Vec<_>>>()?)
    }

    /// The name paths of the symbols that both sides changed, in lines apart: their text is neither side's.
    #[getter]
    fn combined<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.inner.combined)
    }

    /// How it was merged: side, lines or symbols; None where there are conflicts.
    #[getter]
    fn by(&self) -> Option<&'static str> {
        match self.inner.by {
            By::Side => Some("side"),
            By::Lines => Some("lines"),
            By::Symbols => Some("symbols"),
            By::None => None,
        }
    }

    /// The text with the usual markers at each conflict.
    #[pyo3(signature = (*, ours = "ours", theirs = "theirs", base = None), text_signature = "($self, *, ours='ours', theirs='theirs', base=None)")]
    fn marked(&self, ours: &str, theirs: &str, base: Option<&str>) -> String {
        self.inner.marked(ours, base, theirs)
    }

    fn __repr__(&self) -> String {
        match self.by() {
            Some(by) => format!("Merged(by={by:?}, combined={})", self.inner.combined.len()),
            None => format!("Merged(conflicts={})", self.inner.conflicts.len()),
        }
    }
}

/// A place where the two sides of a merge do not agree. Immutable.
#[pyclass(frozen, module = "sparecall.outline")]
pub(crate) struct MergeConflict {
    inner: merge::Conflict,
}

fn lines(excerpt: &Excerpt) -> Option<(usize, usize)> {
    excerpt.lines.as_ref().map(|Range { start, end }| (start + 1, *end))
}

#[pymethods]
impl MergeConflict {
    /// Why: both changed, both added, removed and changed, defined twice, symbol lost, does not parse.
    #[getter]
    fn reason(&self) -> &'static str {
        self.inner.reason.name()
    }

    /// The name path of the symbol it is in; empty outside of all.
    #[getter]
    fn symbol(&self) -> &str {
        &self.inner.symbol
    }

    /// What the base has there.
    #[getter]
    fn base(&self) -> &str {
        &self.inner.base.text
    }

    /// What our side has there.
    #[getter]
    fn ours(&self) -> &str {
        &self.inner.ours.text
    }

    /// What their side has there.
    #[getter]
    fn theirs(&self) -> &str {
        &self.inner.theirs.text
    }

    /// The first and last line of that in the base, from 1; the last is before the first where it is empty. None: it has no such place.
    #[getter]
    fn base_lines(&self) -> Option<(usize, usize)> {
        lines(&self.inner.base)
    }

    /// Likewise on our side.
    #[getter]
    fn our_lines(&self) -> Option<(usize, usize)> {
        lines(&self.inner.ours)
    }

    /// Likewise on their side.
    #[getter]
    fn their_lines(&self) -> Option<(usize, usize)> {
        lines(&self.inner.theirs)
    }

    fn __repr__(&self) -> String {
        format!("MergeConflict({:?}, symbol={:?})", self.inner.reason.name(), self.inner.symbol)
    }
}

/// The three versions, held.
struct Versions {
    texts: [HeldText; 3],
    language: Language,
}

impl Versions {
    fn of(py: Python<'_>, texts: [&Bound<'_, PyAny>; 3], language: Option<&str>, path: Option<&str>) -> PyResult<Self> {
        let [base, ours, theirs] = texts;
        let texts = [HeldText::of(base, "base")?, HeldText::of(ours, "ours")?, HeldText::of(theirs, "theirs")?];
        let first = texts[0].text().utf8();
        let language = chosen(language, path, &first).map_err(|error| to_python(py, &error))?;
        Ok(Self { texts, language })
    }

    /// Nanoseconds: five parses, and what is compared.
    fn predicted(&self) -> f64 {
        self.texts.iter().map(|text| text.text().max_utf8_len()).sum::<usize>() as f64 * PARSE * 2.0
    }

    fn merge(&self, seconds: f64) -> Result<Merged> {
        let mut expired = clock(seconds);
        let texts = self.texts.each_ref().map(|text| text.text().utf8());
        let versions = texts.each_ref().map(|text| &**text);
        let merge = |parser: &mut sparecall_outline::Parser| parser.merge_until(versions, self.language, &mut expired);
        Ok(Merged { inner: PARSER.with_borrow_mut(merge)? })
    }
}

/// The merge of what two sides made of a source.
#[pyfunction]
#[pyo3(
    signature = (base, ours, theirs, language=None, *, path=None, max_seconds=10.0),
    text_signature = "(base, ours, theirs, language=None, *, path=None, max_seconds=10.0)"
)]
pub(crate) fn outline_merge(
    py: Python<'_>,
    base: &Bound<'_, PyAny>,
    ours: &Bound<'_, PyAny>,
    theirs: &Bound<'_, PyAny>,
    language: Option<&str>,
    path: Option<&str>,
    max_seconds: f64,
) -> PyResult<Merged> {
    let seconds = check_seconds(py, max_seconds)?;
    guard(py, || {
        let versions = Versions::of(py, [base, ours, theirs], language, path)?;
        let work = || versions.merge(seconds);
        let merged = if versions.predicted() > DETACH_ABOVE { py.detach(work) } else { work() };
        merged.map_err(|error: Error| to_python(py, &error))
    })
}

/// `outline_merge` as work for the workers.
#[pyfunction]
pub(crate) fn _outline_merge_work(
    py: Python<'_>,
    base: &Bound<'_, PyAny>,
    ours: &Bound<'_, PyAny>,
    theirs: &Bound<'_, PyAny>,
    language: Option<&str>,
    path: Option<&str>,
    max_seconds: f64,
) -> PyResult<Work> {
    let seconds = check_seconds(py, max_seconds)?;
    guard(py, || {
        let versions = Versions::of(py, [base, ours, theirs], language, path)?;
        let predicted = versions.predicted() / 1e9;
        let work = move || versions.merge(seconds);
        Ok(Work::new(predicted, work, |py, merged| {
            let merged = merged.map_err(|error| to_python(py, &error))?;
            Ok(Py::new(py, merged)?.into_any())
        }))
    })
}
