//! The encoding that a `Meter`, a `Prefix` or a `truncate` counts by: one by name, or one that was loaded.

use std::ops::Deref;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;
use sparecall_core::error::Error;
use sparecall_core::tokens::{Encoding, Tokenizer};

use super::encoding::TokenEncoding;
use super::find;
use crate::error::{guard, to_python, wrong_type};

/// Counts as the whole tokenizer does, special tokens aside.
#[derive(Clone)]
pub(crate) enum Chosen {
    Shipped(&'static Encoding),
    Loaded(Arc<Tokenizer>),
}

impl Chosen {
    /// The one that was given, or `o200k_base`.
    pub(super) fn or_default(py: Python<'_>, given: Option<Self>) -> PyResult<Self> {
        given.map_or_else(|| Ok(Self::Shipped(find(py, "o200k_base")?)), Ok)
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Shipped(encoding) => encoding.name(),
            Self::Loaded(tokenizer) => tokenizer.name(),
        }
    }
}

impl Deref for Chosen {
    type Target = Encoding;

    fn deref(&self) -> &Encoding {
        match self {
            Self::Shipped(encoding) => encoding,
            Self::Loaded(tokenizer) => tokenizer.plain().expect("tested when it was chosen"),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Chosen {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = value.py();
        guard(py, || {
            if let Ok(name) = value.cast::<PyString>() {
                return Ok(Self::Shipped(find(py, name.to_str()?)?));
            }
            let Ok(encoding) = value.cast::<TokenEncoding>() else {
                return Err(wrong_type("encoding", "str or Encoding", &value));
            };
            encoding.get().chosen().ok_or_else(|| {
                let value = format!("'{}'", encoding.get().name());
                let limit = "its text is changed or searched before it is cut: count whole texts with its own count";
                to_python(py, &Error::InvalidArgument { name: "encoding", value, limit: limit.to_owned() })
            })
        })
    }
}
