//! `Meter`: a running count of a text that comes in pieces.
//!
//! The lock is waited for only without the interpreter, so that a long addition in one thread holds up none but those
//! that want the same meter.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use sparecall_core::tokens::{self, Encoding};

use super::chosen::Chosen;
use super::{DETACH_ABOVE, check_length, with_scratch};
use crate::error::guard;
use crate::text::Text;

/// The exact number of tokens of a text that grows at its end, at the cost of what is new.
#[pyclass(frozen, module = "sparecall.tokens")]
pub(crate) struct Meter {
    encoding: Chosen,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    meter: tokens::Meter,
    /// A surrogate that the next piece may make a pair of; it is not in the meter.
    high: Option<u16>,
    total: usize,
}

impl State {
    /// Adds what a `str` holds; `first` and `last` are its first and last code points.
    fn append(&mut self, encoding: &Encoding, text: &str, first: Option<u32>, last: Option<u32>) -> usize {
        let (Some(first), Some(last)) = (first, last) else { return self.total };
        let ends_high = (0xd800..0xdc00).contains(&last);
        if self.high.is_none() && !ends_high {
            self.total = with_scratch(|scratch| self.meter.append(encoding, text, &mut scratch.fast));
            return self.total;
        }
        // In `text` a lone surrogate is U+FFFD: the first one if it is low, the last one if it is high.
        let lone = char::REPLACEMENT_CHARACTER;
        let (before, mut text) = match self.high.take() {
            Some(high) if (0xdc00..0xe000).contains(&first) => {
                let pair = char::decode_utf16([high, first as u16]).next().and_then(Result::ok);
                (Some(pair.unwrap_or(lone)), text.strip_prefix(lone).unwrap_or(text))
            }
            Some(_) => (Some(lone), text),
            None => (None, text),
        };
        if ends_high {
            self.high = Some(last as u16);
            text = text.strip_suffix(lone).unwrap_or(text);
        }
        let text: String = before.into_iter().chain(text.chars()).collect();
        self.total = with_scratch(|scratch| {
            let total = self.meter.append(encoding, &text, &mut scratch.fast);
            if ends_high { self.meter.total_with(encoding, "\u{fffd}", &mut scratch.fast) } else { total }
        });
        self.total
    }
}

impl Meter {
    /// Runs `work` on the state: at once where it is free and `cheap` says so, else without the interpreter.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        cheap: impl FnOnce(&State) -> bool,
        work: impl FnOnce(&mut State) -> T + Send,
    ) -> T {
        if let Ok(mut state) = self.state.try_lock()
            && cheap(&state)
        {
            return work(&mut state);
        }
        py.detach(|| work(&mut self.lock()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Meter {
    #[new]
    #[pyo3(signature = (encoding = None), text_signature = "(encoding='o200k_base')")]
    fn new(py: Python<'_>, encoding: Option<Chosen>) -> PyResult<Self> {
        guard(py, || Ok(Self { encoding: Chosen::or_default(py, encoding)?, state: Mutex::default() }))
    }

    /// Adds `piece` and returns the number of tokens of everything added so far.
    fn append(&self, py: Python<'_>, piece: &Bound<'_, PyAny>) -> PyResult<usize> {
        guard(py, || {
            let text = Text::of(piece, "piece")?;
            let length = check_length(py, "piece", &text)?;
            let (first, last) = text.ends();
            if length > DETACH_ABOVE {
                return Ok(py.detach(|| self.lock().append(&self.encoding, &text.utf8(), first, last)));
            }
            let text = text.utf8();
            let cheap = |state: &State| state.meter.cost(&self.encoding, &text) <= DETACH_ABOVE;
            Ok(self.with(py, cheap, |state| state.append(&self.encoding, &text, first, last)))
        })
    }

    /// The number of tokens of everything added so far.
    #[getter]
    fn total(&self, py: Python<'_>) -> usize {
        self.with(py, |_| true, |state| state.total)
    }

    /// The name of the encoding.
    #[getter]
    fn encoding(&self) -> &str {
        self.encoding.name()
    }

    /// Begins anew, with an empty text.
    fn reset(&self, py: Python<'_>) {
        self.with(py, |_| true, |state| *state = State::default());
    }

    /// A meter of its own that goes on from here.
    fn copy(&self, py: Python<'_>) -> Self {
        let state = self.with(py, |_| true, |state| state.clone());
        Self { encoding: self.encoding.clone(), state: Mutex::new(state) }
    }

    fn __copy__(&self, py: Python<'_>) -> Self {
        self.copy(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("Meter(encoding='{}', total={})", self.encoding.name(), self.total(py))
    }
}
