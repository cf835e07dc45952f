//! Keys as core sees them, without running Python code: the object's own memory and its own hash.

#![allow(unsafe_code)]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::string::PyStringData;
use pyo3::types::{PyBytes, PyString};
use sparecall_core::cache::{Key, mix};
use sparecall_core::error::Error;

use crate::error::{to_python, wrong_type};

/// Python's own hash of `key`, which an exact str or bytes keeps once computed, mixed; and the key as core sees it.
#[inline(always)] // measured: its result through memory costs a hit 6 ns
#[allow(clippy::inline_always)]
pub(super) fn parse<'a>(key: &'a Bound<'_, PyAny>) -> PyResult<(u32, Key<'a>)> {
    let parsed = if let Ok(text) = key.cast_exact::<PyString>() {
        self::text(text)?
    } else if let Ok(digest) = key.cast_exact::<PyBytes>() {
        let bytes = digest.as_bytes();
        if !matches!(bytes.len(), 16 | 32) {
            return Err(wrong_length(key.py(), bytes.len()));
        }
        Key { kind: Key::DIGEST, bytes }
    } else {
        return Err(wrong_type("key", "exactly str or bytes; convert others, as by str(key)", key));
    };
    Ok((mix(key.hash()? as u64), parsed))
}

/// Whether [`parse`] will take `key`; its error if not.
#[inline]
pub(super) fn check(key: &Bound<'_, PyAny>) -> PyResult<()> {
    if key.is_exact_instance_of::<PyString>() { Ok(()) } else { parse(key).map(drop) }
}

/// The Python object for a key that is valid, as those in a file that core has checked are.
pub(super) fn restore<'py>(py: Python<'py>, key: Key<'_>) -> PyResult<Bound<'py, PyAny>> {
    let width: u8 = match key.kind {
        Key::DIGEST => return Ok(PyBytes::new(py, key.bytes).into_any()),
        Key::TEXT_1 => 1,
        Key::TEXT_2 => 2,
        _ => 4,
    };
    // Copied to where every width is aligned.
    let mut units = vec![0_u32; key.bytes.len().div_ceil(4)];
    let start = units.as_mut_ptr().cast::<u8>();
    // SAFETY: `units` has room for the bytes.
    unsafe { start.copy_from_nonoverlapping(key.bytes.as_ptr(), key.bytes.len()) };
    let count = (key.bytes.len() / usize::from(width)).cast_signed();
    // SAFETY: `start` points to `count` characters of that width, none above 0x10FFFF; the new str copies them.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_FromKindAndData(width.into(), start.cast(), count)) }
}

/// The memory of an exact str: kind and bytes.
#[inline]
pub(super) fn text<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Key<'a>> {
    // SAFETY: a str never changes, and `text`, which outlives the slice, keeps it alive.
    Ok(match unsafe { text.data() }? {
        PyStringData::Ucs1(units) => Key { kind: Key::TEXT_1, bytes: units },
        PyStringData::Ucs2(units) => Key { kind: Key::TEXT_2, bytes: memory(units) },
        PyStringData::Ucs4(units) => Key { kind: Key::TEXT_4, bytes: memory(units) },
    })
}

fn memory<T>(units: &[T]) -> &[u8] {
    // SAFETY: u16 and u32 have no padding, and any byte is a valid u8.
    unsafe { std::slice::from_raw_parts(units.as_ptr().cast(), size_of_val(units)) }
}

#[cold]
fn wrong_length(py: Python<'_>, length: usize) -> PyErr {
    let limit = "a bytes key is a digest of 16 or 32 bytes: hash longer ones, or use str".to_owned();
    to_python(py, &Error::InvalidArgument { name: "the length of the key", value: length.to_string(), limit })
}
