//! `BreakerGate` and `Permit`: what a closed breaker does for a call that ends well. All else is its Python part's.

use std::sync::OnceLock;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::c_str;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use sparecall_core::error::Error;

use super::awaited::{done, install_await, with_itself};
use super::held::Held;
use super::window::Window;
use crate::clock::monotonic;
use crate::error::{internal, to_python};
use crate::fastcall::{FastMethod, Method};

/// The generation of a permit not yet entered.
const NEW: i64 = -1;
/// 3 of 30 is a tenth, whatever binary fractions say.
const EPSILON: f64 = 1e-9;

/// The part of a `Breaker` that every call goes through.
#[pyclass(frozen, subclass, module = "sparecall._core")]
pub(crate) struct BreakerGate {
    parts: OnceLock<Parts>,
    state: Held<State>,
}

struct Parts {
    window: Py<Window>,
    /// A callable that returns monotonic seconds; the system's own clock without one.
    clock: Option<Py<PyAny>>,
    minimum: u64,
    failure_rate: f64,
}

struct State {
    /// Closed, and no call that may yet become slow is watched: nothing happens by time alone.
    plain: bool,
    generation: i64,
    /// The latest time seen: time never goes back.
    now: f64,
}

impl BreakerGate {
    fn parts(&self, py: Python<'_>) -> PyResult<&Parts> {
        self.parts.get().ok_or_else(|| internal(py))
    }

    fn tick(&self, py: Python<'_>) -> PyResult<f64> {
        let now = match &self.parts(py)?.clock {
            None => monotonic(),
            Some(clock) => clock.bind(py).call0()?.extract()?,
        };
        Ok(self.state.with(py, |state| {
            state.now = state.now.max(now);
            state.now
        }))
    }

    /// The generation, where a call has no more to do than to belong to it.
    fn plain(&self, py: Python<'_>) -> Option<i64> {
        self.state.with(py, |state| state.plain.then_some(state.generation))
    }

    /// Counts a call that ended well; true where the breaker is to open all the same.
    fn count(&self, py: Python<'_>, now: f64) -> PyResult<bool> {
        let parts = self.parts(py)?;
        Ok(parts.window.get().inner.with(py, |window| {
            window.add(now, 1, false, false);
            window.failed() > 0
                && window.calls() >= parts.minimum
                && window.failed() as f64 >= parts.failure_rate * window.calls() as f64 - EPSILON
        }))
    }
}

#[pymethods]
impl BreakerGate {
    #[new]
    #[pyo3(signature = (*arguments, **options))]
    fn new(arguments: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> Self {
        let _ = (arguments, options); // of its Python part
        Self { parts: OnceLock::new(), state: Held::new(State { plain: false, generation: 0, now: 0.0 }) }
    }

    /// Give it its parts, once.
    #[pyo3(signature = (window, *, clock, now, minimum, failure_rate))]
    fn _open_gate(
        &self,
        py: Python<'_>,
        window: Py<Window>,
        clock: Option<Py<PyAny>>,
        now: f64,
        minimum: u64,
        failure_rate: f64,
    ) -> PyResult<()> {
        if self.parts.set(Parts { window, clock, minimum, failure_rate }).is_err() {
            return Err(PyTypeError::new_err("a breaker is made once; make another"));
        }
        self.state.with(py, |state| state.now = now);
        Ok(())
    }

    /// A permit, to be used by `async with`. Entering it raises `BreakerOpen` where no call may be made now.
    fn call<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, Permit>> {
        let held = Held::new(Call { generation: NEW, started: 0.0, answered: None, slow_at: None, outcome: None });
        Bound::new(this.py(), Permit { breaker: this.clone().unbind(), held })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(parts) = self.parts.get() else { return Ok(()) };
        visit.call(&parts.window)?;
        visit.call(&parts.clock)
    }

    /// The time, which never goes back.
    fn _tick(&self, py: Python<'_>) -> PyResult<f64> {
        self.tick(py)
    }

    #[getter]
    fn _window(&self, py: Python<'_>) -> PyResult<Py<Window>> {
        Ok(self.parts(py)?.window.clone_ref(py))
    }

    #[getter]
    fn _plain(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.plain)
    }

    #[setter(_plain)]
    fn set_plain(&self, py: Python<'_>, plain: bool) {
        self.state.with(py, |state| state.plain = plain);
    }

    #[getter]
    fn _generation(&self, py: Python<'_>) -> i64 {
        self.state.with(py, |state| state.generation)
    }

    #[setter(_generation)]
    fn set_generation(&self, py: Python<'_>, generation: i64) {
        self.state.with(py, |state| state.generation = generation);
    }
}

/// The right to make one call through a breaker, for the length of an `async with`.
///
/// How the block ends is the outcome, unless `report` named another. One that never ends, is cancelled, or ends after the
/// breaker has changed its mind leaks nothing: it is a lease of one generation.
#[pyclass(frozen, module = "sparecall.flow")]
pub(crate) struct Permit {
    breaker: Py<BreakerGate>,
    held: Held<Call>,
}

struct Call {
    generation: i64,
    started: f64,
    answered: Option<f64>,
    slow_at: Option<f64>,
    outcome: Option<Py<PyString>>,
}

#[pymethods]
impl Permit {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // What it belongs to holds those that wait or run: both go together.
        visit.call(&self.breaker)
    }

    fn __aenter__<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, permit) = (this.py(), this.get());
        if permit.held.with(py, |call| call.generation) != NEW {
            let limit = "ask breaker.call() for another".to_owned();
            let error = Error::InvalidArgument { name: "a permit", value: "for one call".to_owned(), limit };
            return Err(to_python(py, &error));
        }
        let breaker = permit.breaker.get();
        if let Some(generation) = breaker.plain(py) {
            let now = breaker.tick(py)?;
            permit.held.with(py, |call| (call.started, call.generation) = (now, generation));
        } else {
            permit.breaker.bind(py).call_method1(intern!(py, "_enter"), (this,))?;
        }
        Ok(this.clone().into_any())
    }

    #[pyo3(signature = (kind, error, traceback, /))]
    fn __aexit__<'py>(
        this: &Bound<'py, Self>,
        kind: &Bound<'py, PyAny>,
        error: &Bound<'py, PyAny>,
        traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = (kind, traceback);
        this.get().breaker.bind(this.py()).call_method1(intern!(this.py(), "_exit"), (this, error))?;
        done(this.py())
    }

    fn __await__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    const fn __next__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this // replaced by a function that ends with it
    }

    /// Say how the call went where no exception tells: a word, or the HTTP status of the reply. The last report counts.
    fn report(&self, py: Python<'_>, outcome: &Bound<'_, PyAny>) -> PyResult<()> {
        let word = self.breaker.bind(py).call_method1(intern!(py, "_word"), (outcome,))?;
        let word = Some(word.cast_into::<PyString>()?.unbind());
        let before = self.held.with(py, |call| std::mem::replace(&mut call.outcome, word));
        drop(before);
        Ok(())
    }

    /// Say that the answer begins: from here on a long answer is not a slow one.
    fn answered(this: &Bound<'_, Self>) -> PyResult<()> {
        let (py, permit) = (this.py(), this.get());
        if permit.held.with(py, |call| call.answered.is_none()) {
            let now = permit.breaker.bind(py).call_method1(intern!(py, "_answer"), (this,))?.extract()?;
            permit.held.with(py, |call| call.answered = Some(now));
        }
        Ok(())
    }

    #[getter]
    fn _generation(&self, py: Python<'_>) -> i64 {
        self.held.with(py, |call| call.generation)
    }

    #[setter(_generation)]
    fn set_generation(&self, py: Python<'_>, generation: i64) {
        self.held.with(py, |call| call.generation = generation);
    }

    #[getter]
    fn _started(&self, py: Python<'_>) -> f64 {
        self.held.with(py, |call| call.started)
    }

    #[setter(_started)]
    fn set_started(&self, py: Python<'_>, started: f64) {
        self.held.with(py, |call| call.started = started);
    }

    #[getter]
    fn _answered(&self, py: Python<'_>) -> Option<f64> {
        self.held.with(py, |call| call.answered)
    }

    #[getter]
    fn _slow_at(&self, py: Python<'_>) -> Option<f64> {
        self.held.with(py, |call| call.slow_at)
    }

    #[setter(_slow_at)]
    fn set_slow_at(&self, py: Python<'_>, slow_at: Option<f64>) {
        self.held.with(py, |call| call.slow_at = slow_at);
    }

    #[getter]
    fn _outcome(&self, py: Python<'_>) -> Option<Py<PyString>> {
        self.held.with(py, |call| call.outcome.as_ref().map(|outcome| outcome.clone_ref(py)))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        match self.held.with(py, |call| call.generation) {
            generation if generation >= 0 => format!("<Permit of generation {generation}>"),
            _ => "<Permit out of use>".to_owned(),
        }
    }
}

impl Permit {
    /// Ends a call that went well, where nothing else is to be looked at.
    fn end_plainly(this: &Bound<'_, Self>) -> PyResult<bool> {
        let (py, permit) = (this.py(), this.get());
        let breaker = permit.breaker.get();
        let Some(generation) = breaker.plain(py) else { return Ok(false) };
        let (own, marked) =
            permit.held.with(py, |call| (call.generation, call.outcome.is_some() || call.slow_at.is_some()));
        if marked {
            return Ok(false);
        }
        if own == generation {
            let now = breaker.tick(py)?;
            if breaker.count(py, now)? {
                permit.breaker.bind(py).call_method1(intern!(py, "_conclude_window"), (now,))?;
            }
        }
        Ok(true)
    }
}

/// `__aexit__` as the interpreter calls it.
struct Exit;

static EXIT: Method = Method::new::<Exit>(c_str!("__aexit__"));

impl FastMethod for Exit {
    type Class = Permit;

    #[inline]
    fn call<'py>(
        this: &Bound<'py, Permit>,
        arguments: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        match arguments {
            [_, error, _] if error.is_none() => match Permit::end_plainly(this) {
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

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    install_await::<Permit>(py, with_itself);
    crate::fastcall::install::<Exit>(py)
}
