//! `Queue`: things from any thread, in order for one event loop.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use sparecall_core::error::Error;
use sparecall_core::queue::{self as core, Full, Overflow, Pushed};

use super::port::{Done, Port};
use super::priority_of;
use crate::clock::{self, Clock};
use crate::error::{guard, overloaded, to_python};

/// A bounded queue from any thread to one consumer: classes, deadlines, costs and cancellation.
#[pyclass(frozen, generic, subclass, module = "sparecall.queue", name = "Queue")]
pub(crate) struct Inbox {
    queue: core::Queue<Py<PyAny>>,
    /// Whether a `put` waits for room.
    waits: bool,
    clock: Clock,
    /// Who is told of the next item, and who of room. The lock is held for moments, attached or not.
    told: Mutex<Told>,
    room: Condvar,
}

#[derive(Default)]
struct Told {
    /// There is one consumer: the latest.
    of_items: Option<Waiter>,
    of_room: Vec<Waiter>,
    /// Threads that sleep until there is room.
    asleep: usize,
}

/// A future, and where its loop gets results.
struct Waiter {
    port: Py<Port>,
    future: Py<PyAny>,
}

/// What was put in, as whoever put it in sees it.
#[pyclass(frozen, generic, module = "sparecall.queue")]
pub(crate) struct QueueTicket {
    inbox: Py<Inbox>,
    ticket: core::Ticket<Py<PyAny>>,
    /// What gave way to it, in a list; empty where nothing had to.
    #[pyo3(get)]
    dropped: Vec<Py<PyAny>>,
}

#[pymethods]
impl QueueTicket {
    /// Takes the thing back while it waits, and says whether it did. O(1).
    fn cancel(&self, py: Python<'_>) -> bool {
        let inbox = self.inbox.get();
        let value = inbox.queue.cancel(&self.ticket);
        if value.is_some() {
            inbox.tell_of_room(py);
        }
        value.is_some()
    }

    fn __repr__(&self) -> &'static str {
        if self.ticket.is_waiting() { "QueueTicket(waiting)" } else { "QueueTicket(gone)" }
    }
}

#[pymethods]
impl Inbox {
    #[new]
    #[pyo3(signature = (max_items, *, overflow="wait", clock))]
    fn new(py: Python<'_>, max_items: i64, overflow: &str, clock: Bound<'_, PyAny>) -> PyResult<Self> {
        let wrong = |name, value: String, limit: &str| {
            to_python(py, &Error::InvalidArgument { name, value, limit: limit.to_owned() })
        };
        let Some(most) = usize::try_from(max_items).ok().filter(|&most| most > 0) else {
            return Err(wrong("max_items", max_items.to_string(), "give a number of items from 1 up"));
        };
        let overflow = match overflow {
            "wait" | "reject" => (Overflow::Reject, overflow == "wait"),
            "drop" => (Overflow::Drop, false),
            other => return Err(wrong("overflow", other.to_owned(), "give wait, reject or drop")),
        };
        let (clock, told) = (Clock::given(Some(clock))?, Mutex::default());
        Ok(Self { queue: core::Queue::new(most, overflow.0), waits: overflow.1, clock, told, room: Condvar::new() })
    }

    /// The most items that wait.
    #[getter]
    fn max_items(&self) -> usize {
        self.queue.max_items()
    }

    /// How many tokens wait.
    #[getter]
    fn tokens(&self) -> u64 {
        self.queue.tokens()
    }

    /// Puts a value in, from any thread.
    #[pyo3(
        signature = (value, *, priority="normal", tokens=1, deadline=None, timeout=None),
        text_signature = "($self, value, *, priority='normal', tokens=1, deadline=None, timeout=None)"
    )]
    fn put(
        slf: &Bound<'_, Self>,
        value: Py<PyAny>,
        priority: &str,
        tokens: i64,
        deadline: Option<f64>,
        timeout: Option<f64>,
    ) -> PyResult<QueueTicket> {
        let (py, inbox) = (slf.py(), slf.get());
        let priority = priority_of(py, priority)?;
        let Some(tokens) = u64::try_from(tokens).ok() else {
            let limit = "give the item's cost, 0 or more".to_owned();
            return Err(to_python(py, &Error::InvalidArgument { name: "tokens", value: tokens.to_string(), limit }));
        };
        let deadline = deadline.map(|deadline| clock::duration(py, "deadline", deadline)).transpose()?;
        let timeout = timeout.map(|timeout| clock::duration(py, "timeout", timeout)).transpose()?;
        let until = timeout.and_then(|timeout| Instant::now().checked_add(Duration::from_nanos(timeout)));
        let now = inbox.clock.read(py)?.nanoseconds();
        let mut pushed = inbox.queue.push(value, priority, tokens, deadline, now);
        while let Err(Full { value, retry_after }) = pushed {
            if !inbox.waits || !inbox.wait_for_room(py, until)? {
                let seconds = retry_after as f64 / 1e9;
                let most = inbox.queue.max_items();
                let message = format!("{most} items wait, the most that may; retry after {seconds:.3} s");
                return Err(overloaded(py, &message, "full", seconds));
            }
            pushed = inbox.queue.push(value, priority, tokens, deadline, now);
        }
        let Ok(Pushed { ticket, dropped }) = pushed else { return Err(crate::error::internal(py)) };
        inbox.tell_of_items(py);
        let dropped = dropped.map(|taken| taken.value).into_iter().collect();
        Ok(QueueTicket { inbox: slf.clone().unbind(), ticket, dropped })
    }

    /// The next value in a tuple of one; none where nothing waits.
    fn take(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>,)>> {
        let now = self.clock.read(py)?.nanoseconds();
        let taken = guard(py, || Ok(self.queue.take(now)))?;
        Ok(taken.map(|taken| {
            self.tell_of_room(py);
            (taken.value,)
        }))
    }

    /// All whose deadline has passed, taken out.
    fn expired(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        let now = self.clock.read(py)?.nanoseconds();
        let late = guard(py, || Ok(self.queue.expired(now)))?;
        if !late.is_empty() {
            self.tell_of_room(py);
        }
        Ok(late.into_iter().map(|taken| taken.value).collect())
    }

    /// Has `future` resolved once something waits, or at once.
    fn _tell_of_items(&self, py: Python<'_>, port: Py<Port>, future: Py<PyAny>) {
        let before = self.told().of_items.replace(Waiter { port, future });
        drop(before);
        if !self.queue.is_empty() {
            self.tell_of_items(py);
        }
    }

    /// Has `future` resolved once there is room, or at once.
    fn _tell_of_room(&self, py: Python<'_>, port: Py<Port>, future: Py<PyAny>) {
        self.told().of_room.push(Waiter { port, future });
        if self.queue.has_room() {
            self.tell_of_room(py);
        }
    }

    /// For whoever has ceased to wait for room. O(those who do).
    #[allow(clippy::needless_pass_by_value)] // as pyo3 hands it over
    fn _tell_no_more(&self, future: Py<PyAny>) {
        let left: Vec<Waiter> = self.told().of_room.extract_if(.., |waiter| waiter.future.is(&future)).collect();
        drop(left);
    }

    // Of what is held, only the clock is shown to the collector: what waits comes and goes while it looks.
    #[allow(clippy::needless_pass_by_value)] // the signature pyo3 asks for
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.clock {
            Clock::Coarse => Ok(()),
            Clock::Injected(clock) => visit.call(clock),
        }
    }

    fn __len__(&self) -> usize {
        self.queue.len()
    }

    fn __repr__(&self) -> String {
        format!(
            "Queue(items={}, max_items={}, tokens={})",
            self.queue.len(),
            self.queue.max_items(),
            self.queue.tokens()
        )
    }
}

impl Inbox {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_of_items(&self, py: Python<'_>) {
        let waiter = self.told().of_items.take();
        tell(py, waiter);
    }

    fn tell_of_room(&self, py: Python<'_>) {
        let mut told = self.told();
        let waiters = std::mem::take(&mut told.of_room);
        if told.asleep > 0 {
            self.room.notify_all();
        }
        drop(told);
        tell(py, waiters);
    }

    /// Sleeps until there may be room; false where the time is over.
    fn wait_for_room(&self, py: Python<'_>, until: Option<Instant>) -> PyResult<bool> {
        if PyModule::import(py, "asyncio")?.call_method0("_get_running_loop")?.is_none() {
            let waited = py.detach(|| {
                let mut told = self.told();
                while !self.queue.has_room() {
                    // In steps, so that signals are heeded.
                    let most = Duration::from_millis(100);
                    let left = until.map_or(most, |until| until.saturating_duration_since(Instant::now()).min(most));
                    if left.is_zero() {
                        return false;
                    }
                    told.asleep += 1;
                    told = self.room.wait_timeout(told, left).unwrap_or_else(PoisonError::into_inner).0;
                    told.asleep -= 1;
                    if left == most {
                        break;
                    }
                }
                true
            });
            py.check_signals()?;
            return Ok(waited);
        }
        Err(PyRuntimeError::new_err(
            "the queue is full, and waiting would hold the event loop up: await ready() before put()",
        ))
    }
}

fn tell(py: Python<'_>, waiters: impl IntoIterator<Item = Waiter>) {
    for Waiter { port, future } in waiters {
        port.get().put(Done::Value { future, value: py.None() });
    }
}
