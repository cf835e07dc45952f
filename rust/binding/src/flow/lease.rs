//! `Lease`: what one call has reserved. Entering it costs no coroutine where the call may go at once.

use pyo3::ffi::c_str;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};
use sparecall_core::error::Error;
use sparecall_core::flow::Mark;

use super::awaited::{done, install_await, with_itself};
use super::gate::RateGate;
use super::held::Held;
use crate::error::{to_python, wrong_type};
use crate::fastcall::{FastMethod, Method};

/// What one call has reserved. The holder of an `async with limit.acquire(...)`, or what `RateLimit.try_acquire` gave.
///
/// Its end gives nothing back: what was sent counts at the server, however it ended. `settle` says what it came to, and
/// `refund` that it was never sent.
#[pyclass(frozen, module = "sparecall.flow")]
pub(crate) struct Lease {
    pub(super) limit: Py<RateGate>,
    pub(super) prompt: f64,
    pub(super) route: Option<Py<PyString>>,
    pub(super) background: bool,
    pub(super) max_wait: Option<f64>,
    pub(super) held: Held<Reserved>,
}

/// What changes in a lease.
pub(super) struct Reserved {
    /// Reserved; once settled, used.
    pub(super) tokens: f64,
    /// When it was let through; none before, and once refunded.
    pub(super) at: Option<f64>,
    pub(super) mark_requests: f64,
    pub(super) mark_tokens: f64,
    /// Entered, or let through without.
    pub(super) used: bool,
}

impl Lease {
    fn reserved<R>(&self, py: Python<'_>, read: impl FnOnce(&Reserved) -> R) -> R {
        self.held.with(py, |reserved| read(reserved))
    }

    /// Gives back what a lease has, or takes what it lacks; false where it was never let through.
    fn settle_to(&self, py: Python<'_>, used: f64) -> PyResult<bool> {
        let gate = self.limit.get();
        let (at, tokens, mark) = self.reserved(py, |reserved| (reserved.at, reserved.tokens, reserved.mark_tokens));
        let Some(sent) = at else { return Ok(false) };
        let now = if used < tokens { 0.0 } else { gate.now(py)? };
        gate.tokens(py)?.inner.with(py, |gcra| {
            if used < tokens {
                gcra.give_back(tokens - used, Mark { passed: mark, sent });
            } else {
                gcra.take(used - tokens, now);
            }
        });
        self.held.with(py, |reserved| reserved.tokens = used);
        Ok(true)
    }

    fn wake(&self, py: Python<'_>) -> PyResult<()> {
        if self.limit.get().waiters(py) > 0 {
            self.limit.bind(py).call_method0(intern!(py, "_wake"))?;
        }
        Ok(())
    }
}

#[pymethods]
impl Lease {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // What it belongs to holds those that wait or run: both go together.
        visit.call(&self.limit)
    }

    fn __aenter__<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, lease) = (this.py(), this.get());
        let gate = lease.limit.get();
        if lease.held.with(py, |reserved| std::mem::replace(&mut reserved.used, true)) {
            let limit = "ask limit.acquire() for another".to_owned();
            let error = Error::InvalidArgument { name: "a lease", value: "for one call".to_owned(), limit };
            return Err(to_python(py, &error));
        }
        let now = gate.now(py)?;
        if gate.go(this, now)? {
            return Ok(this.clone().into_any());
        }
        lease.limit.bind(py).call_method1(intern!(py, "_wait_for"), (this, now))
    }

    #[pyo3(signature = (kind, error, traceback, /))]
    fn __aexit__<'py>(
        &self,
        py: Python<'py>,
        kind: &Bound<'py, PyAny>,
        error: &Bound<'py, PyAny>,
        traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = (kind, error, traceback);
        if self.limit.get().is_learning(py) {
            self.limit.bind(py).call_method0(intern!(py, "_came_back"))?;
        }
        done(py)
    }

    fn __await__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    const fn __next__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this // replaced by a function that ends with it
    }

    /// Tokens now reserved for the call; once settled, those it used.
    #[getter]
    fn tokens(&self, py: Python<'_>) -> f64 {
        self.reserved(py, |reserved| reserved.tokens)
    }

    /// Say how many tokens the call used in all, prompt and completion: what was reserved above that is given back, what is missing taken.
    ///
    /// It may be said again, also after the `async with` has ended. `final=False` while a stream's count still grows: then the
    /// route's completions do not learn from it.
    #[pyo3(signature = (used, *, r#final=true))]
    fn settle(&self, py: Python<'_>, used: &Bound<'_, PyAny>, r#final: bool) -> PyResult<()> {
        let used = tokens_of(used, "used")?;
        if !self.settle_to(py, used)? {
            let value = "of a lease that was never let through, or was refunded".to_owned();
            let limit = "there is nothing to settle".to_owned();
            return Err(to_python(py, &Error::InvalidArgument { name: "used", value, limit }));
        }
        if let (true, Some(route)) = (r#final, &self.route) {
            let completion = (used - self.prompt).max(0.0);
            self.limit.bind(py).call_method1(intern!(py, "_observe"), (route, completion))?;
        }
        self.wake(py)
    }

    /// Say that the call was never sent: all of it is given back. Once refunded, again is nothing.
    fn refund(&self, py: Python<'_>) -> PyResult<()> {
        let gate = self.limit.get();
        let (at, tokens, requests_mark, tokens_mark) = self
            .held
            .with(py, |reserved| (reserved.at.take(), reserved.tokens, reserved.mark_requests, reserved.mark_tokens));
        let Some(sent) = at else { return Ok(()) };
        gate.requests(py)?.inner.with(py, |gcra| gcra.give_back(1.0, Mark { passed: requests_mark, sent }));
        gate.tokens(py)?.inner.with(py, |gcra| gcra.give_back(tokens, Mark { passed: tokens_mark, sent }));
        self.wake(py)
    }

    /// Take over what the reply to this call tells of the limits; a status of 429 makes every caller wait. O(headers).
    #[pyo3(signature = (headers, *, status=200))]
    fn sync(this: &Bound<'_, Self>, headers: &Bound<'_, PyAny>, status: i64) -> PyResult<()> {
        this.get().limit.bind(this.py()).call_method1(intern!(this.py(), "_sync"), (headers, status, this))?;
        Ok(())
    }

    #[getter]
    fn _at(&self, py: Python<'_>) -> Option<f64> {
        self.reserved(py, |reserved| reserved.at)
    }

    #[getter]
    fn _marks(&self, py: Python<'_>) -> (f64, f64) {
        self.reserved(py, |reserved| (reserved.mark_requests, reserved.mark_tokens))
    }

    #[getter]
    const fn _background(&self) -> bool {
        self.background
    }

    #[getter]
    const fn _max_wait(&self) -> Option<f64> {
        self.max_wait
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        match self.reserved(py, |reserved| (reserved.at, reserved.tokens)) {
            (Some(_), tokens) => format!("<Lease of {tokens} tokens>"),
            (None, _) => "<Lease not let through>".to_owned(),
        }
    }
}

/// A count of tokens: an int, at least 0.
pub(super) fn tokens_of(given: &Bound<'_, PyAny>, name: &'static str) -> PyResult<f64> {
    if !given.is_exact_instance_of::<PyInt>() && (given.is_instance_of::<PyBool>() || !given.is_instance_of::<PyInt>())
    {
        return Err(wrong_type(name, "an int", given));
    }
    let tokens: f64 = given.extract()?;
    if tokens < 0.0 {
        let limit = "it must be at least 0".to_owned();
        let error = Error::InvalidArgument { name, value: tokens.to_string(), limit };
        return Err(to_python(given.py(), &error));
    }
    Ok(tokens)
}

/// `__aexit__` as the interpreter calls it.
struct Exit;

static EXIT: Method = Method::new::<Exit>(c_str!("__aexit__"));

impl FastMethod for Exit {
    type Class = Lease;

    #[inline]
    fn call<'py>(
        this: &Bound<'py, Lease>,
        arguments: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let py = this.py();
        if arguments.len() != 3 || this.get().limit.get().is_learning(py) {
            return None;
        }
        Some(done(py))
    }

    fn method() -> &'static Method {
        &EXIT
    }
}

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    install_await::<Lease>(py, with_itself);
    crate::fastcall::install::<Exit>(py)
}
