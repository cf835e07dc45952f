//! Core's long work, made ready with the interpreter, done without it, and turned into Python objects on the loop's thread.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

/// What a worker does. It may hold Python objects, but touches none of them: it is made, finished and dropped attached.
pub(crate) trait Task: Send {
    fn run(&mut self);

    /// What came of it. Called once, after `run`.
    fn finish(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

/// Work that one closure does and another makes an object of.
struct Closures<W, F, T> {
    work: W,
    finish: Option<F>,
    done: Option<T>,
}

impl<T, W, F> Task for Closures<W, F, T>
where
    T: Send,
    W: FnMut() -> T + Send,
    F: FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send,
{
    fn run(&mut self) {
        // What the closure holds stays until this is dropped, attached.
        self.done = Some((self.work)());
    }

    fn finish(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match (self.finish.take(), self.done.take()) {
            (Some(finish), Some(done)) => finish(py, done),
            _ => Err(crate::error::internal(py)),
        }
    }
}

/// Long work of the core that is ready to be done by its workers: `sparecall.queue.run` awaits it, once.
#[pyclass(frozen, generic, module = "sparecall.queue")]
pub(crate) struct Work {
    task: Mutex<Option<Box<dyn Task>>>,
    /// How long it is predicted to take.
    #[pyo3(get)]
    seconds: f64,
}

impl Work {
    /// `work` runs on a worker, `finish` attached on the loop's thread with what it returned.
    pub(crate) fn new<T: Send + 'static>(
        seconds: f64,
        work: impl FnMut() -> T + Send + 'static,
        finish: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Self {
        let task = Closures { work, finish: Some(finish), done: None };
        Self { task: Mutex::new(Some(Box::new(task))), seconds }
    }

    /// The task; none where it was taken before.
    pub(super) fn take(&self) -> Option<Box<dyn Task>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Its cost, as the queue counts: microseconds.
    pub(super) fn cost(&self) -> u64 {
        (self.seconds * 1e6) as u64
    }
}

#[pymethods]
impl Work {
    fn __repr__(&self) -> String {
        format!("Work(seconds={:.6})", self.seconds)
    }
}
