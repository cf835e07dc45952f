//! What Python gives as a file's content: held, so that a thread without the interpreter may read it.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyString};
use sparecall_outline::decode;

use crate::error::wrong_type;
use crate::text::HeldText;

/// Dropped attached.
pub(crate) enum Source {
    Text(HeldText),
    Bytes(PyBackedBytes),
}

/// The content as text.
pub(crate) struct Read {
    pub(crate) text: Arc<str>,
    /// By which encoding bytes were read; none for what was text.
    pub(crate) encoding: Option<&'static str>,
    /// Whether some could not be.
    pub(crate) lossy: bool,
}

impl Source {
    pub(crate) fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Self::Bytes(PyBackedBytes::from(bytes.clone())));
        }
        if value.is_instance_of::<PyString>() {
            return Ok(Self::Text(HeldText::of(value, "source")?));
        }
        Err(wrong_type("source", "str or bytes", value))
    }

    /// The most bytes its UTF-8 can have.
    pub(crate) fn max_len(&self) -> usize {
        match self {
            Self::Text(text) => text.text().max_utf8_len(),
            Self::Bytes(bytes) => bytes.len() * 2,
        }
    }

    pub(crate) fn read(&self) -> Read {
        match self {
            Self::Text(text) => Read { text: text.text().utf8().into(), encoding: None, lossy: false },
            Self::Bytes(bytes) => {
                let decoded = decode(bytes);
                Read { text: decoded.text.into(), encoding: Some(decoded.encoding), lossy: decoded.lossy }
            }
        }
    }
}
