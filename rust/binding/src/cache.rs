//! `sparecall.cache`: `BytesCache`. Keys are exact `str` or digest `bytes`, values exact `bytes`, so that no Python code
//! runs to hash, compare or drop them.
//!
//! Under the lock nothing is called that could run Python code, wait for the interpreter or make a Python object: keys are
//! read and clocks of the user called before, displaced values dropped after.

mod key;
mod stats;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use sparecall_core::cache::snapshot::{self, Record};
use sparecall_core::cache::{Cache, Displaced, Key, NEVER};
use sparecall_core::error::Error;

use crate::clock::{self, Clock};
use crate::error::{guard, to_python, wrong_type};
use crate::file;

pub(crate) use stats::CacheStats;

type Values = Cache<Py<PyBytes>>;

/// What an entry weighs beside its key and its value.
const ENTRY_WEIGHT: u64 = 64;

/// An in-process cache of `bytes` bounded by weight (key + value + 64 bytes an entry), least recently used out first.
#[pyclass(frozen, mapping, module = "sparecall.cache")]
pub(crate) struct BytesCache {
    values: Mutex<Values>,
    /// The life of entries set without one, in nanoseconds, or `NEVER`.
    ttl: u64,
    clock: Clock,
}

#[pymethods]
impl BytesCache {
    #[new]
    #[pyo3(signature = (max_bytes, *, policy="lru", ttl=None, clock=None))]
    fn new(
        py: Python<'_>,
        max_bytes: &Bound<'_, PyInt>,
        policy: &str,
        ttl: Option<f64>,
        clock: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let max_weight = max_bytes.extract::<u64>().map_err(|_| {
            let limit = "give a number of bytes from 0 to 2**64 - 1".to_owned();
            to_python(py, &Error::InvalidArgument { name: "max_bytes", value: max_bytes.to_string(), limit })
        })?;
        if policy != "lru" {
            let known = "lru".to_owned();
            return Err(to_python(py, &Error::UnknownName { kind: "cache policy", name: policy.to_owned(), known }));
        }
        let clock = match clock {
            None => Clock::Coarse,
            Some(clock) if clock.is_callable() => Clock::Injected(clock.unbind()),
            Some(clock) => return Err(wrong_type("clock", "a callable that returns seconds", &clock)),
        };
        let ttl = ttl.map_or(Ok(NEVER), |seconds| clock::duration(py, "ttl", seconds))?;
        Ok(Self { values: Mutex::new(Cache::new(max_weight)), ttl, clock })
    }

    /// The value under `key`, or `default`; the entry becomes the most recently used.
    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.find(py, key)?.map(Bound::into_any).or(default))
    }

    fn __getitem__<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        self.find(py, key)?.ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (hash, key) = key::parse(key)?;
        let now = self.clock.read(py)?;
        guard(py, || Ok(self.lock().contains(hash, key, || now.nanoseconds())))
    }

    /// Stores `value` under `key` for `ttl` seconds and says whether it did: not where it is too heavy or `ttl` is 0.
    #[pyo3(signature = (key, value, *, ttl=None))]
    fn set(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Option<f64>,
    ) -> PyResult<bool> {
        let item = Item::parse(key, value)?;
        Ok(self.store(py, std::iter::once(item), ttl)? == 1)
    }

    /// Removes `key` and says whether it was there.
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (hash, key) = key::parse(key)?;
        let now = self.clock.read(py)?;
        let mut displaced = Displaced::new();
        guard(py, || Ok(self.lock().delete(hash, key, || now.nanoseconds(), &mut displaced)))
    }

    /// The values under `keys`, `None` where there is none, in one crossing.
    fn get_many<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let keys = to_tuple(keys)?;
        let parsed = keys.as_slice().iter().map(key::parse).collect::<PyResult<Vec<_>>>()?;
        let now = self.clock.read(py)?;
        let mut displaced = Displaced::new();
        let found = guard(py, || {
            let mut values = self.lock();
            let mut get = |(hash, key)| {
                let found = values.get(hash, key, || now.nanoseconds(), &mut displaced);
                found.map(|value| value.clone_ref(py))
            };
            Ok(parsed.into_iter().map(&mut get).collect::<Vec<_>>())
        })?;
        PyList::new(py, found)
    }

    /// Stores every `(key, value)` of `items`, a dict or an iterable of pairs, and returns how many were stored.
    #[pyo3(signature = (items, *, ttl=None))]
    fn set_many(&self, py: Python<'_>, items: &Bound<'_, PyAny>, ttl: Option<f64>) -> PyResult<usize> {
        let items = match items.cast::<PyDict>() {
            Ok(items) => items.items().to_tuple(),
            Err(_) => to_tuple(items)?,
        };
        let pairs = items.iter().map(|item| item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>());
        let pairs = pairs.collect::<PyResult<Vec<_>>>()?;
        let parsed = pairs.iter().map(|(key, value)| Item::parse(key, value)).collect::<PyResult<Vec<_>>>()?;
        self.store(py, parsed.into_iter(), ttl)
    }

    /// Removes every entry; statistics go on.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let mut displaced = Displaced::new();
        guard(py, || {
            self.lock().clear(&mut displaced);
            Ok(())
        })
    }

    /// What happened so far and what is held now.
    fn stats(&self) -> CacheStats {
        let values = self.lock();
        CacheStats {
            stats: values.stats(),
            entries: values.len(),
            weight: values.weight(),
            max_bytes: values.max_weight(),
        }
    }

    fn __len__(&self) -> usize {
        self.lock().len()
    }

    fn __repr__(&self) -> String {
        let CacheStats { entries, weight, max_bytes, .. } = self.stats();
        format!("BytesCache(max_bytes={max_bytes}, policy='lru', entries={entries}, weight={weight})")
    }

    /// What every file that `save` wrote begins with.
    #[classattr]
    #[pyo3(name = "SNAPSHOT_MAGIC")]
    fn snapshot_magic(py: Python<'_>) -> Bound<'_, PyBytes> {
        PyBytes::new(py, &snapshot::MAGIC)
    }

    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    /// Writes every live entry to the file `path`, in order of use, with the life it has left.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let saved_at = self.clock.wall(py)?;
        let now = self.clock.read(py)?.nanoseconds();
        let mut keys: Vec<u8> = Vec::new();
        let mut held: Vec<Held> = guard(py, || {
            let values = self.lock();
            let mut held = Vec::with_capacity(values.len());
            for entry in values.iter().filter(|entry| entry.expires_at > now) {
                let remaining = if entry.expires_at == NEVER { NEVER } else { entry.expires_at - now };
                keys.extend_from_slice(entry.key.bytes);
                let (kind, size) = (entry.key.kind, entry.key.bytes.len());
                held.push(Held { kind, size, value: entry.value.clone_ref(py), remaining });
            }
            Ok(held)
        })?;
        let mut records: Vec<Record<'_>> = Vec::with_capacity(held.len());
        let mut unread = keys.as_slice();
        for some in held.chunks(AT_ONCE) {
            for Held { kind, size, value, remaining } in some {
                let (key, rest) = unread.split_at(*size);
                unread = rest;
                let key = Key { kind: *kind, bytes: key };
                records.push(Record { key, value: value.as_bytes(py), remaining: *remaining });
            }
            py.detach(std::thread::yield_now);
        }
        let written = py.detach(|| file::replace(&path, &snapshot::encode(records.into_iter(), saved_at)));
        while !held.is_empty() {
            held.truncate(held.len().saturating_sub(AT_ONCE));
            py.detach(std::thread::yield_now);
        }
        written.map_err(|error| file::to_python(&error, &path))
    }

    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    /// Adds the live entries of the file `path`, as if each had been set in their order of use, and returns how many.
    fn load(&self, py: Python<'_>, path: PathBuf) -> PyResult<usize> {
        let bytes = py.detach(|| std::fs::read(&path)).map_err(|error| file::to_python(&error, &path))?;
        let wall_now = self.clock.wall(py)?;
        let records =
            guard(py, || py.detach(|| snapshot::decode(&bytes, wall_now)).map_err(|error| to_python(py, &error)))?;
        let objects = records
            .iter()
            .map(|record| Ok((key::restore(py, record.key)?, PyBytes::new(py, record.value), record.remaining)))
            .collect::<PyResult<Vec<_>>>()?;
        let items = objects.iter().map(|(key, value, remaining)| Item::new(key, value.clone(), Some(*remaining)));
        let items = items.collect::<PyResult<Vec<_>>>()?;
        self.store(py, items.into_iter(), None)
    }

    // Only the clock can be part of a cycle: exact bytes refer to nothing. No lock is taken here, so no collection waits.
    #[allow(clippy::needless_pass_by_value)] // the signature pyo3 asks for
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.clock {
            Clock::Coarse => Ok(()),
            Clock::Injected(clock) => visit.call(clock),
        }
    }
}

impl BytesCache {
    /// The lock. Should core have panicked under it, the cache goes on empty: half an operation may be in it.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(|poisoned| {
            let mut values = poisoned.into_inner();
            *values = Cache::new(values.max_weight());
            self.values.clear_poison();
            values
        })
    }

    #[inline]
    fn find<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (hash, key) = key::parse(key)?;
        let now = self.clock.read(py)?;
        let mut displaced = Displaced::new();
        guard(py, || {
            let mut values = self.lock();
            let found = values.get(hash, key, || now.nanoseconds(), &mut displaced);
            Ok(found.map(|value| value.bind(py).clone()))
        })
    }

    /// Stores items under one lock and returns how many were stored.
    #[inline]
    fn store<'a>(&self, py: Python<'_>, items: impl Iterator<Item = Item<'a>>, ttl: Option<f64>) -> PyResult<usize> {
        let ttl = ttl.map_or(Ok(self.ttl), |seconds| clock::duration(py, "ttl", seconds))?;
        let clock = self.clock.read(py)?;
        let mut displaced = Displaced::new();
        guard(py, || {
            let mut values = self.lock();
            let mut stored = 0;
            for Item { hash, key, value, weight, life } in items {
                let life = life.unwrap_or(ttl);
                let now = if life != NEVER || values.has_mortal() { clock.nanoseconds() } else { 0 };
                let expires_at = if life == NEVER { NEVER } else { now.saturating_add(life) };
                stored += usize::from(values.set(hash, key, value, weight, expires_at, now, &mut displaced));
            }
            Ok(stored)
        })
    }
}

/// Entries that a save reads, or lets go of, before it lets other threads run.
const AT_ONCE: usize = 1024;

/// One entry on its way into a file; its key stands beside, `size` bytes long, after those of the entries before.
struct Held {
    kind: u8,
    size: usize,
    value: Py<PyBytes>,
    remaining: u64,
}

/// One entry on its way in.
struct Item<'a> {
    hash: u64,
    key: Key<'a>,
    value: Py<PyBytes>,
    weight: u64,
    /// Its own life in nanoseconds, where it brings one.
    life: Option<u64>,
}

impl<'a> Item<'a> {
    #[inline]
    fn parse(key: &'a Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        match value.cast_exact::<PyBytes>() {
            Ok(value) => Self::new(key, value.clone(), None),
            Err(_) => Err(wrong_type("value", "exactly bytes", value)),
        }
    }

    #[inline]
    fn new(key: &'a Bound<'_, PyAny>, value: Bound<'_, PyBytes>, life: Option<u64>) -> PyResult<Self> {
        let (hash, key) = key::parse(key)?;
        let weight = ENTRY_WEIGHT + (key.bytes.len() + value.as_bytes().len()) as u64;
        Ok(Self { hash, key, value: value.unbind(), weight, life })
    }
}

/// The items of any iterable, where nothing can change them any more.
fn to_tuple<'py>(items: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    match items.cast_exact::<PyTuple>() {
        Ok(items) => Ok(items.clone()),
        Err(_) => Ok(items.py().get_type::<PyTuple>().call1((items,))?.cast_into()?),
    }
}
