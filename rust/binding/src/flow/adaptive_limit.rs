//! `LimitGate`: what `sparecall.flow.AdaptiveLimit` does for a call that finds room and ends well. Who waits, who is turned away and
//! what an error means is its Python part's.

use std::sync::OnceLock;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::c_str;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use sparecall_core::error::Error;
use sparecall_core::flow;

use super::adaptive_permit::{AdaptivePermit, Use};
use super::held::Held;
use super::lease::tokens_of;
use crate::clock::monotonic;
use crate::error::{guard, internal, to_python};
use crate::fastcall::{FastMethod, Method};

/// Classes of calls; the first is shed last.
pub(super) const KINDS: [&str; flow::KINDS] = ["light", "standard", "heavy"];
const STANDARD: usize = 1;
/// Of a call in what the limit was lately.
const LATELY: f64 = 1.0 / 64.0;

/// The part of an `AdaptiveLimit` that every call goes through.
#[pyclass(frozen, subclass, module = "sparecall._core")]
pub(crate) struct LimitGate {
    parts: OnceLock<Parts>,
}

struct Parts {
    /// A callable that returns monotonic seconds; the system's own clock without one.
    clock: Option<Py<PyAny>>,
    /// What the machine itself is short of: its `share` of the limit is used.
    signals: Option<Py<PyAny>>,
    least: f64,
    lease_for: f64,
    state: Held<State>,
}

struct State {
    gradient: flow::Gradient,
    waiters: usize,
    lately: f64,
}

/// How a call went, as far as a limit goes by it.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Well {
        size: Option<flow::Size>,
    },
    Dropped {
        refused: bool,
    },
    /// It says nothing.
    Ignored,
}

impl LimitGate {
    fn parts(&self, py: Python<'_>) -> PyResult<&Parts> {
        self.parts.get().ok_or_else(|| internal(py))
    }

    fn state<R>(&self, py: Python<'_>, work: impl FnOnce(&mut State) -> R) -> PyResult<R> {
        let parts = self.parts(py)?;
        guard(py, || Ok(parts.state.with(py, work)))
    }

    fn now(&self, py: Python<'_>) -> PyResult<f64> {
        match &self.parts(py)?.clock {
            None => Ok(monotonic()),
            Some(clock) => clock.bind(py).call0()?.extract(),
        }
    }

    /// Lets the call through where there is room and nobody waits before it.
    pub(super) fn go(this: &Bound<'_, Self>, permit: &AdaptivePermit) -> PyResult<bool> {
        let (py, gate) = (this.py(), this.get());
        let now = gate.now(py)?;
        let fits = gate.limit(py)?;
        let (waiters, running) = gate.state(py, |state| (state.waiters, state.gradient.running().len()))?;
        if waiters > 0 || (running >= fits && !Self::reclaim(this, now)?) {
            return Ok(false);
        }
        gate.grant(py, permit, now)?;
        Ok(true)
    }

    /// Ends the call; whatever happens in code that is not ours, the permit comes back, and whoever waits for it goes.
    pub(super) fn end(this: &Bound<'_, Self>, permit: &AdaptivePermit, outcome: Outcome) -> PyResult<()> {
        let (py, gate) = (this.py(), this.get());
        let Some(number) = permit.held.with(py, |used| used.number.take()) else { return Ok(()) };
        let now = if matches!(outcome, Outcome::Ignored) { Ok(0.0) } else { gate.now(py) };
        let ended = gate.state(py, |state| {
            let State { gradient, lately, .. } = state;
            let before = gradient.limit() as usize;
            let known = match (outcome, &now) {
                (Outcome::Well { size }, &Ok(now)) => gradient.ended(number, size, now),
                (Outcome::Dropped { refused }, &Ok(now)) => gradient.dropped(number, now, refused),
                _ => gradient.left(number),
            };
            *lately += (gradient.limit() - *lately) * LATELY;
            (known, gradient.limit() as usize != before, state.waiters > 0)
        });
        let (known, moved, waited_for) = ended?;
        let told = if moved { this.call_method0(intern!(py, "_moved")).map(drop) } else { Ok(()) };
        if known && waited_for {
            this.call_method0(intern!(py, "_wake"))?;
        }
        now?;
        told
    }

    /// The first token came.
    pub(super) fn answered(&self, py: Python<'_>, number: u64) -> PyResult<()> {
        let now = self.now(py)?;
        self.state(py, |state| state.gradient.answered(number, now))
    }

    pub(super) fn runs(&self, py: Python<'_>, number: u64) -> PyResult<bool> {
        self.state(py, |state| state.gradient.running().contains(number))
    }

    /// A permit for a call with plain arguments.
    #[inline]
    fn permit<'py>(
        this: &Bound<'py, Self>,
        kind: Option<&Bound<'py, PyAny>>,
        prompt: Option<&Bound<'py, PyAny>>,
        max_wait: Option<f64>,
    ) -> PyResult<Bound<'py, AdaptivePermit>> {
        let kind = kind.map_or(Ok(STANDARD), kind_of)?;
        let prompt = prompt.map_or(Ok(0.0), |prompt| tokens_of(prompt, "prompt_tokens"))?;
        let limit = this.clone().unbind();
        Bound::new(this.py(), AdaptivePermit { limit, kind, prompt, max_wait, held: Held::new(Use::default()) })
    }

    /// The permit, where the call may go now.
    #[inline]
    fn tried<'py>(this: &Bound<'py, Self>, permit: Bound<'py, AdaptivePermit>) -> PyResult<Bound<'py, PyAny>> {
        let went = Self::go(this, permit.get())?;
        Ok(if went { permit.into_any() } else { this.py().None().into_bound(this.py()) })
    }
}

fn kind_of(given: &Bound<'_, PyAny>) -> PyResult<usize> {
    let known = given.cast::<PyString>().ok().and_then(|name| {
        let name = name.to_str().ok()?;
        KINDS.iter().position(|kind| *kind == name)
    });
    known.map_or_else(
        || {
            let limit = format!("it must be one of {}", KINDS.join(", "));
            let error = Error::InvalidArgument { name: "kind", value: given.repr()?.to_string(), limit };
            Err(to_python(given.py(), &error))
        },
        Ok,
    )
}

#[pymethods]
impl LimitGate {
    #[new]
    #[pyo3(signature = (*arguments, **options))]
    fn new(arguments: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> Self {
        let _ = (arguments, options); // of its Python part
        Self { parts: OnceLock::new() }
    }

    #[allow(clippy::needless_pass_by_value)] // as pyo3 hands it over
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(parts) = self.parts.get() else { return Ok(()) };
        visit.call(&parts.clock)?;
        visit.call(&parts.signals)
    }

    /// Give it its parts, once.
    #[pyo3(signature = (*, initial, least, most, lease_for, clock, signals))]
    fn _open_gate(
        &self,
        initial: f64,
        least: f64,
        most: f64,
        lease_for: f64,
        clock: Option<Py<PyAny>>,
        signals: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let gradient = flow::Gradient::new(initial, least, most);
        let state = Held::new(State { gradient, waiters: 0, lately: initial });
        let parts = Parts { clock, signals, least, lease_for, state };
        self.parts.set(parts).map_err(|_| PyTypeError::new_err("a limit is made once; make another"))
    }

    /// A permit if the call may go now, else None. Never before one that waits. Use it as `async with`, or `release` it.
    #[pyo3(signature = (kind=None, *, prompt_tokens=None))]
    #[pyo3(text_signature = "($self, kind='standard', *, prompt_tokens=0)")]
    fn try_acquire<'py>(
        this: &Bound<'py, Self>,
        kind: Option<&Bound<'py, PyAny>>,
        prompt_tokens: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::tried(this, Self::permit(this, kind, prompt_tokens, None)?)
    }

    /// A permit; `async with` waits until the call may go.
    ///
    /// Entering raises `LimitExceeded` where the queue is full, and where the call would wait, or has waited, for longer than
    /// `max_wait` seconds. `prompt_tokens` tell a long prompt from a slow endpoint.
    #[pyo3(signature = (kind=None, *, max_wait=None, prompt_tokens=None))]
    #[pyo3(text_signature = "($self, kind='standard', *, max_wait=None, prompt_tokens=0)")]
    fn acquire<'py>(
        this: &Bound<'py, Self>,
        kind: Option<&Bound<'py, PyAny>>,
        max_wait: Option<f64>,
        prompt_tokens: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, AdaptivePermit>> {
        if let Some(seconds) = max_wait.filter(|seconds| !(seconds.is_finite() && *seconds >= 0.0)) {
            let limit = "it must be finite and at least 0".to_owned();
            let error = Error::InvalidArgument { name: "max_wait", value: seconds.to_string(), limit };
            return Err(to_python(this.py(), &error));
        }
        Self::permit(this, kind, prompt_tokens, max_wait)
    }

    /// Calls that may be in flight at once now.
    #[getter]
    fn limit(&self, py: Python<'_>) -> PyResult<usize> {
        let parts = self.parts(py)?;
        let fits = parts.state.with(py, |state| state.gradient.limit()).floor();
        let Some(signals) = &parts.signals else { return Ok(fits as usize) };
        let share: f64 = signals.bind(py).getattr(intern!(py, "share"))?.extract()?;
        Ok((fits * share).max(parts.least) as usize)
    }

    /// Calls under way.
    #[getter]
    fn in_flight(&self, py: Python<'_>) -> PyResult<usize> {
        self.state(py, |state| state.gradient.running().len())
    }

    /// How many calls wait.
    #[getter]
    fn waiting(&self, py: Python<'_>) -> PyResult<usize> {
        self.state(py, |state| state.waiters)
    }

    /// Lets the call through.
    #[pyo3(name = "_grant")]
    fn grant(&self, py: Python<'_>, permit: &AdaptivePermit, now: f64) -> PyResult<()> {
        let number = self.state(py, |state| state.gradient.began(permit.kind, permit.prompt, now))?;
        permit.held.with(py, |used| (used.number, used.begun) = (Some(number), true));
        Ok(())
    }

    /// Takes back permits that were not heard of for too long; whether there is room then.
    #[pyo3(name = "_reclaim")]
    fn reclaim(this: &Bound<'_, Self>, now: f64) -> PyResult<bool> {
        let (py, gate) = (this.py(), this.get());
        let lease_for = gate.parts(py)?.lease_for;
        loop {
            let lost = gate.state(py, |state| {
                let (number, call) = state.gradient.running().oldest()?;
                let kind = call.kind;
                (now - call.began >= lease_for && state.gradient.dropped(number, now, false)).then_some(kind)
            })?;
            let Some(kind) = lost else { break };
            this.call_method1(intern!(py, "_tell"), (intern!(py, "lost"), KINDS[kind]))?;
        }
        Ok(gate.in_flight(py)? < gate.limit(py)?)
    }

    /// A call ended as its Python part found out: "success", "refused" or "timeout"; anything else says nothing.
    fn _ended(this: &Bound<'_, Self>, permit: &AdaptivePermit, how: &str) -> PyResult<()> {
        let outcome = match how {
            "success" => Outcome::Well { size: permit.held.with(this.py(), |used| used.size) },
            "refused" | "timeout" => Outcome::Dropped { refused: how == "refused" },
            _ => Outcome::Ignored,
        };
        Self::end(this, permit, outcome)
    }

    /// The time, in seconds.
    fn _now(&self, py: Python<'_>) -> PyResult<f64> {
        self.now(py)
    }

    /// When the oldest call under way is lost, where there is one.
    fn _lost_at(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let lease_for = self.parts(py)?.lease_for;
        self.state(py, |state| state.gradient.running().oldest().map(|(_, call)| call.began + lease_for))
    }

    /// Of each class, how many are under way.
    #[getter]
    fn _kinds(&self, py: Python<'_>) -> PyResult<[usize; flow::KINDS]> {
        self.state(py, |state| state.gradient.running().kinds())
    }

    /// Mean seconds of a call, lately; 0 before the first.
    #[getter]
    fn _duration(&self, py: Python<'_>) -> PyResult<f64> {
        self.state(py, |state| state.gradient.duration())
    }

    /// What the limit was lately.
    #[getter]
    fn _lately(&self, py: Python<'_>) -> PyResult<f64> {
        self.state(py, |state| state.lately)
    }

    #[getter]
    fn _waiters(&self, py: Python<'_>) -> PyResult<usize> {
        self.waiting(py)
    }

    #[setter(_waiters)]
    fn set_waiters(&self, py: Python<'_>, waiters: usize) -> PyResult<()> {
        self.state(py, |state| state.waiters = waiters)
    }
}

/// `acquire` and `try_acquire` with a class alone.
struct FastAcquire;

static ACQUIRE: Method = Method::new::<FastAcquire>(c_str!("acquire"));

impl FastMethod for FastAcquire {
    type Class = LimitGate;

    #[inline]
    fn call<'py>(
        this: &Bound<'py, LimitGate>,
        arguments: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let ([] | [_]) = arguments else { return None };
        Some(LimitGate::permit(this, arguments.first().map(|kind| &**kind), None, None).map(Bound::into_any))
    }

    fn method() -> &'static Method {
        &ACQUIRE
    }
}

struct FastTryAcquire;

static TRY_ACQUIRE: Method = Method::new::<FastTryAcquire>(c_str!("try_acquire"));

impl FastMethod for FastTryAcquire {
    type Class = LimitGate;

    #[inline]
    fn call<'py>(
        this: &Bound<'py, LimitGate>,
        arguments: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let ([] | [_]) = arguments else { return None };
        let permit = LimitGate::permit(this, arguments.first().map(|kind| &**kind), None, None);
        Some(permit.and_then(|permit| LimitGate::tried(this, permit)))
    }

    fn method() -> &'static Method {
        &TRY_ACQUIRE
    }
}

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    crate::fastcall::install::<FastAcquire>(py)?;
    crate::fastcall::install::<FastTryAcquire>(py)
}
