//! `sparecall.queue`: results of native threads for event loops, and the workers that core's long work runs on.

mod inbox;
mod pool;
mod port;
mod wakeup;
mod work;

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use sparecall_core::error::Error;
use sparecall_core::queue::{PRIORITIES, Priority};

use crate::error::to_python;

pub(crate) use inbox::{Inbox, QueueTicket};
pub(crate) use pool::WorkTicket;
pub(crate) use port::Port;
pub(crate) use work::Work;

fn priority_of(py: Python<'_>, name: &str) -> PyResult<Priority> {
    Priority::from_name(name).ok_or_else(|| {
        let known = PRIORITIES.map(Priority::name).join(", ");
        to_python(py, &Error::UnknownName { kind: "priority", name: name.to_owned(), known })
    })
}

/// How many pieces of work wait, how many threads there are to do them, and how many there may be.
#[pyfunction]
pub(crate) fn queue_workers(py: Python<'_>) -> (usize, usize, usize) {
    pool::state(py)
}

/// For the child of a fork, which has none of the threads: it begins with none waiting.
#[pyfunction]
pub(crate) fn _queue_after_fork(py: Python<'_>) {
    pool::after_fork(py);
}

/// For tests: work that keeps a worker busy for so many seconds and returns `value`; for NaN, a fault of the core.
#[pyfunction]
pub(crate) fn _queue_pause(seconds: f64, value: Py<PyAny>) -> Work {
    let work = move || {
        assert!(!seconds.is_nan(), "as asked for");
        std::thread::sleep(std::time::Duration::from_secs_f64(seconds.max(0.0)));
    };
    Work::new(seconds.max(0.0), work, move |_, ()| Ok(value))
}

/// How often held work was let go, and the bell for it.
static LET_GO: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());

fn let_go() -> MutexGuard<'static, u64> {
    LET_GO.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For tests: work that keeps a worker busy until `_queue_let_go` is called next, and returns `value`.
#[pyfunction]
pub(crate) fn _queue_hold(value: Py<PyAny>) -> Work {
    let made = *let_go();
    let work = move || drop(LET_GO.1.wait_while(let_go(), |count| *count == made));
    Work::new(0.001, work, move |_, ()| Ok(value))
}

/// For tests: ends what `_queue_hold` made.
#[pyfunction]
pub(crate) fn _queue_let_go() {
    *let_go() += 1;
    LET_GO.1.notify_all();
}
