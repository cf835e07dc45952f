//! Core errors and panics become the classes of `sparecall.errors`; the only such place.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule};
use sparecall_core::error::Error;

static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// An instance of `sparecall.errors.<class>`, ready to raise.
fn raise(py: Python<'_>, class: &str, message: String, offset: Option<usize>) -> PyErr {
    let made =
        ERRORS.get_or_try_init(py, || PyModule::import(py, "sparecall.errors").map(Bound::unbind)).and_then(|module| {
            match offset {
                Some(offset) => module.bind(py).getattr(class)?.call1((message.as_str(), offset)),
                None => module.bind(py).getattr(class)?.call1((message.as_str(),)),
            }
        });
    match made {
        Ok(instance) => PyErr::from_value(instance),
        Err(_) => PyRuntimeError::new_err(message),
    }
}

/// The Python exception for a core error.
pub(crate) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::InvalidDocument { offset, .. } => raise(py, "InvalidDocument", message, Some(*offset)),
        Error::InvalidArgument { .. } => raise(py, "InvalidArgument", message, None),
        Error::UnknownName { .. } => raise(py, "UnknownName", message, None),
        Error::Snapshot { .. } => raise(py, "SnapshotError", message, None),
        Error::IndexFile { .. } => raise(py, "IndexFileError", message, None),
        Error::TokenizerFile { .. } => raise(py, "TokenizerFileError", message, None),
        Error::ModelFile { .. } => raise(py, "ModelFileError", message, None),
        Error::Frame(_) => raise(py, "FrameError", message, None),
        _ => raise(py, "InternalError", message, None),
    }
}

/// `Overloaded`, with the seconds after which to try again.
#[cold]
pub(crate) fn overloaded(py: Python<'_>, message: &str, code: &str, retry_after: f64) -> PyErr {
    let made = PyModule::import(py, "sparecall.errors").and_then(|module| {
        let options = PyDict::new(py);
        options.set_item("code", code)?;
        options.set_item("retry_after", retry_after)?;
        module.getattr("Overloaded")?.call((message,), Some(&options))
    });
    made.map_or_else(|error| error, PyErr::from_value)
}

/// An object that no frame can hold.
#[cold]
pub(crate) fn not_packed(py: Python<'_>, message: String) -> PyErr {
    raise(py, "FrameError", message, None)
}

/// `TypeError` that names the argument, what it should be and the type it has; never its value.
#[cold]
pub(crate) fn wrong_type(name: &str, expected: &str, given: &Bound<'_, PyAny>) -> PyErr {
    let class = given.get_type().name().map_or_else(|_| "another type".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("{name} must be {expected}, not {class}"))
}

/// What a fault of core becomes: an `Exception`, unlike pyo3's `PanicException`. The panic's own text is dropped: it may quote
/// the user's text.
#[cold]
pub(crate) fn internal(py: Python<'_>) -> PyErr {
    let message = "the native core failed on this input; the object stays usable; please report the call that did it";
    raise(py, "InternalError", message.to_owned(), None)
}

/// Runs `work`; a panic inside becomes `InternalError`.
pub(crate) fn guard<T>(py: Python<'_>, work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(internal(py)))
}

/// Keeps panic messages, which may quote user text, off standard error.
pub(crate) fn silence_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}
