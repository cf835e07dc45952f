//! `BytesCache`. Keys are exact `str` or digest `bytes`, values exact `bytes`, so that no Python code runs to hash, compare or
//! drop them, and the garbage collector has nothing to visit.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList};
use pyo3::{PyTraverseError, PyVisit};
use sparecall_core::cache::snapshot::{self, Form, Record};
use sparecall_core::cache::{Displaced, Key, StoredKey, Terms};

use super::fast::{FastGet, FastSet, Plain};
use super::guarded::Guarded;
use super::save::{self, AT_ONCE};
use super::state::{Options, Settings, State, whole};
use super::stats::CacheStats;
use super::value::{self, Held};
use super::{key, pairs, tags, to_list, to_tuple};
use crate::clock::Clock;
use crate::error::wrong_type;
use crate::fastcall::{FastMapping, Method};

/// What an entry weighs beside its key and its value.
const ENTRY_WEIGHT: u64 = 64;

/// An in-process cache of `bytes` bounded by weight (key + value + 64 bytes an entry).
#[pyclass(frozen, mapping, module = "sparecall.cache")]
pub(crate) struct BytesCache {
    state: Guarded<State<StoredKey, Held>>,
    settings: Settings,
    /// Values longer than this are compressed.
    compress_above: usize,
}

#[pymethods]
impl BytesCache {
    #[new]
    #[pyo3(signature = (max_bytes, *, policy="adaptive", ttl=None, jitter=0.0, second_price=0.001, compress_above=None, seed=None, clock=None))]
    #[allow(clippy::too_many_arguments)] // one for each of Python's
    fn new(
        py: Python<'_>,
        max_bytes: &Bound<'_, PyInt>,
        policy: &str,
        ttl: Option<f64>,
        jitter: f64,
        second_price: f64,
        compress_above: Option<Bound<'_, PyInt>>,
        seed: Option<Bound<'_, PyInt>>,
        clock: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let compress_above = compress_above.map_or(Ok(u64::MAX), |above| whole("compress_above", &above))? as usize;
        let options = Options { policy, ttl, jitter, second_price, seed, clock };
        let (state, settings) = options.build(py, "max_bytes", max_bytes)?;
        Ok(Self { state, settings, compress_above })
    }

    /// The value under `key`, or `default`.
    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.find(py, key)?.map(Bound::into_any).or(default))
    }

    fn __getitem__<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.subscript(py, key)
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (hash, key) = key::parse(key)?;
        let now = self.settings.clock.read(py)?;
        self.state.with(py, |state| {
            let found = state.cache.find(hash, |held| held.is(key));
            state.cache.is_live(found, || now.nanoseconds())
        })
    }

    /// Stores `value` under `key` and says whether it did: not where it is too heavy or `ttl` is 0.
    #[pyo3(signature = (key, value, *, ttl=None, cost=None, tags=None))]
    fn set(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Option<f64>,
        cost: Option<&Bound<'_, PyAny>>,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let tags = tags::parse(tags)?;
        let given = self.given(py, key, value, ttl, cost, &tags)?;
        self.store(py, given, &tags)
    }

    fn __setitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.assign(py, key, value)
    }

    /// Removes `key` and says whether it was there.
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (hash, key) = key::parse(key)?;
        Ok(self.remove(py, &[(hash, key)])? == 1)
    }

    fn __delitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        FastMapping::remove(self, py, key)
    }

    /// The values under `keys`, `None` where there is none, in one crossing.
    fn get_many<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let keys = to_list(keys)?;
        keys.iter().try_for_each(|key| key::check(&key))?;
        let mut found = Vec::with_capacity(keys.len());
        for key in &keys {
            found.push(self.find(py, &key)?);
        }
        PyList::new(py, found)
    }

    /// Stores every `(key, value)` of `items`, a dict or an iterable of pairs, and returns how many were stored.
    #[pyo3(signature = (items, *, ttl=None, cost=None, tags=None))]
    fn set_many(
        &self,
        py: Python<'_>,
        items: &Bound<'_, PyAny>,
        ttl: Option<f64>,
        cost: Option<&Bound<'_, PyAny>>,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let tags = tags::parse(tags)?;
        let pairs = pairs(items)?;
        let given = pairs.iter().map(|(key, value)| self.given(py, key, value, ttl, cost, &tags));
        let given = given.collect::<PyResult<Vec<_>>>()?;
        let mut displaced = Displaced::new();
        let now = self.settings.clock.read(py)?;
        self.state.with(py, |state| {
            let set = |((hash, key), value, terms): (Hashed<'_>, _, _)| {
                let found = state.cache.find(hash, |held| held.is(key));
                state.set(
                    found,
                    (hash, |place: &mut _| StoredKey::put(place, key)),
                    value,
                    &terms,
                    &tags,
                    now,
                    &mut displaced,
                )
            };
            given.into_iter().map(set).filter(|stored| *stored).count()
        })
    }

    /// Removes every one of `keys` and returns how many were there.
    fn delete_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<usize> {
        let keys = to_tuple(keys)?;
        let parsed = keys.as_slice().iter().map(key::parse).collect::<PyResult<Vec<_>>>()?;
        self.remove(py, &parsed)
    }

    /// Invalidates every entry that carries `tag` and returns how many there were.
    fn invalidate_tag(&self, py: Python<'_>, tag: &Bound<'_, PyAny>) -> PyResult<usize> {
        tags::one(tag, |hash, name| self.state.with(py, |state| state.cache.invalidate_tag(hash, name)))?
    }

    /// Invalidates every entry whose key is `prefix` or goes on after it with a `/`.
    fn invalidate_prefix(&self, py: Python<'_>, prefix: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut displaced = Displaced::new();
        tags::prefix(prefix, |path| self.state.with(py, |state| state.cache.invalidate_prefix(path, &mut displaced)))?
    }

    /// Removes entries that have expired or were invalidated, in at most `limit` steps, and returns how many.
    #[pyo3(signature = (*, limit=None), text_signature = "($self, *, limit=1000)")]
    fn sweep(&self, py: Python<'_>, limit: Option<&Bound<'_, PyInt>>) -> PyResult<usize> {
        self.state.sweep(py, &self.settings, limit)
    }

    /// Sets another bound, as far as `limit` evictions go, and says whether it is reached.
    #[pyo3(signature = (max_bytes, *, limit=None), text_signature = "($self, max_bytes, *, limit=1000)")]
    fn resize(&self, py: Python<'_>, max_bytes: &Bound<'_, PyInt>, limit: Option<&Bound<'_, PyInt>>) -> PyResult<bool> {
        self.state.resize(py, &self.settings, ("max_bytes", max_bytes), limit)
    }

    /// Removes every entry; statistics go on.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let mut displaced = Displaced::new();
        self.state.with(py, |state| state.cache.clear(&mut displaced))
    }

    /// What happened so far and what is held now.
    fn stats(&self, py: Python<'_>) -> PyResult<CacheStats> {
        self.state.with(py, |state| CacheStats::of(&state.cache))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.state.with(py, |state| state.cache.len())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.state.repr(py, "BytesCache")
    }

    /// What every file that `save` wrote begins with.
    #[classattr]
    #[pyo3(name = "SNAPSHOT_MAGIC")]
    fn snapshot_magic(py: Python<'_>) -> Bound<'_, PyBytes> {
        PyBytes::new(py, &snapshot::MAGIC)
    }

    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    /// Writes every live entry to the file `path`, in order, with the life it has left.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let read = |key: &StoredKey, held: &Held| (key.clone(), held.clone_ref(py));
        save::save(py, &self.state, &self.settings, (&path, Form::Bytes), read, |(key, held), write| {
            value::to_file(py, held, |kind, bytes| write(key.as_key(), kind, bytes))
        })
    }

    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    /// Adds the live entries of the file `path`, as if each had been set in its order, and returns how many.
    fn load(&self, py: Python<'_>, path: PathBuf) -> PyResult<usize> {
        save::load(py, &self.settings, (&path, Form::Bytes), |records| {
            let records: Vec<Record<'_>> = records.collect();
            let is_sound = |record: &Record<'_>| value::is_sound(record.value_kind, record.value);
            if !py.detach(|| records.iter().all(is_sound)) {
                return Err(save::forged(py));
            }
            let mut stored = 0;
            for (count, record) in records.iter().enumerate() {
                stored += usize::from(self.restore(py, record)?);
                if count % AT_ONCE == 0 {
                    py.detach(std::thread::yield_now);
                }
            }
            Ok(stored)
        })
    }

    // Only the clock can be part of a cycle: exact bytes refer to nothing.
    #[allow(clippy::needless_pass_by_value)] // the signature pyo3 asks for
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.settings.clock {
            Clock::Coarse => Ok(()),
            Clock::Injected(clock) => visit.call(clock),
        }
    }
}

impl Plain for BytesCache {
    #[inline]
    fn read_plainly<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.find(py, key).map(|found| found.map(Bound::into_any))
    }

    #[inline]
    fn set_plainly(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let given = self.given(py, key, value, None, None, &[])?;
        self.store(py, given, &[])
    }

    fn delete_plainly(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.delete(py, key)
    }

    fn get_method() -> &'static Method {
        static GET: Method = Method::new::<FastGet<BytesCache>>(c"get");
        &GET
    }

    fn set_method() -> &'static Method {
        static SET: Method = Method::new::<FastSet<BytesCache>>(c"set");
        &SET
    }
}

/// Drops what left, now: pyo3 would put it off in a call that it did not make itself.
#[inline]
fn let_go(py: Python<'_>, displaced: Displaced<StoredKey, Held>) {
    displaced.for_each(|_key, value| value.drop_ref(py));
}

type Hashed<'a> = (u32, Key<'a>);

impl BytesCache {
    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn find<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (hash, key) = key::parse(key)?;
        let now = self.settings.clock.read(py)?;
        let mut displaced = Displaced::new();
        let found = self.state.with(py, |state| {
            let held: Option<&Held> = state.cache.get(hash, |held| held.is(key), || now.nanoseconds(), &mut displaced);
            held.map(|held| held.bind(py).clone())
        })?;
        let_go(py, displaced);
        match found {
            Some(held) => value::release(held).map(Some),
            None => Ok(None),
        }
    }

    #[inline(always)] // measured: entries in memory between one function and the next cost a set 20 ns
    #[allow(clippy::inline_always)]
    fn given<'a>(
        &self,
        py: Python<'_>,
        key: &'a Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Option<f64>,
        cost: Option<&Bound<'_, PyAny>>,
        tags: &[(u32, StoredKey)],
    ) -> PyResult<(Hashed<'a>, Held, Terms)> {
        let Ok(bytes) = value.cast_exact::<PyBytes>() else {
            return Err(wrong_type("value", "exactly bytes", value));
        };
        let key = key::parse(key)?;
        let (value, size) = value::hold(bytes, self.compress_above)?;
        let terms = self.settings.terms(py, weight(key.1, size, tags), ttl, cost)?;
        Ok((key, value, terms))
    }

    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn store(
        &self,
        py: Python<'_>,
        ((hash, key), value, terms): (Hashed<'_>, Held, Terms),
        tags: &[(u32, StoredKey)],
    ) -> PyResult<bool> {
        let now = self.settings.clock.read(py)?;
        let mut displaced = Displaced::new();
        let stored = self.state.with(py, |state| {
            let found = state.cache.find(hash, |held| held.is(key));
            state.set(
                found,
                (hash, |place: &mut _| StoredKey::put(place, key)),
                value,
                &terms,
                tags,
                now,
                &mut displaced,
            )
        });
        let_go(py, displaced);
        stored
    }

    fn remove(&self, py: Python<'_>, keys: &[Hashed<'_>]) -> PyResult<usize> {
        let now = self.settings.clock.read(py)?;
        let mut displaced = Displaced::new();
        self.state.with(py, |state| {
            let delete = |&&(hash, key): &&Hashed<'_>| {
                let found = state.cache.find(hash, |held| held.is(key));
                state.cache.delete(found, || now.nanoseconds(), &mut displaced)
            };
            keys.iter().filter(delete).count()
        })
    }

    /// Sets an entry from a file.
    fn restore(&self, py: Python<'_>, record: &Record<'_>) -> PyResult<bool> {
        let object = key::restore(py, record.key)?;
        let key = key::parse(&object)?;
        let (value, size) = value::from_file(py, record.value_kind, record.value)?;
        let tags = tags::restore(py, &record.tags)?;
        let terms = self.settings.restored(weight(key.1, size, &tags), record);
        self.store(py, (key, value, terms), &tags)
    }
}

fn weight(key: Key<'_>, size: u64, tags: &[(u32, StoredKey)]) -> u64 {
    ENTRY_WEIGHT + key.bytes.len() as u64 + size + tags::weight(tags)
}
