//! `AdaptivePermit`: the right to one call under an adaptive limit. Entering and ending it costs no coroutine where nothing waits.

use pyo3::ffi::c_str;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use sparecall_core::error::Error;
use sparecall_core::flow::Size;

use super::adaptive_limit::{KINDS, LimitGate, Outcome};
use super::awaited::{done, install_await, with_itself};
use super::held::Held;
use super::lease::tokens_of;
use crate::error::to_python;
use crate::fastcall::{FastMethod, Method};

/// The right to make one call, for the length of an `async with`, or until `release`.
///
/// How it ends is what the limit learns from: `report` says so where no exception does, `answered` when a stream's first
/// token came, and `settle` how many tokens the answer had. One that is lost is taken back after the limit's `lease_for`
/// seconds; ending it later changes nothing.
#[pyclass(frozen, module = "sparecall.flow")]
pub(crate) struct AdaptivePermit {
    pub(super) limit: Py<LimitGate>,
    pub(super) kind: usize,
    pub(super) prompt: f64,
    pub(super) max_wait: Option<f64>,
    pub(super) held: Held<Use>,
}

/// What changes in a permit.
#[derive(Default)]
pub(super) struct Use {
    /// Of the call among those under way; none before and after.
    pub(super) number: Option<u64>,
    /// It was let through, ever.
    pub(super) begun: bool,
    pub(super) entered: bool,
    pub(super) size: Option<Size>,
    /// What was reported: a word, or an HTTP status.
    pub(super) outcome: Option<Py<PyAny>>,
}

impl AdaptivePermit {
    /// Ends a call that went well, where nothing was reported of it; else false.
    #[inline]
    fn end_plainly(&self, py: Python<'_>) -> PyResult<bool> {
        let (marked, size) = self.held.with(py, |used| (used.outcome.is_some(), used.size));
        if marked {
            return Ok(false);
        }
        LimitGate::end(self.limit.bind(py), self, Outcome::Well { size })?;
        Ok(true)
    }

    fn end(this: &Bound<'_, Self>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, permit) = (this.py(), this.get());
        if (error.is_none() && permit.end_plainly(py)?) || !permit.running(py)? {
            return Ok(());
        }
        permit.limit.bind(py).call_method1(intern!(py, "_end"), (this, error)).map(drop)
    }
}

#[pymethods]
impl AdaptivePermit {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // What it belongs to holds those that wait: both go together.
        visit.call(&self.limit)
    }

    fn __aenter__<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, permit) = (this.py(), this.get());
        let (entered, begun) = permit.held.with(py, |used| (std::mem::replace(&mut used.entered, true), used.begun));
        if entered {
            let limit = "ask limit.acquire() for another".to_owned();
            let error = Error::InvalidArgument { name: "a permit", value: "for one call".to_owned(), limit };
            return Err(to_python(py, &error));
        }
        let limit = permit.limit.bind(py);
        if begun || LimitGate::go(limit, permit)? {
            return Ok(this.clone().into_any());
        }
        limit.call_method1(intern!(py, "_wait_for"), (this,))
    }

    #[pyo3(signature = (kind, error, traceback, /))]
    fn __aexit__<'py>(
        this: &Bound<'py, Self>,
        kind: &Bound<'py, PyAny>,
        error: &Bound<'py, PyAny>,
        traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = (kind, traceback);
        Self::end(this, error)?;
        done(this.py())
    }

    fn __await__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    const fn __next__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this // replaced by a function that ends with it
    }

    /// End it: the call is over, well or with `error`. For permits of `AdaptiveLimit.try_acquire`; again is nothing.
    #[pyo3(signature = (error=None))]
    fn release<'py>(this: &Bound<'py, Self>, error: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        Self::end(this, &error.unwrap_or_else(|| this.py().None().into_bound(this.py())))
    }

    /// Say that a stream's first token came.
    fn answered(&self, py: Python<'_>) -> PyResult<()> {
        match self.held.with(py, |used| used.number) {
            Some(number) => self.limit.get().answered(py, number),
            None => Ok(()),
        }
    }

    /// Say how many tokens the answer had: a long answer is not a slow one. Before the permit ends; the last counts.
    ///
    /// `prompt_tokens`: those that were read for it, where that is not what `acquire` was told.
    #[pyo3(signature = (tokens, *, prompt_tokens=None))]
    fn settle(
        &self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        prompt_tokens: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let tokens = tokens_of(tokens, "tokens")?;
        let prompt = prompt_tokens.map_or(Ok(self.prompt), |prompt| tokens_of(prompt, "prompt_tokens"))?;
        self.held.with(py, |used| used.size = Some(Size { tokens, prompt }));
        Ok(())
    }

    /// Say how the call went where no exception tells: a word, or the HTTP status of the reply. The last report counts.
    fn report(&self, py: Python<'_>, outcome: Py<PyAny>) -> PyResult<()> {
        self.limit.bind(py).call_method1(intern!(py, "_check"), (&outcome,))?;
        let before = self.held.with(py, |used| used.outcome.replace(outcome));
        drop(before);
        Ok(())
    }

    #[getter(_running)]
    fn running(&self, py: Python<'_>) -> PyResult<bool> {
        match self.held.with(py, |used| used.number) {
            Some(number) => self.limit.get().runs(py, number),
            None => Ok(false),
        }
    }

    #[getter]
    const fn _kind(&self) -> &'static str {
        KINDS[self.kind]
    }

    #[getter]
    const fn _max_wait(&self) -> Option<f64> {
        self.max_wait
    }

    #[getter]
    fn _outcome(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.held.with(py, |used| used.outcome.as_ref().map(|outcome| outcome.clone_ref(py)))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let out_of_use = if self.running(py)? { "" } else { ", out of use" };
        Ok(format!("<AdaptivePermit for a {} call{out_of_use}>", KINDS[self.kind]))
    }
}

/// `__aexit__` as the interpreter calls it.
struct Exit;

static EXIT: Method = Method::new::<Exit>(c_str!("__aexit__"));

impl FastMethod for Exit {
    type Class = AdaptivePermit;

    #[inline]
    fn call<'py>(
        this: &Bound<'py, AdaptivePermit>,
        arguments: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        match arguments {
            [_, error, _] if error.is_none() => match this.get().end_plainly(this.py()) {
                Ok(true) => Some(done(this.py())),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            },
            _ => None,
        }
    }

    fn method() -> &'static Method {
        &EXIT
    }
}

/// `settle`, which every call that counts its tokens says.
struct Settle;

static SETTLE: Method = Method::new::<Settle>(c_str!("settle"));

impl FastMethod for Settle {
    type Class = AdaptivePermit;

    #[inline]
    fn call<'py>(
        this: &Bound<'py, AdaptivePermit>,
        arguments: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let [tokens] = arguments else { return None };
        Some(this.get().settle(this.py(), tokens, None).map(|()| this.py().None().into_bound(this.py())))
    }

    fn method() -> &'static Method {
        &SETTLE
    }
}

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    install_await::<AdaptivePermit>(py, with_itself);
    crate::fastcall::install::<Exit>(py)?;
    crate::fastcall::install::<Settle>(py)
}
