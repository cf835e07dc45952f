//! What both caches do with the plainest calls: `get(key)`, `get(key, default)`, `set(key, value)` and subscripts.

use std::marker::PhantomData;

use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::PyBool;

use super::key_error;
use crate::fastcall::{self, FastMapping, FastMethod, Method};

/// A cache's operations without options.
pub(super) trait Plain: PyClass<Frozen = True> + PyTypeInfo + Sync {
    fn read_plainly<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>>;

    fn set_plainly(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<bool>;

    fn delete_plainly(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool>;

    fn get_method() -> &'static Method;

    fn set_method() -> &'static Method;
}

/// Makes the methods of a cache that are called most fast.
pub(super) fn install<T: Plain>(py: Python<'_>) -> PyResult<()> {
    fastcall::install::<FastGet<T>>(py)?;
    fastcall::install::<FastSet<T>>(py)?;
    fastcall::install_mapping::<T>(py);
    Ok(())
}

impl<T: Plain> FastMapping for T {
    #[inline]
    fn subscript<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.read_plainly(py, key)?.ok_or_else(|| key_error(key))
    }

    #[inline]
    fn assign(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_plainly(py, key, value).map(drop)
    }

    fn remove(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.delete_plainly(py, key)? { Ok(()) } else { Err(key_error(key)) }
    }
}

/// `get` with a key, or a key and a default.
pub(super) struct FastGet<T>(PhantomData<T>);

impl<T: Plain> FastMethod for FastGet<T> {
    type Class = T;

    #[inline]
    fn call<'py>(this: &Bound<'py, T>, arguments: &[Borrowed<'_, 'py, PyAny>]) -> Option<PyResult<Bound<'py, PyAny>>> {
        let (py, cache) = (this.py(), this.get());
        let (key, default) = match arguments {
            [key] => (key, None),
            [key, default] => (key, Some(default)),
            _ => return None,
        };
        Some(match cache.read_plainly(py, key) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Ok(default.map_or_else(|| py.None().into_bound(py), |&default| default.to_owned())),
            Err(error) => Err(error),
        })
    }

    fn method() -> &'static Method {
        T::get_method()
    }
}

/// `set` with a key and a value.
pub(super) struct FastSet<T>(PhantomData<T>);

impl<T: Plain> FastMethod for FastSet<T> {
    type Class = T;

    #[inline]
    fn call<'py>(this: &Bound<'py, T>, arguments: &[Borrowed<'_, 'py, PyAny>]) -> Option<PyResult<Bound<'py, PyAny>>> {
        let (py, cache) = (this.py(), this.get());
        let [key, value] = arguments else { return None };
        Some(cache.set_plainly(py, key, value).map(|stored| PyBool::new(py, stored).to_owned().into_any()))
    }

    fn method() -> &'static Method {
        T::set_method()
    }
}
