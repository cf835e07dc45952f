//! `sparecall.cache`: `Cache` for any objects, `BytesCache` for bytes.
//!
//! Under the lock nothing is called that could run Python code, let go of the interpreter or make a Python object that the
//! garbage collector watches: keys are hashed and compared, weighers and clocks called before, displaced objects dropped after.

mod bytes_cache;
mod departure;
mod fast;
mod guarded;
mod key;
mod object_cache;
mod object_key;
mod plain;
mod question;
mod save;
mod state;
mod stats;
mod tags;
mod value;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

pub(crate) use bytes_cache::BytesCache;
pub(crate) use object_cache::Cache;
pub(crate) use stats::CacheStats;

/// Makes the methods that are called most fast.
pub(crate) fn install_fast_methods(py: Python<'_>) -> PyResult<()> {
    fast::install::<BytesCache>(py)?;
    fast::install::<Cache>(py)
}

/// The items of any iterable: of a list themselves, where what changes it meanwhile changes what is read.
fn to_list<'py>(items: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    match items.cast_exact::<PyList>() {
        Ok(items) => Ok(items.clone()),
        Err(_) => Ok(items.py().get_type::<PyList>().call1((items,))?.cast_into()?),
    }
}

/// The items of any iterable, where nothing can change them any more.
fn to_tuple<'py>(items: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    match items.cast_exact::<PyTuple>() {
        Ok(items) => Ok(items.clone()),
        Err(_) => Ok(items.py().get_type::<PyTuple>().call1((items,))?.cast_into()?),
    }
}

/// `KeyError` with the key itself, as of a dict: left bare, a tuple would become several arguments and None none at all.
#[cold]
fn key_error(key: &Bound<'_, PyAny>) -> PyErr {
    PyKeyError::new_err((key.clone().unbind(),))
}

type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// The pairs of a dict, or of an iterable of them.
fn pairs<'py>(items: &Bound<'py, PyAny>) -> PyResult<Vec<Pair<'py>>> {
    let items = match items.cast::<PyDict>() {
        Ok(items) => items.items().to_tuple(),
        Err(_) => to_tuple(items)?,
    };
    items.iter().map(|item| item.extract()).collect()
}
