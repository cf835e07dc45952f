//! The project's one pool of workers: native threads that know no Python, started when there is work.
//!
//! A fork leaves the child without them: `after_fork` has it begin with a new pool. Threads are not joined at exit: whoever would have awaited what
//! they do is gone, and they touch nothing that goes away.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use sparecall_core::queue::{Overflow, Priority, Queue, Ticket};

use super::port::{Done, Results};
use super::work::Task;

/// Jobs that wait in rings; more of them wait all the same, as do those who await them.
const MOST: usize = 4096;

/// Work, and who waits for it where.
pub(super) struct Job {
    task: Box<dyn Task>,
    future: Py<PyAny>,
    results: Arc<Results>,
}

impl Job {
    pub(super) fn new(task: Box<dyn Task>, future: Py<PyAny>, results: Arc<Results>) -> Self {
        Self { task, future, results }
    }

    /// Does the work and hands it to its loop, where it is dropped too.
    fn run(self) {
        let Self { mut task, future, results } = self;
        let whole = catch_unwind(AssertUnwindSafe(|| task.run())).is_ok();
        results.put(Done::Ran { future, task, whole });
    }
}

/// The right to call work off.
#[pyclass(frozen, module = "sparecall.queue")]
pub(crate) struct WorkTicket {
    pool: Arc<Pool>,
    ticket: Ticket<Job>,
}

#[pymethods]
impl WorkTicket {
    /// Calls the work off where it was not begun: True. Its place is free and what it holds is dropped at once. O(1).
    fn cancel(&self) -> bool {
        // After a fork, a thread that is not there may hold a lock of that pool.
        let current = lock(&POOL).as_ref().is_some_and(|pool| Arc::ptr_eq(pool, &self.pool));
        current && self.pool.queue.cancel(&self.ticket).is_some()
    }

    fn __repr__(&self) -> &'static str {
        if self.ticket.is_waiting() { "WorkTicket(waiting)" } else { "WorkTicket(begun)" }
    }
}

struct Pool {
    queue: Queue<Job>,
    threads: Mutex<Threads>,
    work: Condvar,
    since: Instant,
}

#[derive(Default)]
struct Threads {
    all: usize,
    idle: usize,
}

/// Locked only attached, and never across a call into Python: who forks is attached, so no other thread holds it then.
static POOL: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool(_attached: Python<'_>) -> Arc<Pool> {
    lock(&POOL).get_or_insert_with(|| Arc::new(Pool::new())).clone()
}

/// How many threads work at most: all cores but the event loop's.
pub(super) fn most_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() - 1).max(1)
}

/// How many jobs wait and how many threads there are.
pub(super) fn state(py: Python<'_>) -> (usize, usize) {
    let pool = pool(py);
    let threads = lock(&pool.threads).all;
    (pool.queue.len(), threads)
}

/// In the child of a fork: its copy of the pool has no threads, and whatever lock they held is never given back.
pub(super) fn after_fork(_attached: Python<'_>) {
    std::mem::forget(lock(&POOL).take());
}

/// Puts a job where a worker finds it.
pub(super) fn submit(py: Python<'_>, job: Job, priority: Priority, cost: u64) -> PyResult<WorkTicket> {
    let pool = pool(py);
    pool.ensure_a_thread().map_err(|error| PyOSError::new_err(format!("no thread can be started: {error}")))?;
    let now = pool.since.elapsed().as_nanos() as u64;
    // Never full: it takes in what overflows.
    let pushed = pool.queue.push(job, priority, cost, None, now);
    let Ok(pushed) = pushed else { return Err(crate::error::internal(py)) };
    pool.wake();
    Ok(WorkTicket { pool, ticket: pushed.ticket })
}

impl Pool {
    fn new() -> Self {
        let (queue, since) = (Queue::new(MOST, Overflow::Wait), Instant::now());
        Self { queue, threads: Mutex::default(), work: Condvar::new(), since }
    }

    /// Starts a thread where none is idle and more may be; only the first must come about.
    fn ensure_a_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let mut threads = lock(&self.threads);
        if threads.idle > 0 || threads.all >= most_threads() {
            return Ok(());
        }
        let pool = self.clone();
        match std::thread::Builder::new().name("sparecall-core".to_owned()).spawn(move || pool.work()) {
            Ok(_) => threads.all += 1,
            Err(error) if threads.all == 0 => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    fn wake(&self) {
        if lock(&self.threads).idle > 0 {
            self.work.notify_one();
        }
    }

    fn work(&self) {
        loop {
            if let Some(taken) = self.queue.take(self.since.elapsed().as_nanos() as u64) {
                taken.value.run();
                continue;
            }
            let mut threads = lock(&self.threads);
            threads.idle += 1;
            // Who puts something in takes the lock afterwards: either this sees it, or it sees this.
            while self.queue.is_empty() {
                threads = self.work.wait(threads).unwrap_or_else(PoisonError::into_inner);
            }
            threads.idle -= 1;
            drop(threads);
            // It may have been counted, and not put in yet.
            std::thread::yield_now();
        }
    }
}
