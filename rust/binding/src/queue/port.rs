//! Where one event loop gets its results: a lock-free list of what is done, and one descriptor that says when to look.
//!
//! Python objects in it are touched and dropped on the loop's thread alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_queue::SegQueue;
use pyo3::exceptions::{PyBaseException, PyOSError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use sparecall_core::queue::Armed;

use super::pool::{self, Job, WorkTicket};
use super::priority_of;
use super::wakeup::Wakeup;
use super::work::{Task, Work};
use crate::error::{guard, internal};

/// The most futures of one drain, and about the longest it takes: the rest of what is ready comes after others on the loop had their turn.
const MOST: usize = 256;
const LONGEST: Duration = Duration::from_micros(500);

/// What is done. Its length is bounded by what is under way.
pub(super) struct Results {
    done: SegQueue<Done>,
    armed: Armed,
    wakeup: Wakeup,
}

/// A future and what it is to be resolved with.
pub(super) enum Done {
    /// `whole` says that the core did not panic.
    Ran {
        future: Py<PyAny>,
        task: Box<dyn Task>,
        whole: bool,
    },
    Value {
        future: Py<PyAny>,
        value: Py<PyAny>,
    },
    Error {
        future: Py<PyAny>,
        error: Py<PyBaseException>,
    },
}

impl Results {
    /// Hands something over to the loop. From any thread, attached or not.
    pub(super) fn put(&self, done: Done) {
        self.done.push(done);
        if self.armed.raise() {
            self.wakeup.signal();
        }
    }

    fn drain(&self, py: Python<'_>) {
        self.wakeup.clear();
        self.armed.lower();
        let began = Instant::now();
        for _ in 0..MOST {
            let Some(done) = self.done.pop() else { return };
            let made = matches!(done, Done::Ran { .. });
            if let Err(error) = done.settle(py) {
                error.write_unraisable(py, None);
            }
            if made && began.elapsed() > LONGEST {
                break;
            }
        }
        if !self.done.is_empty() && self.armed.raise() {
            self.wakeup.signal();
        }
    }
}

impl Done {
    /// Resolves the future, unless whoever waited has gone.
    fn settle(self, py: Python<'_>) -> PyResult<()> {
        let (Self::Ran { future, .. } | Self::Value { future, .. } | Self::Error { future, .. }) = &self;
        let future = future.clone_ref(py).into_bound(py);
        if future.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(());
        }
        let result = match self {
            Self::Ran { mut task, whole: true, .. } => guard(py, || task.finish(py)),
            Self::Ran { whole: false, .. } => Err(internal(py)),
            Self::Value { value, .. } => Ok(value),
            Self::Error { error, .. } => Err(PyErr::from_value(error.into_bound(py).into_any())),
        };
        match result {
            Ok(value) => future.call_method1(intern!(py, "set_result"), (value,))?,
            Err(error) => future.call_method1(intern!(py, "set_exception"), (error,))?,
        };
        Ok(())
    }
}

/// Where an event loop gets results from other threads. `sparecall.queue` makes one for each loop.
#[pyclass(frozen, module = "sparecall.queue")]
pub(crate) struct Port {
    results: Arc<Results>,
}

impl Port {
    /// Hands something over to the loop. From any thread.
    pub(super) fn put(&self, done: Done) {
        self.results.put(done);
    }
}

#[pymethods]
impl Port {
    #[new]
    fn new() -> PyResult<Self> {
        let wakeup = Wakeup::new().map_err(|error| PyOSError::new_err(error.to_string()))?;
        let (done, armed) = (SegQueue::new(), Armed::default());
        Ok(Self { results: Arc::new(Results { done, armed, wakeup }) })
    }

    /// What the loop is to watch for reading.
    fn fileno(&self) -> i32 {
        self.results.wakeup.fd()
    }

    /// Resolves what is ready, at most 256 futures; more comes with the next turn of the loop.
    fn drain(&self, py: Python<'_>) {
        self.results.drain(py);
    }

    /// Has a worker do `work` and resolves `future` with what comes of it. What is cancelled by then is dropped.
    fn submit(&self, py: Python<'_>, work: &Work, future: Py<PyAny>, priority: &str) -> PyResult<WorkTicket> {
        let priority = priority_of(py, priority)?;
        let Some(task) = work.take() else {
            return Err(PyRuntimeError::new_err("this work was begun before; make it anew"));
        };
        pool::submit(py, Job::new(task, future, self.results.clone()), priority, work.cost())
    }

    /// Resolves `future` with `value` on its loop. From any thread.
    fn resolve(&self, future: Py<PyAny>, value: Py<PyAny>) {
        self.put(Done::Value { future, value });
    }

    /// Makes `future` raise `error` on its loop. From any thread.
    fn fail(&self, future: Py<PyAny>, error: Py<PyBaseException>) {
        self.put(Done::Error { future, error });
    }

    /// For benchmarks: a native thread resolves the futures with `value`, one after the other.
    #[allow(clippy::needless_pass_by_value)] // as pyo3 hands it over
    fn _resolve_natively(&self, py: Python<'_>, futures: Vec<Py<PyAny>>, value: Py<PyAny>) {
        let done: Vec<_> =
            futures.into_iter().map(|future| Done::Value { future, value: value.clone_ref(py) }).collect();
        let results = self.results.clone();
        std::thread::spawn(move || done.into_iter().for_each(|one| results.put(one)));
    }

    fn __repr__(&self) -> String {
        format!("Port(fileno={}, ready={})", self.results.wakeup.fd(), self.results.done.len())
    }
}
