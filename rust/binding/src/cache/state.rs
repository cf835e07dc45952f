//! What both caches are behind their lock: core's cache and the rule by which lives are given.

use std::hash::{BuildHasher, RandomState};

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple};
use sparecall_core::cache::policy::{AnyPolicy, Policy};
use sparecall_core::cache::snapshot::Record;
use sparecall_core::cache::{self, Cost, Displaced, Jitter, NEVER, Path, StoredKey, Terms};
use sparecall_core::error::Error;

use super::guarded::{Guarded, Renew};
use crate::clock::{self, Clock, Now};
use crate::error::{to_python, wrong_type};

pub(super) struct State<K, V> {
    pub(super) cache: cache::Cache<K, V, AnyPolicy>,
    jitter: Jitter,
}

impl<K: Path, V> Renew for State<K, V> {
    fn renewed(&self) -> Self {
        let policy = self.cache.policy().fresh();
        Self { cache: cache::Cache::new(self.cache.max_weight(), policy), jitter: self.jitter.clone() }
    }
}

impl<K: Path, V> State<K, V> {
    /// Stores an entry under the key that `found` was looked up for, and says whether it did. `terms.expires_at` is the life that
    /// was given: in nanoseconds, or `NEVER`.
    #[inline]
    #[allow(clippy::too_many_arguments)] // see core's
    pub(super) fn set(
        &mut self,
        found: Option<u32>,
        key: (u32, impl FnOnce(&mut Option<K>)),
        value: V,
        terms: &Terms,
        tags: &[(u32, StoredKey)],
        now: Now,
        displaced: &mut Displaced<K, V>,
    ) -> bool {
        let mut terms = *terms;
        let mortal = terms.expires_at != NEVER;
        let now = if mortal || self.cache.has_mortal() { now.nanoseconds() } else { 0 };
        if mortal {
            // A life that comes from a file has been shortened before.
            let life = terms.expires_at;
            let life = if terms.memory.is_none() { self.jitter.shorten(life) } else { life };
            terms.expires_at = now.saturating_add(life);
        }
        self.cache.set(found, key, value, &terms, tags, now, displaced).is_some()
    }
}

/// Steps of a sweep, and evictions of another bound, that are given no limit.
const SWEEP: u64 = 1000;

impl<K: Path, V> Guarded<State<K, V>> {
    /// Removes what is over, in at most `limit` steps or a usual number of them.
    pub(super) fn sweep(
        &self,
        py: Python<'_>,
        settings: &Settings,
        limit: Option<&Bound<'_, PyInt>>,
    ) -> PyResult<usize> {
        let limit = limit.map_or(Ok(SWEEP), |limit| whole("limit", limit))? as usize;
        let now = settings.clock.read(py)?.nanoseconds();
        let mut displaced = Displaced::new();
        self.with(py, |state| state.cache.sweep(limit, now, &mut displaced))
    }

    /// Another bound, as far as `limit` evictions go.
    pub(super) fn resize(
        &self,
        py: Python<'_>,
        settings: &Settings,
        (name, bound): (&'static str, &Bound<'_, PyInt>),
        limit: Option<&Bound<'_, PyInt>>,
    ) -> PyResult<bool> {
        let bound = whole(name, bound)?;
        let limit = limit.map_or(Ok(SWEEP), |limit| whole("limit", limit))? as usize;
        let now = settings.clock.read(py)?.nanoseconds();
        let mut displaced = Displaced::new();
        self.with(py, |state| state.cache.resize(bound, limit, now, &mut displaced))
    }

    /// The repr of the cache of this class.
    pub(super) fn repr(&self, py: Python<'_>, class: &str) -> PyResult<String> {
        self.with(py, |state| {
            let cache = &state.cache;
            let (policy, entries, weight) = (cache.policy().name(), cache.len(), cache.weight());
            format!("{class}({}, policy='{policy}', entries={entries}, weight={weight})", cache.max_weight())
        })
    }
}

/// What both caches are made with and keep beside the lock.
pub(super) struct Settings {
    /// The life of entries set without one, in nanoseconds, or `NEVER`.
    pub(super) ttl: u64,
    pub(super) clock: Clock,
    /// Dollars that a second of waiting is worth to the policy.
    second_price: f64,
}

/// The arguments both constructors have in common.
pub(super) struct Options<'py> {
    pub(super) policy: &'py str,
    pub(super) ttl: Option<f64>,
    pub(super) jitter: f64,
    pub(super) second_price: f64,
    pub(super) seed: Option<Bound<'py, PyInt>>,
    pub(super) clock: Option<Bound<'py, PyAny>>,
}

impl Options<'_> {
    pub(super) fn build<K: Path, V>(
        self,
        py: Python<'_>,
        name: &'static str,
        max_weight: &Bound<'_, PyInt>,
    ) -> PyResult<(Guarded<State<K, V>>, Settings)> {
        let max_weight = whole(name, max_weight)?;
        let policy = AnyPolicy::new(self.policy, max_weight).ok_or_else(|| {
            let known = AnyPolicy::NAMES.join(", ");
            to_python(py, &Error::UnknownName { kind: "cache policy", name: self.policy.to_owned(), known })
        })?;
        if !(0.0..=1.0).contains(&self.jitter) {
            let limit = "give the share of a life, from 0 to 1, by which chance may shorten it".to_owned();
            let value = self.jitter.to_string();
            return Err(to_python(py, &Error::InvalidArgument { name: "jitter", value, limit }));
        }
        if !(self.second_price.is_finite() && self.second_price >= 0.0) {
            let limit = "give the dollars that a second of waiting is worth: finite and not negative".to_owned();
            let value = self.second_price.to_string();
            return Err(to_python(py, &Error::InvalidArgument { name: "second_price", value, limit }));
        }
        let clock = Clock::given(self.clock)?;
        let ttl = self.ttl.map_or(Ok(NEVER), |seconds| clock::duration(py, "ttl", seconds))?;
        let seed = self.seed.map_or_else(|| Ok(RandomState::new().hash_one(0)), |seed| whole("seed", &seed))?;
        let jitter = Jitter::new(self.jitter, seed);
        let cache = cache::Cache::new(max_weight, policy);
        Ok((Guarded::new(State { cache, jitter }), Settings { ttl, clock, second_price: self.second_price }))
    }
}

impl Settings {
    /// The terms of an entry that is set; their `expires_at` is its life.
    #[inline(always)] // measured: through memory they cost a set 10 ns
    #[allow(clippy::inline_always)]
    pub(super) fn terms(
        &self,
        py: Python<'_>,
        weight: u64,
        ttl: Option<f64>,
        cost: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Terms> {
        let life = ttl.map_or(Ok(self.ttl), |seconds| clock::duration(py, "ttl", seconds))?;
        let cost = parse_cost(cost)?;
        Ok(Terms { weight, cost, worth: self.worth(cost), expires_at: life, memory: None })
    }

    /// The terms of an entry in a file.
    pub(super) fn restored(&self, weight: u64, record: &Record<'_>) -> Terms {
        let Record { cost, remaining, memory, .. } = *record;
        Terms { weight, cost, worth: self.worth(cost), expires_at: remaining, memory: Some(memory) }
    }

    #[inline]
    fn worth(&self, cost: Cost) -> f64 {
        (cost.dollars + cost.seconds * self.second_price).min(f64::MAX)
    }
}

/// A weight as the user or the weigher gave it.
pub(super) fn weight(weight: &Bound<'_, PyAny>) -> PyResult<u64> {
    let Ok(number) = weight.cast::<PyInt>() else { return Err(wrong_type("weight", "int", weight)) };
    whole("weight", number)
}

/// A whole number that is not negative and fits 64 bits, such as the bound of all weights.
#[inline]
pub(super) fn whole(name: &'static str, number: &Bound<'_, PyInt>) -> PyResult<u64> {
    number.extract::<u64>().map_err(|_| {
        // Not as Python would write it: it refuses to above 4300 digits.
        let value = number.extract::<i128>().map_or("out of all bounds".to_owned(), |number| number.to_string());
        let limit = "give a whole number from 0 to 2**64 - 1".to_owned();
        to_python(number.py(), &Error::InvalidArgument { name, value, limit })
    })
}

/// What a miss would cost, as the user gave it: dollars, or dollars and seconds.
#[inline]
fn parse_cost(cost: Option<&Bound<'_, PyAny>>) -> PyResult<Cost> {
    let Some(cost) = cost else { return Ok(Cost::NONE) };
    let parsed = match cost.cast_exact::<PyTuple>() {
        Ok(pair) => pair.extract().map(|(dollars, seconds)| Cost { dollars, seconds }),
        Err(_) => cost.extract().map(|dollars| Cost { dollars, seconds: 0.0 }),
    };
    match parsed {
        Ok(cost) if cost.is_valid() => Ok(cost),
        Ok(Cost { dollars, seconds }) => {
            let limit =
                "give the dollars, or (dollars, seconds), that a miss would cost: finite and not negative".to_owned();
            let value = format!("({dollars}, {seconds})");
            Err(to_python(cost.py(), &Error::InvalidArgument { name: "cost", value, limit }))
        }
        Err(_) => Err(wrong_type("cost", "a number of dollars, or a tuple of dollars and seconds", cost)),
    }
}
