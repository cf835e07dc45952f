//! Keys as core sees them, without running Python code: the object's own memory and its own hash.

#![allow(unsafe_code)]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::string::PyStringData;
use pyo3::types::{PyBytes, PyString};
use sparecall_core::cache::Key;
use sparecall_core::error::Error;

use crate::error::{to_python, wrong_type};

/// The kinds of key: bytes, and text by the width of a character. A text has one width, so kind and bytes identify it.
const BYTES: u8 = 0;
const TEXT_1: u8 = 1;
const TEXT_2: u8 = 2 | FOREIGN;
const TEXT_4: u8 = 4 | FOREIGN;
/// Marks wide text in the unusual byte order, so that a snapshot from such a machine is refused, not misread.
const FOREIGN: u8 = if cfg!(target_endian = "little") { 0 } else { 0x80 };

/// Python's own hash of `key`, which an exact str or bytes keeps once computed, and the key as core sees it.
#[inline]
pub(super) fn parse<'a>(key: &'a Bound<'_, PyAny>) -> PyResult<(u64, Key<'a>)> {
    let parsed = if let Ok(text) = key.cast_exact::<PyString>() {
        // SAFETY: a str never changes, and `key`, which outlives the slice, keeps it alive.
        match unsafe { text.data() }? {
            PyStringData::Ucs1(units) => Key { kind: TEXT_1, bytes: units },
            PyStringData::Ucs2(units) => Key { kind: TEXT_2, bytes: memory(units) },
            PyStringData::Ucs4(units) => Key { kind: TEXT_4, bytes: memory(units) },
        }
    } else if let Ok(digest) = key.cast_exact::<PyBytes>() {
        let bytes = digest.as_bytes();
        if !matches!(bytes.len(), 16 | 32) {
            return Err(wrong_length(key.py(), bytes.len()));
        }
        Key { kind: BYTES, bytes }
    } else {
        return Err(wrong_type("key", "exactly str or bytes; convert others, as by str(key)", key));
    };
    Ok((key.hash()? as u64, parsed))
}

/// The Python object for a key read from a file.
pub(super) fn restore<'py>(py: Python<'py>, key: Key<'_>) -> PyResult<Bound<'py, PyAny>> {
    let width: u8 = match key.kind {
        BYTES if matches!(key.bytes.len(), 16 | 32) => return Ok(PyBytes::new(py, key.bytes).into_any()),
        TEXT_1 => 1,
        TEXT_2 => 2,
        TEXT_4 => 4,
        _ => return Err(unknown_key(py)),
    };
    if !key.bytes.len().is_multiple_of(width.into()) {
        return Err(unknown_key(py));
    }
    // Copied to where every width is aligned.
    let mut units = vec![0_u32; key.bytes.len().div_ceil(4)];
    let start = units.as_mut_ptr().cast::<u8>();
    // SAFETY: `units` has room for the bytes.
    unsafe { start.copy_from_nonoverlapping(key.bytes.as_ptr(), key.bytes.len()) };
    if width == 4 && units.iter().any(|&unit| unit > 0x10_FFFF) {
        return Err(unknown_key(py)); // Python does not look
    }
    let count = (key.bytes.len() / usize::from(width)).cast_signed();
    // SAFETY: `start` points to `count` characters of that width; the new str copies them.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_FromKindAndData(width.into(), start.cast(), count)) }
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

fn unknown_key(py: Python<'_>) -> PyErr {
    to_python(py, &Error::Snapshot { what: "a key is neither text nor a digest" })
}
