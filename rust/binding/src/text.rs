//! Reads a Python `str` as UTF-8 without leaving a second copy inside it, in the caller's thread or in another.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::types::string::PyStringData;

/// The characters of a `str`, as it stores them. Good for any thread while the `str` lives.
pub(crate) enum Text<'a> {
    Ascii(&'a str),
    Wide(PyStringData<'a>),
}

impl<'a> Text<'a> {
    /// The characters of `value`; a `TypeError` that calls it `name` where it is not a `str`.
    pub(crate) fn of(value: &'a Bound<'_, PyAny>, name: impl fmt::Display) -> PyResult<Self> {
        let Ok(text) = value.cast::<PyString>() else {
            let kind = value.get_type();
            return Err(PyTypeError::new_err(format!("{name} must be str, not {}", kind.name()?)));
        };
        // SAFETY: `text` is a str object.
        if unsafe { pyo3::ffi::PyUnicode_IS_ASCII(text.as_ptr()) } != 0 {
            return Ok(Self::Ascii(text.to_str()?)); // such a str is its own UTF-8: no copy is made
        }
        // SAFETY: the bit field that this reads is laid out as CPython's headers say; tests read all three widths.
        Ok(Self::Wide(unsafe { text.data() }?))
    }

    /// The most bytes its UTF-8 can have.
    pub(crate) fn max_utf8_len(&self) -> usize {
        match self {
            Self::Ascii(text) => text.len(),
            Self::Wide(PyStringData::Ucs1(data)) => data.len() * 2,
            Self::Wide(PyStringData::Ucs2(data)) => data.len() * 3,
            Self::Wide(PyStringData::Ucs4(data)) => data.len() * 4,
        }
    }

    /// Its first and its last code point.
    pub(crate) fn ends(&self) -> (Option<u32>, Option<u32>) {
        fn of<T: Copy + Into<u32>>(data: &[T]) -> (Option<u32>, Option<u32>) {
            (data.first().map(|point| (*point).into()), data.last().map(|point| (*point).into()))
        }
        match self {
            Self::Ascii(text) => of(text.as_bytes()),
            Self::Wide(PyStringData::Ucs1(data)) => of(data),
            Self::Wide(PyStringData::Ucs2(data)) => of(data),
            Self::Wide(PyStringData::Ucs4(data)) => of(data),
        }
    }

    /// Its UTF-8. Surrogates are read as UTF-16: a pair is its character, a lone one U+FFFD. Needs no interpreter.
    pub(crate) fn utf8(&self) -> Cow<'a, str> {
        match self {
            Self::Ascii(text) => Cow::Borrowed(text),
            Self::Wide(PyStringData::Ucs1(data)) => Cow::Owned(data.iter().copied().map(char::from).collect()),
            Self::Wide(PyStringData::Ucs2(data)) => Cow::Owned(from_utf16(data.iter().copied(), data.len())),
            Self::Wide(PyStringData::Ucs4(data)) => Cow::Owned(from_ucs4(data)),
        }
    }
}

/// A `str` that is held, so that a thread without the interpreter may read it. Dropped attached.
pub(crate) struct HeldText {
    text: Text<'static>,
    _object: Py<PyAny>,
}

impl HeldText {
    /// As [`Text::of`].
    pub(crate) fn of(value: &Bound<'_, PyAny>, name: impl fmt::Display) -> PyResult<Self> {
        let text = Text::of(value, name)?;
        // SAFETY: the characters are where the `str` has them, which neither moves nor changes them while it lives; it is held beside.
        let text = unsafe { std::mem::transmute::<Text<'_>, Text<'static>>(text) };
        Ok(Self { text, _object: value.clone().unbind() })
    }

    pub(crate) fn text(&self) -> &Text<'_> {
        &self.text
    }
}

fn from_utf16(units: impl Iterator<Item = u16>, len: usize) -> String {
    let mut text = String::with_capacity(len * 3 / 2);
    text.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    text
}

fn from_ucs4(data: &[u32]) -> String {
    let whole: Option<String> = data.iter().map(|code_point| char::from_u32(*code_point)).collect();
    whole.unwrap_or_else(|| {
        let units = data.iter().flat_map(|code_point| match char::from_u32(*code_point) {
            Some(character) => {
                let mut units = [0; 2];
                let two = character.encode_utf16(&mut units).len() == 2;
                [Some(units[0]), two.then_some(units[1])]
            }
            None => [Some(*code_point as u16), None],
        });
        from_utf16(units.flatten(), data.len())
    })
}
