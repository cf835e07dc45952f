//! `Prefix`: the count of any part of one text.

use pyo3::prelude::*;
use pyo3::types::{PySlice, PyString};
use sparecall_core::tokens::{self, Characters};

use super::chosen::Chosen;
use super::{check_length, run, with_scratch};
use crate::error::guard;
use crate::text::Text;

/// Looking at all of a piece of so many bytes takes about 500 microseconds.
const SLOW_PIECE: usize = 256 * 1024;

/// The exact number of tokens of any part of a text, without counting that part anew.
#[pyclass(frozen, module = "sparecall.tokens")]
pub(crate) struct Prefix {
    encoding: Chosen,
    sums: tokens::Prefix,
    characters: Characters,
    /// The text where pairs of surrogates are in it: cutting one changes both halves, so such parts are counted anew.
    pairs: Option<Py<PyString>>,
    /// Whether a count may take over 500 microseconds.
    slow: bool,
    /// How many characters Python says it has.
    len: usize,
}

#[pymethods]
impl Prefix {
    #[new]
    #[pyo3(signature = (text, encoding = None), text_signature = "(text, encoding='o200k_base')")]
    fn new(py: Python<'_>, text: &Bound<'_, PyAny>, encoding: Option<Chosen>) -> PyResult<Self> {
        guard(py, || {
            let read = Text::of(text, "text")?;
            let length = check_length(py, "text", &read)?;
            let encoding = Chosen::or_default(py, encoding)?;
            let (sums, characters) = run(py, &encoding, length, || {
                let text = read.utf8().into();
                let sums = with_scratch(|scratch| tokens::Prefix::new(&encoding, text, &mut scratch.fast));
                let characters = Characters::new(sums.text());
                (sums, characters)
            });
            let text = text.cast::<PyString>()?;
            let len = text.len()?;
            let pairs = (len != characters.len()).then(|| text.clone().unbind());
            let slow = sums.longest_piece() > SLOW_PIECE;
            Ok(Self { encoding, sums, characters, pairs, slow, len })
        })
    }

    /// The number of tokens of `text[start:stop]`.
    #[pyo3(signature = (start = None, stop = None))]
    fn count(&self, py: Python<'_>, start: Option<isize>, stop: Option<isize>) -> PyResult<usize> {
        guard(py, || {
            let (start, stop) = (self.clamp(start, 0), self.clamp(stop, self.len));
            if let Some(text) = &self.pairs {
                let part = text.bind(py).get_item(PySlice::new(py, start.cast_signed(), stop.cast_signed(), 1))?;
                let part = Text::of(&part, "text")?;
                return Ok(run(py, &self.encoding, part.max_utf8_len(), || {
                    with_scratch(|scratch| self.encoding.count_with(&part.utf8(), &mut scratch.fast))
                }));
            }
            let text = self.sums.text();
            let (from, to) = (self.characters.place(text, start), self.characters.place(text, stop));
            let work = || with_scratch(|scratch| self.sums.count(&self.encoding, from, to, &mut scratch.fast));
            Ok(if self.slow { py.detach(work) } else { work() })
        })
    }

    /// The number of tokens of the whole text.
    #[getter]
    fn total(&self) -> usize {
        self.sums.total()
    }

    /// The name of the encoding.
    #[getter]
    fn encoding(&self) -> &str {
        self.encoding.name()
    }

    fn __len__(&self) -> usize {
        self.len
    }

    fn __sizeof__(&self) -> usize {
        size_of::<Self>() + self.sums.memory() + self.characters.memory()
    }

    fn __repr__(&self) -> String {
        format!("Prefix(encoding='{}', len={}, total={})", self.encoding.name(), self.len, self.sums.total())
    }
}

impl Prefix {
    /// An end of a slice as Python reads it.
    fn clamp(&self, end: Option<isize>, default: usize) -> usize {
        match end {
            None => default,
            Some(end) if end < 0 => self.len.saturating_sub(end.unsigned_abs()),
            Some(end) => self.len.min(end.unsigned_abs()),
        }
    }
}
