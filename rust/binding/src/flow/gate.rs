//! `RateGate`: what `sparecall.flow.RateLimit` decides for each call. Who waits, and what the server tells, is its Python part's.

use std::sync::OnceLock;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::c_str;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use sparecall_core::error::Error;
use sparecall_core::flow::is_due;

use super::gcra::Gcra;
use super::held::Held;
use super::lease::{Lease, Reserved, tokens_of};
use crate::clock::monotonic;
use crate::error::{internal, to_python};
use crate::fastcall::{FastMethod, Method};

/// Of a limit spent: from there on background calls are let through more slowly.
const BACKGROUND_FROM: f64 = 0.75;
/// Of the limit's pace, however much is spent; and of the turns, however many others wait.
const BACKGROUND_LEAST: f64 = 1.0 / 20.0;
/// Of a server whose limits are unknown; each that comes back makes room for as many.
const FIRST_CALLS: f64 = 2.0;

/// The part of a `RateLimit` that every call goes through.
#[pyclass(frozen, subclass, module = "sparecall._core")]
pub(crate) struct RateGate {
    parts: OnceLock<Parts>,
    state: Held<State>,
}

struct Parts {
    requests: Py<Gcra>,
    tokens: Py<Gcra>,
    /// A callable that returns monotonic seconds; the system's own clock without one.
    clock: Option<Py<PyAny>>,
    /// Times the limit: the whole of which it is a share. No call may have more tokens.
    whole: f64,
}

#[derive(Clone, Copy)]
struct State {
    waiters: usize,
    /// Let through since a background call was.
    turns: u64,
    /// By a 429.
    held_until: f64,
    background_at: f64,
    learning: bool,
}

impl RateGate {
    /// A reference to a part, which lives as long as the gate: parts are set once.
    fn part<'a>(&'a self, py: Python<'a>, which: impl FnOnce(&'a Parts) -> &'a Py<Gcra>) -> PyResult<&'a Gcra> {
        self.parts(py).map(|parts| which(parts).get())
    }

    fn parts<'a>(&'a self, py: Python<'a>) -> PyResult<&'a Parts> {
        self.parts.get().ok_or_else(|| internal(py))
    }

    pub(super) fn requests<'a>(&'a self, py: Python<'a>) -> PyResult<&'a Gcra> {
        self.part(py, |parts| &parts.requests)
    }

    pub(super) fn tokens<'a>(&'a self, py: Python<'a>) -> PyResult<&'a Gcra> {
        self.part(py, |parts| &parts.tokens)
    }

    #[inline]
    pub(super) fn now(&self, py: Python<'_>) -> PyResult<f64> {
        match &self.parts(py)?.clock {
            None => Ok(monotonic()),
            Some(clock) => clock.bind(py).call0()?.extract(),
        }
    }

    fn read<R>(&self, py: Python<'_>, read: impl FnOnce(&State) -> R) -> R {
        self.state.with(py, |state| read(state))
    }

    pub(super) fn waiters(&self, py: Python<'_>) -> usize {
        self.read(py, |state| state.waiters)
    }

    pub(super) fn is_learning(&self, py: Python<'_>) -> bool {
        self.read(py, |state| state.learning)
    }

    /// Lets the call through where it may go now, and nobody waits before it.
    #[inline]
    pub(super) fn go(&self, lease: &Bound<'_, Lease>, now: f64) -> PyResult<bool> {
        let py = lease.py();
        if self.waiters(py) > 0 {
            let limit = lease.get().limit.bind(py);
            if limit.call_method1(intern!(py, "_in_line"), (lease, now))?.is_truthy()? {
                return Ok(false);
            }
        }
        if !is_due(self.ready(py, lease.get(), now)?, now) {
            return Ok(false);
        }
        self.grant(py, lease.get(), now)?;
        Ok(true)
    }

    #[inline]
    fn ready(&self, py: Python<'_>, lease: &Lease, now: f64) -> PyResult<f64> {
        let tokens = lease.held.with(py, |reserved| reserved.tokens);
        let at = self.requests(py)?.inner.with(py, |gcra| gcra.ready_at(1.0, now));
        let at = at.max(self.tokens(py)?.inner.with(py, |gcra| gcra.ready_at(tokens, now)));
        let (held_until, background_at) = self.read(py, |state| (state.held_until, state.background_at));
        let at = at.max(held_until);
        Ok(if lease.background { at.max(background_at) } else { at })
    }

    #[inline]
    fn grant(&self, py: Python<'_>, lease: &Lease, now: f64) -> PyResult<()> {
        let (requests, tokens) = (self.requests(py)?, self.tokens(py)?);
        let amount = lease.held.with(py, |reserved| reserved.tokens);
        let learning = self.is_learning(py);
        let mark_requests = requests.inner.with(py, |gcra| {
            if learning && gcra.passed == 0.0 {
                (gcra.ceiling, gcra.ceiling_until) = (FIRST_CALLS, now + gcra.per);
            }
            gcra.take(1.0, now);
            gcra.passed
        });
        let mark_tokens = tokens.inner.with(py, |gcra| {
            gcra.take(amount, now);
            gcra.passed
        });
        lease.held.with(py, |reserved| {
            (reserved.at, reserved.used) = (Some(now), true);
            (reserved.mark_requests, reserved.mark_tokens) = (mark_requests, mark_tokens);
        });
        if !lease.background {
            self.state.with(py, |state| state.turns += 1);
            return Ok(());
        }
        let (spent_requests, interval) = requests.inner.with(py, |gcra| (gcra.spent(now), gcra.interval));
        let (spent_tokens, each) = tokens.inner.with(py, |gcra| (gcra.spent(now), gcra.interval));
        let left = 1.0 - spent_requests.max(spent_tokens);
        self.state.with(py, |state| {
            state.turns = 0;
            if left < 1.0 - BACKGROUND_FROM {
                let pace = (left / (1.0 - BACKGROUND_FROM)).max(BACKGROUND_LEAST);
                state.background_at = now + interval.max(amount * each) / pace;
            }
        });
        Ok(())
    }

    /// A lease of so many tokens, not yet let through.
    fn lease<'py>(this: &Bound<'py, Self>, tokens: f64, prompt: f64, wishes: Wishes) -> PyResult<Bound<'py, Lease>> {
        let py = this.py();
        let gate = this.get();
        if tokens > gate.tokens(py)?.inner.with(py, |gcra| gcra.limit) * gate.parts(py)?.whole {
            let error = this.call_method1(intern!(py, "_too_large"), (tokens,))?;
            return Err(PyErr::from_value(error));
        }
        let held = Reserved { tokens, at: None, mark_requests: 0.0, mark_tokens: 0.0, used: false };
        let Wishes { route, background, max_wait } = wishes;
        let limit = this.clone().unbind();
        Bound::new(py, Lease { limit, prompt, route, background, max_wait, held: Held::new(held) })
    }

    /// A lease for a call with plain arguments.
    #[inline]
    fn plainly<'py>(this: &Bound<'py, Self>, tokens: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, Lease>> {
        let tokens = tokens.map_or(Ok(0.0), |tokens| tokens_of(tokens, "tokens"))?;
        Self::lease(this, tokens, tokens, Wishes::default())
    }

    /// The lease, where it may go now.
    fn tried<'py>(this: &Self, lease: Bound<'py, Lease>) -> PyResult<Bound<'py, PyAny>> {
        let py = lease.py();
        let now = this.now(py)?;
        Ok(if this.go(&lease, now)? { lease.into_any() } else { py.None().into_bound(py) })
    }

    fn wished<'py>(
        this: &Bound<'py, Self>,
        tokens: Option<&Bound<'py, PyAny>>,
        max_tokens: Option<&Bound<'py, PyAny>>,
        wishes: Wishes,
    ) -> PyResult<Bound<'py, Lease>> {
        let py = this.py();
        let prompt = tokens.map_or(Ok(0.0), |tokens| tokens_of(tokens, "tokens"))?;
        let mut reserved = prompt;
        if let Some(route) = &wishes.route {
            let estimated = this.call_method1(intern!(py, "_estimate"), (route, max_tokens))?;
            reserved += estimated.extract::<f64>()?;
        }
        Self::lease(this, reserved, prompt, wishes)
    }
}

/// What a caller asks for beside tokens.
#[derive(Default)]
struct Wishes {
    route: Option<Py<PyString>>,
    background: bool,
    max_wait: Option<f64>,
}

#[pymethods]
impl RateGate {
    #[new]
    #[pyo3(signature = (*arguments, **options))]
    fn new(arguments: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> Self {
        let _ = (arguments, options); // of its Python part
        Self {
            parts: OnceLock::new(),
            state: Held::new(State {
                waiters: 0,
                turns: 0,
                held_until: f64::NEG_INFINITY,
                background_at: f64::NEG_INFINITY,
                learning: false,
            }),
        }
    }

    #[allow(clippy::needless_pass_by_value)] // as pyo3 hands it over
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(parts) = self.parts.get() else { return Ok(()) };
        visit.call(&parts.requests)?;
        visit.call(&parts.tokens)?;
        visit.call(&parts.clock)
    }

    /// Give it its parts, once.
    #[pyo3(signature = (requests, tokens, *, clock, learning, whole))]
    fn _open(
        &self,
        py: Python<'_>,
        requests: Py<Gcra>,
        tokens: Py<Gcra>,
        clock: Option<Py<PyAny>>,
        learning: bool,
        whole: f64,
    ) -> PyResult<()> {
        let parts = Parts { requests, tokens, clock, whole };
        if self.parts.set(parts).is_err() {
            return Err(PyTypeError::new_err("a limit is made once; make another"));
        }
        self.state.with(py, |state| state.learning = learning);
        Ok(())
    }

    /// A lease if the call may go now, else None. Never before one that waits. Arguments and errors: `acquire`.
    #[pyo3(signature = (tokens=None, *, route=None, max_tokens=None, background=false))]
    #[pyo3(text_signature = "($self, tokens=0, *, route=None, max_tokens=None, background=False)")]
    fn try_acquire<'py>(
        this: &Bound<'py, Self>,
        tokens: Option<&Bound<'py, PyAny>>,
        route: Option<Py<PyString>>,
        max_tokens: Option<&Bound<'py, PyAny>>,
        background: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let lease = Self::wished(this, tokens, max_tokens, Wishes { route, background, max_wait: None })?;
        Self::tried(this.get(), lease)
    }

    /// A lease of one request and `tokens` tokens; `async with` waits until it may go.
    ///
    /// With a `route`, `tokens` are the prompt's, and what answers on that route had lately is reserved on top, at most
    /// `max_tokens`. Raises `LimitExceeded` where the call is larger than a whole limit; entering raises it at once
    /// where the call would wait for longer than `max_wait` seconds, as far as can be told now.
    #[pyo3(signature = (tokens=None, *, route=None, max_tokens=None, background=false, max_wait=None))]
    #[pyo3(text_signature = "($self, tokens=0, *, route=None, max_tokens=None, background=False, max_wait=None)")]
    fn acquire<'py>(
        this: &Bound<'py, Self>,
        tokens: Option<&Bound<'py, PyAny>>,
        route: Option<Py<PyString>>,
        max_tokens: Option<&Bound<'py, PyAny>>,
        background: bool,
        max_wait: Option<f64>,
    ) -> PyResult<Bound<'py, Lease>> {
        if let Some(seconds) = max_wait.filter(|seconds| !(seconds.is_finite() && *seconds >= 0.0)) {
            let limit = "it must be finite and at least 0".to_owned();
            let error = Error::InvalidArgument { name: "max_wait", value: seconds.to_string(), limit };
            return Err(to_python(this.py(), &error));
        }
        Self::wished(this, tokens, max_tokens, Wishes { route, background, max_wait })
    }

    /// When the call may go, as far as is known at `now`.
    fn _ready_at(&self, py: Python<'_>, lease: &Lease, now: f64) -> PyResult<f64> {
        self.ready(py, lease, now)
    }

    /// Lets the call through where it may go now, and gives None; else when it may, as far as is known.
    fn _grant_if_due(&self, py: Python<'_>, lease: &Lease, now: f64) -> PyResult<Option<f64>> {
        let at = self.ready(py, lease, now)?;
        if !is_due(at, now) {
            return Ok(Some(at));
        }
        self.grant(py, lease, now)?;
        Ok(None)
    }

    /// The time, in seconds.
    #[pyo3(name = "_now")]
    fn python_now(&self, py: Python<'_>) -> PyResult<f64> {
        self.now(py)
    }

    /// A call to a server whose limits are unknown ended: as many again and as many more may go.
    fn _make_room(&self, py: Python<'_>) -> PyResult<()> {
        self.requests(py)?.inner.with(py, |gcra| gcra.ceiling += FIRST_CALLS);
        Ok(())
    }

    /// A server whose limits are unknown refused a call: after `until` two go, and so on.
    fn _begin_again(&self, py: Python<'_>, until: f64) -> PyResult<()> {
        self.requests(py)?.inner.with(py, |gcra| {
            (gcra.ceiling, gcra.ceiling_until) = (gcra.passed + FIRST_CALLS, until + gcra.per);
        });
        Ok(())
    }

    /// Whether it is a background call's turn, though others wait.
    fn _background_turn(&self, py: Python<'_>, now: f64) -> bool {
        self.read(py, |state| state.turns as f64 >= 1.0 / BACKGROUND_LEAST && state.background_at <= now)
    }

    #[getter]
    fn _requests(&self, py: Python<'_>) -> PyResult<Py<Gcra>> {
        Ok(self.parts(py)?.requests.clone_ref(py))
    }

    #[getter]
    fn _tokens(&self, py: Python<'_>) -> PyResult<Py<Gcra>> {
        Ok(self.parts(py)?.tokens.clone_ref(py))
    }

    #[getter]
    fn _waiters(&self, py: Python<'_>) -> usize {
        self.waiters(py)
    }

    #[setter(_waiters)]
    fn set_waiters(&self, py: Python<'_>, waiters: usize) {
        self.state.with(py, |state| state.waiters = waiters);
    }

    #[getter]
    fn _learning(&self, py: Python<'_>) -> bool {
        self.is_learning(py)
    }

    #[setter(_learning)]
    fn set_learning(&self, py: Python<'_>, learning: bool) {
        self.state.with(py, |state| state.learning = learning);
    }

    #[getter]
    fn _held_until(&self, py: Python<'_>) -> f64 {
        self.read(py, |state| state.held_until)
    }

    #[setter(_held_until)]
    fn set_held_until(&self, py: Python<'_>, until: f64) {
        self.state.with(py, |state| state.held_until = until);
    }
}

/// `acquire` and `try_acquire` with tokens alone.
struct FastAcquire;

static ACQUIRE: Method = Method::new::<FastAcquire>(c_str!("acquire"));

impl FastMethod for FastAcquire {
    type Class = RateGate;

    #[inline]
    fn call<'py>(
        this: &Bound<'py, RateGate>,
        arguments: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let tokens = plain(arguments)?;
        Some(RateGate::plainly(this, tokens).map(Bound::into_any))
    }

    fn method() -> &'static Method {
        &ACQUIRE
    }
}

struct FastTryAcquire;

static TRY_ACQUIRE: Method = Method::new::<FastTryAcquire>(c_str!("try_acquire"));

impl FastMethod for FastTryAcquire {
    type Class = RateGate;

    #[inline]
    fn call<'py>(
        this: &Bound<'py, RateGate>,
        arguments: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let tokens = plain(arguments)?;
        Some(RateGate::plainly(this, tokens).and_then(|lease| RateGate::tried(this.get(), lease)))
    }

    fn method() -> &'static Method {
        &TRY_ACQUIRE
    }
}

#[allow(clippy::option_option)] // no tokens given, or not a plain call
fn plain<'a, 'py>(arguments: &'a [Borrowed<'_, 'py, PyAny>]) -> Option<Option<&'a Bound<'py, PyAny>>> {
    match arguments {
        [] => Some(None),
        [tokens] => Some(Some(tokens)),
        _ => None,
    }
}

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    crate::fastcall::install::<FastAcquire>(py)?;
    crate::fastcall::install::<FastTryAcquire>(py)
}
