//! `sparecall.index`: `VectorIndex`. The lock is held for moments only, never while Python code runs: searches read a
//! snapshot, batches are made ready before and taken in a piece at a time, heads are fitted beside.
//!
//! What is predicted to take less than half a millisecond keeps the interpreter: to let it go beside a busy thread costs five.

mod mapped;
mod matches;
mod vectors;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyType};
use pyo3::{PyTraverseError, PyVisit};
use sparecall_core::error::Error;
use sparecall_core::index::{Batch, Found, Index, NEVER, Options, Query, Snapshot};

use crate::clock::{self, Clock};
use crate::error::{guard, to_python};
use crate::file::{self, Replacement};
use crate::queue::Work;

pub(crate) use matches::Matches;
pub(crate) use vectors::VectorQuery;

/// Nanoseconds of work above which the interpreter is let go.
const DETACH_ABOVE: f64 = 500_000.0;
/// How often the lock is tried before it is waited for asleep.
const SPINS: usize = 4_000;
/// What adding an entry costs in nanoseconds, about.
const ADD: f64 = 3_000.0;

/// An index of vectors by cosine similarity. A search misses no live entry at or above its threshold.
#[pyclass(frozen, subclass, module = "sparecall.index")]
pub(crate) struct VectorIndex {
    index: Arc<Mutex<Index>>,
    dim: usize,
    clock: Clock,
}

#[pymethods]
impl VectorIndex {
    #[new]
    #[pyo3(signature = (dim, *, originals=true, clock=None), text_signature = "(dim, *, originals=True, clock=None)")]
    fn new(py: Python<'_>, dim: &Bound<'_, PyInt>, originals: bool, clock: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        let size = dim.extract::<usize>().unwrap_or(0);
        let index = Index::new(size).map_err(|error| to_python(py, &error))?;
        let index = if originals { index } else { index.without_originals() };
        Ok(Self { index: Arc::new(Mutex::new(index)), dim: size, clock: Clock::given(clock)? })
    }

    /// How many numbers a vector has.
    #[getter]
    fn dim(&self) -> usize {
        self.dim
    }

    /// Whether the vectors are kept as they were given, so that similarities are certain.
    #[getter]
    fn originals(&self) -> bool {
        self.lock().originals()
    }

    /// Stores `vector` under `id`, in place of an entry that was there, in whichever namespace.
    #[pyo3(signature = (id, vector, *, namespace="", expires_at=None))]
    fn add(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        vector: &Bound<'_, PyAny>,
        namespace: &str,
        expires_at: Option<f64>,
    ) -> PyResult<()> {
        let id = vectors::id(py, id)?;
        let expires_at = expiry(py, expires_at)?;
        let now = self.clock.wall(py)?;
        let vector = vectors::vector(vector)?;
        guard(py, || {
            let mut index = self.lock();
            index.add(id, &vector, namespace, expires_at, now).map_err(|error| to_python(py, &error))?;
            self.follow_up(&mut index, namespace);
            Ok(())
        })
    }

    /// Stores each row of `matrix` under the id beside it, or none where one is refused.
    #[pyo3(signature = (ids, matrix, *, namespace="", expires_at=None))]
    fn add_many(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        matrix: &Bound<'_, PyAny>,
        namespace: &str,
        expires_at: Option<f64>,
    ) -> PyResult<()> {
        let ids = vectors::ids(py, ids)?;
        let expires_at = expiry(py, expires_at)?;
        let now = self.clock.wall(py)?;
        let pieces = vectors::pieces(py, matrix, self.dim)?;
        let rows = pieces.iter().map(Vec::len).sum::<usize>() / self.dim;
        if rows != ids.len() {
            let limit = format!("give one id a row; the matrix has {rows}");
            return Err(to_python(
                py,
                &Error::InvalidArgument { name: "len(ids)", value: ids.len().to_string(), limit },
            ));
        }
        let outlook = self.lock().outlook(namespace, ids.len());
        let work = || -> std::result::Result<(), Error> {
            let batch = Batch::new(self.dim, &ids, pieces, expires_at, &outlook)?;
            for piece in batch.into_pieces() {
                self.lock().append(piece, namespace, now);
            }
            let job = self.lock().job(namespace);
            if let Some(job) = job {
                let fitted = job.run();
                self.lock().install(fitted);
            }
            Ok(())
        };
        guard(py, || {
            let done = if ADD * ids.len() as f64 > DETACH_ABOVE { py.detach(work) } else { work() };
            done.map_err(|error| to_python(py, &error))
        })
    }

    /// Removes the entry under `id` and says whether there was one.
    fn remove(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let id = vectors::id(py, id)?;
        guard(py, || Ok(self.lock().remove(id)))
    }

    /// Removes the entries under `ids` and returns how many there were.
    fn remove_many(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<usize> {
        let ids = vectors::ids(py, ids)?;
        guard(py, || {
            let mut removed = 0;
            for some in ids.chunks(AT_ONCE) {
                let mut index = self.lock();
                removed += some.iter().filter(|&&id| index.remove(id)).count();
            }
            Ok(removed)
        })
    }

    /// Checks a vector once, for several searches.
    fn prepare(&self, py: Python<'_>, vector: &Bound<'_, PyAny>) -> PyResult<VectorQuery> {
        VectorQuery::new(py, vector, self.dim)
    }

    /// The `k` live entries of the namespace most similar to `vector`, none below `min_similarity`.
    #[pyo3(
        signature = (vector, *, k=1, min_similarity=-1.0, namespace="", exact=true),
        text_signature = "($self, vector, *, k=1, min_similarity=-1.0, namespace='', exact=True)"
    )]
    fn search(
        &self,
        py: Python<'_>,
        vector: &Bound<'_, PyAny>,
        k: i64,
        min_similarity: f64,
        namespace: &str,
        exact: bool,
    ) -> PyResult<Matches> {
        let options = self.options(py, k, min_similarity, exact)?;
        let queries = match vector.cast_exact::<VectorQuery>() {
            Ok(query) => vec![query.get().query(py, self.dim)?],
            Err(_) => vec![vectors::query(py, vector, self.dim)?],
        };
        let mut found = self.run(py, queries, namespace, options)?;
        Ok(found.pop().unwrap_or_else(|| Matches::none(exact)))
    }

    /// What `search` finds for each row, or each prepared query; several share each pass over the entries.
    #[pyo3(
        signature = (vectors, *, k=1, min_similarity=-1.0, namespace="", exact=true),
        text_signature = "($self, vectors, *, k=1, min_similarity=-1.0, namespace='', exact=True)"
    )]
    fn search_many<'py>(
        &self,
        py: Python<'py>,
        vectors: &Bound<'py, PyAny>,
        k: i64,
        min_similarity: f64,
        namespace: &str,
        exact: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let options = self.options(py, k, min_similarity, exact)?;
        let queries = vectors::queries(py, vectors, self.dim)?;
        to_list(py, self.run(py, queries, namespace, options)?)
    }

    /// What `search_many` returns where that is quick, else work for the workers.
    fn _search_or_work<'py>(
        &self,
        py: Python<'py>,
        vectors: &Bound<'py, PyAny>,
        k: i64,
        min_similarity: f64,
        namespace: &str,
        exact: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = self.options(py, k, min_similarity, exact)?;
        let queries = vectors::queries(py, vectors, self.dim)?;
        guard(py, || {
            let count = queries.len();
            let search = self.plan(queries, namespace, options);
            let predicted = search.as_ref().map_or(0.0, Search::predict);
            if predicted <= DETACH_ABOVE {
                return Ok(to_list(py, found_by(search.as_ref(), count, exact))?.into_any());
            }
            let mut search = search;
            // The snapshot knows no Python: it is dropped here, not on the loop.
            let work = move || found_by(search.take().as_ref(), count, exact);
            let finish = |py: Python<'_>, found| Ok(to_list(py, found)?.into_any().unbind());
            Ok(Bound::new(py, Work::new(predicted / 1e9, work, finish))?.into_any())
        })
    }

    /// About how many seconds so many searches of the namespace would take.
    #[pyo3(
        signature = (*, queries=1, k=1, min_similarity=-1.0, namespace="", exact=true),
        text_signature = "($self, *, queries=1, k=1, min_similarity=-1.0, namespace='', exact=True)"
    )]
    fn predict_seconds(
        &self,
        py: Python<'_>,
        queries: usize,
        k: i64,
        min_similarity: f64,
        namespace: &str,
        exact: bool,
    ) -> PyResult<f64> {
        let options = self.options(py, k, min_similarity, exact)?;
        let snapshot = self.lock().snapshot(namespace);
        Ok(snapshot.map_or(0.0, |snapshot| snapshot.predict(queries, &options) / 1e9))
    }

    /// Writes the index as it is at this moment to `path`, in place of a file that was there.
    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let frozen = self.lock().freeze();
        let work = || {
            let mut file = Replacement::create(&path)?;
            frozen.write(|piece| file.write(piece))?;
            // Sharing ends before the wait for the disk: who changes the index then copies nothing.
            drop(frozen);
            file.commit()
        };
        guard(py, || py.detach(work).map_err(|error| file::to_python(&error, &path)))
    }

    /// The index that was saved to `path`. The file is mapped: it must not be changed in place.
    #[classmethod]
    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    #[pyo3(signature = (path, *, clock=None))]
    fn load<'py>(
        class: &Bound<'py, PyType>,
        path: PathBuf,
        clock: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        let opened = guard(py, || {
            let bytes = py.detach(|| mapped::open(&path)).map_err(|error| file::to_python(&error, &path))?;
            py.detach(|| Index::open(&bytes)).map_err(|error| to_python(py, &error))
        })?;
        let options = PyDict::new(py);
        options.set_item("originals", opened.originals())?;
        options.set_item("clock", clock)?;
        let loaded = class.call((opened.dim(),), Some(&options))?;
        *loaded.cast::<Self>()?.get().lock() = opened;
        Ok(loaded)
    }

    fn __len__(&self) -> usize {
        self.lock().len()
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.lock().contains(vectors::id(py, id)?))
    }

    fn __repr__(&self) -> String {
        let index = self.lock();
        format!("VectorIndex(dim={}, entries={}, namespaces={})", self.dim, index.len(), index.namespaces())
    }

    // Only the clock can be part of a cycle. No lock is taken here, so no collection waits.
    #[allow(clippy::needless_pass_by_value)] // the signature pyo3 asks for
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.clock {
            Clock::Coarse => Ok(()),
            Clock::Injected(clock) => visit.call(clock),
        }
    }
}

/// Entries removed before the lock is given up for a moment.
const AT_ONCE: usize = 1024;

impl VectorIndex {
    /// The lock. Should core have panicked under it, the index goes on empty: half an operation may be in it.
    fn lock(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    fn options(&self, py: Python<'_>, k: i64, min_similarity: f64, exact: bool) -> PyResult<Options> {
        let wrong = |name, value: String, limit: &str| {
            to_python(py, &Error::InvalidArgument { name, value, limit: limit.to_owned() })
        };
        let Some(k) = usize::try_from(k).ok().filter(|&k| k > 0) else {
            return Err(wrong("k", k.to_string(), "give a number of entries from 1 up"));
        };
        if !(-1.0..=1.0).contains(&min_similarity) {
            return Err(wrong("min_similarity", min_similarity.to_string(), "give a cosine from -1 to 1"));
        }
        Ok(Options { k, min_similarity, exact, now: self.clock.wall(py)? })
    }

    fn run(
        &self,
        py: Python<'_>,
        queries: Vec<Arc<Query>>,
        namespace: &str,
        options: Options,
    ) -> PyResult<Vec<Matches>> {
        guard(py, || {
            let count = queries.len();
            let search = self.plan(queries, namespace, options);
            let work = || found_by(search.as_ref(), count, options.exact);
            let long = search.as_ref().is_some_and(|search| search.predict() > DETACH_ABOVE);
            Ok(if long { py.detach(work) } else { work() })
        })
    }

    /// The search of a namespace as it is now; none where there is none.
    fn plan(&self, queries: Vec<Arc<Query>>, namespace: &str, options: Options) -> Option<Search> {
        let snapshot = self.lock().snapshot(namespace)?;
        Some(Search { index: self.index.clone(), snapshot, queries, namespace: namespace.to_owned(), options })
    }

    fn follow_up(&self, index: &mut Index, namespace: &str) {
        follow_up(&self.index, index, namespace);
    }
}

/// All that a search reads: good for any thread.
struct Search {
    index: Arc<Mutex<Index>>,
    snapshot: Snapshot,
    queries: Vec<Arc<Query>>,
    namespace: String,
    options: Options,
}

impl Search {
    /// Nanoseconds that it is predicted to take.
    fn predict(&self) -> f64 {
        self.snapshot.predict(self.queries.len(), &self.options)
    }

    /// Searches, and lets the index know what that cost where there are codes to spare the work.
    fn run(&self) -> Vec<Found> {
        let Self { index: shared, snapshot, queries, namespace, options } = self;
        let found = snapshot.search(queries, options);
        if snapshot.is_screened() {
            let mut index = lock(shared);
            for found in &found {
                index.observe(namespace, options, found.verified_fraction());
            }
            follow_up(shared, &mut index, namespace);
        }
        found
    }
}

fn found_by(search: Option<&Search>, count: usize, exact: bool) -> Vec<Matches> {
    match search {
        Some(search) => search.run().into_iter().map(|found| Matches::new(found, exact)).collect(),
        None => (0..count).map(|_| Matches::none(exact)).collect(),
    }
}

fn to_list(py: Python<'_>, found: Vec<Matches>) -> PyResult<Bound<'_, PyList>> {
    PyList::new(py, found.into_iter().map(|matches| Py::new(py, matches)).collect::<PyResult<Vec<_>>>()?)
}

/// Starts the work that growth made due in a thread of its own, which knows no Python. It takes seconds at a time, and cannot be
/// divided: among the workers it would hold searches up.
fn follow_up(shared: &Arc<Mutex<Index>>, index: &mut Index, namespace: &str) {
    if let Some(job) = index.job(namespace) {
        let shared = shared.clone();
        std::thread::spawn(move || {
            let fitted = job.run();
            lock(&shared).install(fitted);
        });
    }
}

/// Waits awake at first: a change holds the lock for some microseconds, and to be woken takes tens.
fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    for _ in 0..SPINS {
        match index.try_lock() {
            Ok(index) => return index,
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            Err(TryLockError::Poisoned(_)) => break,
        }
    }
    index.lock().unwrap_or_else(|poisoned| {
        let mut guard = poisoned.into_inner();
        if let Ok(empty) = Index::new(guard.dim()) {
            *guard = if guard.originals() { empty } else { empty.without_originals() };
        }
        index.clear_poison();
        guard
    })
}

fn expiry(py: Python<'_>, expires_at: Option<f64>) -> PyResult<u64> {
    expires_at.map_or(Ok(NEVER), |seconds| clock::duration(py, "expires_at", seconds))
}
