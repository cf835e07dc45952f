//! `allowed_special` and `disallowed_special`: which special tokens a text may hold, by tiktoken's rules.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use sparecall_core::error::Error;
use sparecall_core::tokens::{Allowed, Tokenizer, first_of};

use crate::error::to_python;

/// `"all"`, or the texts of a collection.
#[derive(Debug, Clone)]
pub(crate) enum Names {
    All,
    These(Vec<String>),
}

impl<'py> FromPyObject<'_, 'py> for Names {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = value.cast::<PyString>() {
            return if *text == *"all" {
                Ok(Self::All)
            } else {
                Err(PyTypeError::new_err("must be \"all\" or a collection of str, not another str"))
            };
        }
        let texts = value.try_iter()?.map(|text| text?.extract::<String>());
        Ok(Self::These(texts.collect::<PyResult<_>>()?))
    }
}

/// Both arguments together.
pub(crate) struct Rules {
    allowed: Names,
    disallowed: Names,
}

impl Rules {
    pub(crate) fn new(allowed: Names, disallowed: Names) -> Self {
        Self { allowed, disallowed }
    }

    /// Special tokens are text like any other.
    pub(crate) fn ordinary() -> Self {
        Self { allowed: Names::These(Vec::new()), disallowed: Names::These(Vec::new()) }
    }

    pub(crate) fn allowed(&self) -> Allowed<'_> {
        match &self.allowed {
            Names::All => Allowed::Everything,
            Names::These(texts) if texts.is_empty() => Allowed::Nothing,
            Names::These(texts) => Allowed::Only(texts),
        }
    }

    /// The first text in `text` that is not allowed there.
    pub(crate) fn offence(&self, tokenizer: &Tokenizer, text: &str) -> Option<String> {
        let first = match (&self.disallowed, &self.allowed) {
            (Names::All, Names::All) => None,
            (Names::All, Names::These(allowed)) => {
                tokenizer.first_special(text, |token| !allowed.iter().any(|text| text == token))
            }
            (Names::These(texts), _) => {
                let is_special =
                    |text: &String| tokenizer.specials().iter().any(|one| one.special && one.text == *text);
                if texts.iter().all(is_special) {
                    tokenizer.first_special(text, |token| texts.iter().any(|text| text == token))
                } else {
                    first_of(&texts.iter().map(String::as_str).collect::<Vec<_>>(), text)
                }
            }
        };
        first.map(str::to_owned)
    }
}

/// The error of a text that holds a special token it may not.
pub(crate) fn disallowed(py: Python<'_>, token: &str) -> PyErr {
    let error = Error::InvalidArgument {
        name: "text",
        value: format!("one that holds the special token {token:?}"),
        limit: "name it in allowed_special to have it encoded as that token, or pass disallowed_special=() to have it \
                encoded as the plain text it is"
            .to_owned(),
    };
    to_python(py, &error)
}
