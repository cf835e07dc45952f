//! The `str` objects of recent short keys: documents repeat theirs, and a `str` that is there costs less than a new one,
//! the more so as it knows its hash.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::raw;

/// Longer keys are made anew.
const LONGEST: usize = 32;
const SLOTS: usize = 1024;

struct Keys(UnsafeCell<[Option<Py<PyString>>; SLOTS]>);

// SAFETY: touched only in `get`, whose caller has the interpreter's lock, and there never across a call that gives it up.
unsafe impl Sync for Keys {}

static KEYS: Keys = Keys(UnsafeCell::new([const { None }; SLOTS]));

/// The `str` of a short ASCII key; `None` where it is neither.
#[inline]
pub(super) fn get<'py>(py: Python<'py>, key: &[u8]) -> PyResult<Option<Bound<'py, PyAny>>> {
    if key.len() > LONGEST || !key.is_ascii() {
        return Ok(None);
    }
    let slot = slot(key);
    // SAFETY: the interpreter's lock is held (this build of the module says that it needs one), and nothing in these lines
    // runs Python code or gives up the lock: comparing bytes and counting a reference up.
    if let Some(found) = unsafe { &(*KEYS.0.get())[slot] }
        && raw::ascii_of(found.bind(py)).is_some_and(|found| found.as_bytes() == key)
    {
        return Ok(Some(found.bind(py).clone().into_any()));
    }
    let made = raw::ascii(py, key)?;
    // SAFETY: as above; what was in the place is moved out and dropped after.
    let before = unsafe { (*KEYS.0.get())[slot].replace(made.clone().unbind()) };
    drop(before);
    Ok(Some(made.into_any()))
}

/// Where a key has its place: by its first and last 8 bytes and its length.
#[inline]
fn slot(key: &[u8]) -> usize {
    let (first, last) = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (key.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)), 0),
    };
    let mixed = (first ^ last.rotate_left(29) ^ key.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 54) as usize
}
