//! The project's one pool of workers: native threads that know no Python, started when there is work. One fewer than cores, at least one, does
//! work of any class, and one more what is urgent alone.
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
use crate::error::internal;

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
    crews: Mutex<Crews>,
    any: Condvar,
    urgent: Condvar,
    since: Instant,
}

/// The threads, and how often something was put in.
#[derive(Default)]
struct Crews {
    any: Crew,
    /// They do nothing below `high`, so that what somebody waits for does not stand behind what can wait.
    urgent: Crew,
    puts: u64,
}

#[derive(Default)]
struct Crew {
    all: usize,
    /// Those asleep that nobody has called.
    idle: usize,
    /// Those called and not awake yet.
    called: usize,
}

impl Crew {
    /// Has one of the idle wake up, if there is one.
    fn call(&mut self, bell: &Condvar) -> bool {
        let some = self.idle > 0;
        if some {
            self.idle -= 1;
            self.called += 1;
            bell.notify_one();
        }
        some
    }
}

/// The lowest class of the urgent crew, and how many they are.
const URGENT: Priority = Priority::High;
const MOST_URGENT: usize = 1;

/// Locked only attached, and never across a call into Python: who forks is attached, so no other thread holds it then.
static POOL: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool(_attached: Python<'_>) -> Arc<Pool> {
    lock(&POOL).get_or_insert_with(|| Arc::new(Pool::new())).clone()
}

/// How many threads do work of any class: all cores but the event loop's.
fn most_of_any() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() - 1).max(1)
}

/// How many jobs wait, how many threads there are, and how many there may be.
pub(super) fn state(py: Python<'_>) -> (usize, usize, usize) {
    let pool = pool(py);
    let crews = lock(&pool.crews);
    (pool.queue.len(), crews.any.all + crews.urgent.all, most_of_any() + MOST_URGENT)
}

/// In the child of a fork: its copy of the pool has no threads, and whatever lock they held is never given back.
pub(super) fn after_fork(_attached: Python<'_>) {
    std::mem::forget(lock(&POOL).take());
}

/// Puts a job where a worker finds it.
pub(super) fn submit(py: Python<'_>, job: Job, priority: Priority, cost: u64) -> PyResult<WorkTicket> {
    let pool = pool(py);
    let now = pool.since.elapsed().as_nanos() as u64;
    // Never full: it takes in what overflows.
    let Ok(pushed) = pool.queue.push(job, priority, cost, None, now) else { return Err(internal(py)) };
    let ticket = WorkTicket { pool, ticket: pushed.ticket };
    if let Err(error) = ticket.pool.tell(priority) {
        ticket.cancel();
        return Err(PyOSError::new_err(format!("no thread can be started: {error}")));
    }
    Ok(ticket)
}

impl Pool {
    fn new() -> Self {
        let (queue, crews, since) = (Queue::new(MOST, Overflow::Wait), Mutex::default(), Instant::now());
        Self { queue, crews, any: Condvar::new(), urgent: Condvar::new(), since }
    }

    /// After something was put in: wakes a thread that may do it, or starts one. Only where there is none at all must that succeed.
    fn tell(self: &Arc<Self>, priority: Priority) -> std::io::Result<()> {
        let mut crews = lock(&self.crews);
        crews.puts += 1;
        if crews.any.call(&self.any) {
            return Ok(());
        }
        if crews.any.all < most_of_any() {
            let started = self.start(Priority::Low);
            crews.any.all += usize::from(started.is_ok());
            return if crews.any.all > 0 { Ok(()) } else { started };
        }
        let urgent = priority <= URGENT && !crews.urgent.call(&self.urgent);
        if urgent && crews.urgent.all < MOST_URGENT && self.start(URGENT).is_ok() {
            crews.urgent.all += 1;
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, lowest: Priority) -> std::io::Result<()> {
        let pool = self.clone();
        std::thread::Builder::new().name("sparecall-core".to_owned()).spawn(move || pool.work(lowest)).map(drop)
    }

    /// What a thread does that takes work of `lowest` and higher classes.
    fn work(&self, lowest: Priority) {
        let (crew, bell): (fn(&mut Crews) -> &mut Crew, _) = if lowest == URGENT {
            (|crews| &mut crews.urgent, &self.urgent)
        } else {
            (|crews| &mut crews.any, &self.any)
        };
        let mut seen = lock(&self.crews).puts;
        loop {
            while let Some(taken) = self.queue.take_of(lowest, self.since.elapsed().as_nanos() as u64) {
                taken.value.run();
            }
            let mut crews = lock(&self.crews);
            // What was put in before `puts` was seen was there to be taken.
            if crews.puts == seen {
                crew(&mut crews).idle += 1;
                while crew(&mut crews).called == 0 {
                    crews = bell.wait(crews).unwrap_or_else(PoisonError::into_inner);
                }
                crew(&mut crews).called -= 1;
            }
            seen = crews.puts;
        }
    }
}
