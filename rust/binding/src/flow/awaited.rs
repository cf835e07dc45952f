//! Awaitables that are done when they are made: no coroutine, no frame.
//!
//! The interpreter awaits an object by its `am_await` slot, which gives an iterator, and that by its `tp_iternext`: null without
//! an error is an end with None, and `StopIteration` one with its value.

#![allow(unsafe_code)]

use pyo3::exceptions::{PyBaseException, PyStopIteration};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::PyTuple;

/// An awaitable that is done: awaiting it gives its value at once, and makes no coroutine.
#[pyclass(frozen, module = "sparecall._core", name = "Done")]
pub(crate) struct Done {
    value: Option<Py<PyAny>>,
}

#[pymethods]
impl Done {
    #[new]
    #[pyo3(signature = (value, /))]
    fn new(value: Bound<'_, PyAny>) -> Self {
        Self { value: if value.is_none() { None } else { Some(value.unbind()) } }
    }

    fn __await__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<()> {
        // Replaced by a function that does the same without an exception object.
        Err(PyStopIteration::new_err(self.value.as_ref().map(|value| value.clone_ref(py))))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.value)
    }
}

static DONE: PyOnceLock<Py<Done>> = PyOnceLock::new();

/// The one without a value.
#[inline]
pub(super) fn done(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(DONE.get_or_try_init(py, || Py::new(py, Done { value: None }))?.bind(py).clone().into_any())
}

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    install_await::<Done>(py, with_value);
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

/// Ends with the value of a `Done`.
///
/// # Safety
/// The interpreter's: `this` is a `Done`.
unsafe extern "C" fn with_value(this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python calls slots with the interpreter attached.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: by this function's contract.
    let this = unsafe { Borrowed::from_ptr(py, this).cast_unchecked::<Done>() };
    if let Some(value) = &this.get().value {
        // An exception or a tuple would be taken for the exception itself, or its arguments.
        if value.bind(py).is_instance_of::<PyTuple>() || value.bind(py).is_instance_of::<PyBaseException>() {
            PyStopIteration::new_err((value.clone_ref(py),)).restore(py);
        } else {
            // SAFETY: both are objects; the interpreter is attached.
            unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr()) };
        }
    }
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
