//! `Cache`: any hashable key, any value. Python code of keys, values and weighers runs unlocked, whatever it does.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList};
use pyo3::{PyTraverseError, PyVisit};
use sparecall_core::cache::snapshot::Form;
use sparecall_core::cache::{Displaced, Key, StoredKey, Terms, mix};

use super::fast::{FastGet, FastSet, Plain};
use super::guarded::Guarded;
use super::object_key::{self, ObjectKey};
use super::plain;
use super::save::{self, AT_ONCE};
use super::state::{self, Options, Settings, State};
use super::stats::CacheStats;
use super::{pairs, tags, to_list, to_tuple};
use crate::clock::Clock;
use crate::error::{internal, wrong_type};
use crate::fastcall::{FastMapping, Method};

pub(super) type Objects = State<ObjectKey, Py<PyAny>>;

/// An in-process cache of any objects under any hashable keys, bounded by weight.
#[pyclass(frozen, mapping, generic, module = "sparecall.cache")]
pub(crate) struct Cache {
    pub(super) state: Guarded<Objects>,
    settings: Settings,
    weigher: Option<Py<PyAny>>,
}

#[pymethods]
impl Cache {
    #[new]
    #[pyo3(signature = (max_weight, *, policy="adaptive", ttl=None, jitter=0.0, second_price=0.001, weigher=None, seed=None, clock=None))]
    #[allow(clippy::too_many_arguments)] // one for each of Python's
    fn new(
        py: Python<'_>,
        max_weight: &Bound<'_, PyInt>,
        policy: &str,
        ttl: Option<f64>,
        jitter: f64,
        second_price: f64,
        weigher: Option<Bound<'_, PyAny>>,
        seed: Option<Bound<'_, PyInt>>,
        clock: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        if let Some(weigher) = weigher.as_ref().filter(|weigher| !weigher.is_callable()) {
            return Err(wrong_type("weigher", "a callable of key and value that returns a weight", weigher));
        }
        let options = Options { policy, ttl, jitter, second_price, seed, clock };
        let (state, settings) = options.build(py, "max_weight", max_weight)?;
        Ok(Self { state, settings, weigher: weigher.map(Bound::unbind) })
    }

    /// The value under `key`, or `default`.
    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.read_one(py, key)?.or(default))
    }

    fn __getitem__<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.subscript(py, key)
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let now = self.settings.clock.read(py)?;
        self.find(key, hash(key)?, |state, found| state.cache.is_live(found, || now.nanoseconds()))
    }

    /// Stores `value` under `key` and says whether it did: not where it is too heavy or `ttl` is 0.
    #[pyo3(signature = (key, value, *, ttl=None, weight=None, cost=None, tags=None))]
    #[allow(clippy::too_many_arguments)] // one for each of Python's
    fn set(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Option<f64>,
        weight: Option<&Bound<'_, PyAny>>,
        cost: Option<&Bound<'_, PyAny>>,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let tags = tags::parse(tags)?;
        let terms = self.terms(py, key, value, (ttl, weight, cost))?;
        self.store_one(py, key, value, &terms, &tags)
    }

    fn __setitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.assign(py, key, value)
    }

    /// Removes `key` and says whether it was there.
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.remove(py, key, &mut Displaced::new())
    }

    fn __delitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        FastMapping::remove(self, py, key)
    }

    /// The values under `keys`, `None` where there is none, in one crossing.
    fn get_many<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let mut displaced = Displaced::new();
        let keys = to_list(keys)?;
        let mut found = Vec::with_capacity(keys.len());
        for key in &keys {
            found.push(self.read(py, &key, &mut displaced)?);
        }
        PyList::new(py, found)
    }

    /// Stores every `(key, value)` of `items`, a dict or an iterable of pairs, and returns how many were stored.
    #[pyo3(signature = (items, *, ttl=None, weight=None, cost=None, tags=None))]
    fn set_many(
        &self,
        py: Python<'_>,
        items: &Bound<'_, PyAny>,
        ttl: Option<f64>,
        weight: Option<&Bound<'_, PyAny>>,
        cost: Option<&Bound<'_, PyAny>>,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let tags = tags::parse(tags)?;
        let pairs = pairs(items)?;
        let terms = pairs.iter().map(|(key, value)| self.terms(py, key, value, (ttl, weight, cost)));
        let terms = terms.collect::<PyResult<Vec<_>>>()?;
        let mut displaced = Displaced::new();
        let mut stored = 0;
        for ((key, value), terms) in pairs.iter().zip(&terms) {
            stored += usize::from(self.store(py, key, value, terms, &tags, &mut displaced)?);
        }
        Ok(stored)
    }

    /// Removes every one of `keys` and returns how many were there.
    fn delete_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut displaced = Displaced::new();
        let mut removed = 0;
        for key in to_tuple(keys)?.as_slice() {
            removed += usize::from(self.remove(py, key, &mut displaced)?);
        }
        Ok(removed)
    }

    /// Invalidates every entry that carries `tag` and returns how many there were.
    fn invalidate_tag(&self, py: Python<'_>, tag: &Bound<'_, PyAny>) -> PyResult<usize> {
        tags::one(tag, |hash, name| self.state.with(py, |state| state.cache.invalidate_tag(hash, name)))?
    }

    /// Invalidates every entry whose key is a str that is `prefix` or goes on after it with a `/`.
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
    #[pyo3(signature = (max_weight, *, limit=None), text_signature = "($self, max_weight, *, limit=1000)")]
    fn resize(
        &self,
        py: Python<'_>,
        max_weight: &Bound<'_, PyInt>,
        limit: Option<&Bound<'_, PyInt>>,
    ) -> PyResult<bool> {
        self.state.resize(py, &self.settings, ("max_weight", max_weight), limit)
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
        self.state.repr(py, "Cache")
    }

    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    /// Writes every live entry to the file `path`, in order, with the life it has left.
    #[pyo3(signature = (path, *, encode=None))]
    fn save(&self, py: Python<'_>, path: PathBuf, encode: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let read = |key: &ObjectKey, value: &Py<PyAny>| (key.0.clone_ref(py), value.clone_ref(py));
        save::save(py, &self.state, &self.settings, (&path, Form::Objects), read, |(key, value), write| {
            let mut key_bytes = Vec::new();
            plain::encode(key.bind(py), "a key", &mut key_bytes)?;
            let (kind, value_bytes) = plain::encode_value(value.bind(py), encode.as_ref())?;
            write(Key { kind: Key::DIGEST, bytes: &key_bytes }, kind, &value_bytes);
            Ok(())
        })
    }

    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    /// Adds the live entries of the file `path`, as if each had been set in its order, and returns how many.
    #[pyo3(signature = (path, *, decode=None))]
    fn load(&self, py: Python<'_>, path: PathBuf, decode: Option<Bound<'_, PyAny>>) -> PyResult<usize> {
        let loaded = save::load(py, &self.settings, (&path, Form::Objects), |records| {
            let mut loaded = Vec::new();
            for record in records {
                let key = plain::decode(py, record.key.bytes)?;
                hash(&key).map_err(|_| save::forged(py))?;
                let value = plain::decode_value(py, record.value_kind, record.value, decode.as_ref())?;
                let terms = self.settings.restored(record.weight, &record);
                loaded.push((key, value, terms, tags::restore(py, &record.tags)?));
                if loaded.len() % AT_ONCE == 0 {
                    py.detach(std::thread::yield_now);
                }
            }
            Ok(loaded)
        })?;
        let mut stored = 0;
        for (count, (key, value, terms, tags)) in loaded.into_iter().enumerate() {
            stored += usize::from(self.store(py, &key, &value, &terms, &tags, &mut Displaced::new())?);
            if count % AT_ONCE == 0 {
                py.detach(std::thread::yield_now);
            }
        }
        Ok(stored)
    }

    #[allow(clippy::needless_pass_by_value)] // the signature pyo3 asks for
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Clock::Injected(clock) = &self.settings.clock {
            visit.call(clock)?;
        }
        visit.call(&self.weigher)?;
        let entries = self.state.traverse(|state| {
            state.cache.entries().try_for_each(|(key, value)| {
                visit.call(&key.0)?;
                visit.call(value)
            })
        });
        entries.unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        Python::attach(|py| {
            // It fails only where the cache is at work, and then it is no garbage.
            let _ = self.clear(py);
        });
    }
}

impl Plain for Cache {
    #[inline]
    fn read_plainly<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.read_one(py, key)
    }

    #[inline]
    fn set_plainly(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let terms = self.terms(py, key, value, (None, None, None))?;
        self.store_one(py, key, value, &terms, &[])
    }

    fn delete_plainly(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.delete(py, key)
    }

    fn get_method() -> &'static Method {
        static GET: Method = Method::new::<FastGet<Cache>>(c"get");
        &GET
    }

    fn set_method() -> &'static Method {
        static SET: Method = Method::new::<FastSet<Cache>>(c"set");
        &SET
    }
}

/// Drops what left, now: pyo3 would put it off in a call that it did not make itself.
#[inline]
fn let_go(py: Python<'_>, displaced: Displaced<ObjectKey, Py<PyAny>>) {
    displaced.for_each(|key, value| {
        value.drop_ref(py);
        if let Some(ObjectKey(key)) = key {
            key.drop_ref(py);
        }
    });
}

#[inline]
fn hash(key: &Bound<'_, PyAny>) -> PyResult<u32> {
    Ok(mix(key.hash()? as u64))
}

impl Cache {
    /// Looks `key` up and calls `work` with what was found, under one lock. Keys that only Python code can compare are asked
    /// in between, unlocked, each at most once; what they answered holds for those very objects.
    #[inline]
    fn find<R>(
        &self,
        key: &Bound<'_, PyAny>,
        hash: u32,
        mut work: impl FnMut(&mut Objects, Option<u32>) -> R,
    ) -> PyResult<R> {
        let py = key.py();
        let mut question = None;
        let done = self.state.with(py, |state| {
            let found = state.cache.find(hash, |held| {
                let held = held.0.bind(py);
                object_key::equal(held, key).unwrap_or_else(|| {
                    question.get_or_insert_with(|| held.clone());
                    false
                })
            });
            if found.is_none() && question.is_some() { None } else { Some(work(state, found)) }
        })?;
        match (done, question) {
            (Some(result), _) => Ok(result),
            (None, Some(question)) => self.ask(key, hash, &question, work),
            (None, None) => Err(internal(py)),
        }
    }

    #[inline]
    fn store_one(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        terms: &Terms,
        tags: &[(u32, StoredKey)],
    ) -> PyResult<bool> {
        let mut displaced = Displaced::new();
        let stored = self.store(py, key, value, terms, tags, &mut displaced);
        let_go(py, displaced);
        stored
    }

    #[inline]
    fn read_one<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut displaced = Displaced::new();
        let found = self.read(py, key, &mut displaced);
        let_go(py, displaced);
        found
    }

    #[inline]
    fn read<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        displaced: &mut Displaced<ObjectKey, Py<PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let hash = hash(key)?;
        let now = self.settings.clock.read(py)?;
        self.find(key, hash, |state, found| {
            let value = state.cache.read(found, || now.nanoseconds(), displaced);
            value.map(|value| value.bind(py).clone())
        })
    }

    #[inline(always)] // measured: see `BytesCache`
    #[allow(clippy::inline_always)]
    fn terms(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        (ttl, weight, cost): (Option<f64>, Option<&Bound<'_, PyAny>>, Option<&Bound<'_, PyAny>>),
    ) -> PyResult<Terms> {
        let weight = match (weight, &self.weigher) {
            (Some(weight), _) => state::weight(weight)?,
            (None, Some(weigher)) => state::weight(&weigher.bind(py).call1((key, value))?)?,
            (None, None) => 1,
        };
        self.settings.terms(py, weight, ttl, cost)
    }

    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn store(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        terms: &Terms,
        tags: &[(u32, StoredKey)],
        displaced: &mut Displaced<ObjectKey, Py<PyAny>>,
    ) -> PyResult<bool> {
        let hash = hash(key)?;
        let now = self.settings.clock.read(py)?;
        self.find(key, hash, |state, found| {
            let put = |place: &mut Option<_>| *place = Some(ObjectKey(key.clone().unbind()));
            state.set(found, (hash, put), value.clone().unbind(), terms, tags, now, displaced)
        })
    }

    fn remove(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        displaced: &mut Displaced<ObjectKey, Py<PyAny>>,
    ) -> PyResult<bool> {
        let hash = hash(key)?;
        let now = self.settings.clock.read(py)?;
        self.find(key, hash, |state, found| state.cache.delete(found, || now.nanoseconds(), displaced))
    }
}
