//! Awaitables that are done when they are made: no coroutine, no frame.
//!
//! The interpreter awaits an object by its `am_await` slot, which gives an iterator, and that by its `tp_iternext`: null without
//! an error is an end with None, and `StopIteration` one with its value.

#![allow(unsafe_code)]

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::type_object::PyTypeInfo;

/// What has nothing left to do: awaiting it gives None at once.
#[pyclass(frozen, module = "sparecall._core", name = "_FlowDone")]
pub(crate) struct Done;

#[pymethods]
impl Done {
    fn __await__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    #[allow(clippy::unused_self)]
    const fn __next__(&self) -> Option<()> {
        None
    }

    /// As of a coroutine, for callers that drive one by hand.
    fn send(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let _ = (self, value);
        Err(PyStopIteration::new_err(()))
    }

    /// As of a coroutine.
    #[allow(clippy::unused_self)]
    fn close(&self) {}
}

static DONE: PyOnceLock<Py<Done>> = PyOnceLock::new();

/// The one such object.
#[inline]
pub(super) fn done(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(DONE.get_or_try_init(py, || Py::new(py, Done))?.bind(py).clone().into_any())
}

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    install_await::<Done>(py, nothing);
    done(py).map(drop)
}

/// Makes the class its own iterator when awaited, with that end.
pub(super) fn install_await<T: PyTypeInfo>(py: Python<'_>, next: ffi::iternextfunc) {
    let class = py.get_type::<T>();
    let class = class.as_type_ptr();
    // SAFETY: classes of pyo3 are heap types; this one has no children that copied these slots.
    unsafe {
        (*class.cast::<ffi::PyHeapTypeObject>()).as_async.am_await = Some(itself);
        (*class).tp_iternext = Some(next);
    }
}

/// # Safety
/// The interpreter's: `this` is an object.
unsafe extern "C" fn itself(this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: by this function's contract.
    unsafe { ffi::Py_NewRef(this) }
}

/// # Safety
/// The interpreter's.
unsafe extern "C" fn nothing(_this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    std::ptr::null_mut()
}

/// Ends with `this` itself as the value.
///
/// # Safety
/// The interpreter's: `this` is an object, neither a tuple nor an exception.
pub(super) unsafe extern "C" fn with_itself(this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: by this function's contract; the interpreter is attached.
    unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, this) };
    std::ptr::null_mut()
}
