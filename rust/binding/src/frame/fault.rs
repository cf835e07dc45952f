//! Why an object cannot be packed, and where in it: a path such as `$.messages[3].content`, never the content.

use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use sparecall_core::frame::Refusal;

use crate::error::not_packed;

/// One step of a path, from a container to what is in it.
pub(super) enum Step {
    Item(usize),
    Field(String),
    /// The value of a key that is not shown, or such a key itself: which pair it is.
    Pair(usize),
}

impl Step {
    /// To the value under `key`. Only a key that is a name is shown: any other may be content.
    pub(super) fn of_key(key: &Bound<'_, PyAny>, pair: usize) -> Self {
        let name = key.cast::<PyString>().ok().and_then(|key| key.to_str().ok()).filter(|key| {
            key.len() <= 32
                && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !key.starts_with(|first: char| first.is_ascii_digit())
        });
        name.map_or(Self::Pair(pair), |name| Self::Field(name.to_owned()))
    }
}

pub(super) struct Fault(Box<Reason>);

enum Reason {
    Refused {
        what: String,
        /// From the inside out.
        path: Vec<Step>,
        cause: Option<PyErr>,
    },
    /// Something that is not about the object, such as an interrupt.
    Raised(PyErr),
}

pub(super) type Result<T = ()> = std::result::Result<T, Fault>;

#[cold]
pub(super) fn refuse(what: impl Into<String>) -> Fault {
    Fault(Box::new(Reason::Refused { what: what.into(), path: Vec::new(), cause: None }))
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        refuse(refusal.to_string())
    }
}

/// The object's own code raised `error` while it was `read`.
#[cold]
pub(super) fn raised(py: Python<'_>, what: &str, error: PyErr) -> Fault {
    if !error.is_instance_of::<PyException>(py) || error.is_instance_of::<PyMemoryError>(py) {
        return Fault(Box::new(Reason::Raised(error)));
    }
    let name = error.get_type(py).name().map_or_else(|_| "an error".to_owned(), |name| name.to_string());
    Fault(Box::new(Reason::Refused { what: format!("{what} raised {name}"), path: Vec::new(), cause: Some(error) }))
}

impl Fault {
    /// The same, seen from the container around.
    #[cold]
    pub(super) fn within(mut self, step: Step) -> Self {
        if let Reason::Refused { path, .. } = &mut *self.0 {
            path.push(step);
        }
        self
    }

    #[cold]
    pub(super) fn into_error(self, py: Python<'_>) -> PyErr {
        let (what, path, cause) = match *self.0 {
            Reason::Raised(error) => return error,
            Reason::Refused { what, path, cause } => (what, path, cause),
        };
        let mut place = "$".to_owned();
        let shown = 24;
        for (count, step) in path.iter().rev().enumerate() {
            // An object that contains itself has a path as long as the depth allows.
            if count >= shown && count + shown < path.len() {
                if count == shown {
                    place.push_str("...");
                }
                continue;
            }
            match step {
                Step::Item(index) => place.push_str(&["[", &index.to_string(), "]"].concat()),
                Step::Field(name) => place.push_str(&[".", name].concat()),
                Step::Pair(index) => place.push_str(&["{", &index.to_string(), "}"].concat()),
            }
        }
        let error = not_packed(py, format!("cannot pack {place}: {what}"));
        error.set_cause(py, cause);
        error
    }
}
