//! Any hashable object as a key: compared natively where no Python code can run, elsewhere left to be asked unlocked.

#![allow(unsafe_code)]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple};
use sparecall_core::cache::{Characters, Path};

use super::key;

/// How deep tuples may be nested to be compared natively.
const DEPTH: u32 = 4;

/// A key as a slot of `Cache` holds it.
pub(super) struct ObjectKey(pub(super) Py<PyAny>);

impl Path for ObjectKey {
    fn characters(&self) -> Option<Characters<'_>> {
        // SAFETY: keys are held, and looked at, behind the interpreter's lock (`guarded.rs`).
        let py = unsafe { Python::assume_attached() };
        // Not only exactly str: a str enum's member answers to its text, so it must leave with it too.
        let text = self.0.bind(py).cast::<PyString>().ok()?;
        key::text(text).ok()?.characters()
    }
}

/// Whether two keys are equal, where that can be said without running Python code.
#[inline]
pub(super) fn equal(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>) -> Option<bool> {
    if left.is(right) {
        return Some(true);
    }
    if let (Ok(left), Ok(right)) = (left.cast_exact::<PyString>(), right.cast_exact::<PyString>()) {
        return Some(key::text(left).ok()? == key::text(right).ok()?);
    }
    if left.is_exact_instance_of::<PyInt>() && right.is_exact_instance_of::<PyInt>() {
        return Some(equal_ints(left, right));
    }
    equal_others(left, right, DEPTH)
}

/// Whether two objects of exactly the class int are equal.
#[inline]
fn equal_ints(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>) -> bool {
    let (mut too_big, mut too_big_too) = (0, 0);
    // SAFETY: both are of class int, so that no code of theirs is run and no error set; a long is written to each flag.
    let (left_small, right_small) = unsafe {
        (
            ffi::PyLong_AsLongAndOverflow(left.as_ptr(), &raw mut too_big),
            ffi::PyLong_AsLongAndOverflow(right.as_ptr(), &raw mut too_big_too),
        )
    };
    match (too_big, too_big_too) {
        (0, 0) => left_small == right_small,
        _ => too_big == too_big_too && equal_by_python(left, right),
    }
}

fn equal_others(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>, depth: u32) -> Option<bool> {
    // Two of one class first, the usual case.
    if left.is_exact_instance_of::<PyInt>() && right.is_exact_instance_of::<PyInt>() {
        return Some(equal_ints(left, right));
    }
    if let (Ok(left), Ok(right)) = (left.cast_exact::<PyBytes>(), right.cast_exact::<PyBytes>()) {
        return Some(left.as_bytes() == right.as_bytes());
    }
    if let (Ok(left), Ok(right)) = (left.cast_exact::<PyTuple>(), right.cast_exact::<PyTuple>()) {
        return equal_tuples(left, right, depth.checked_sub(1)?);
    }
    if !(is_plain(left) && is_plain(right)) {
        return None;
    }
    // Python may be told to warn when bytes are compared with something else, which runs code.
    let no_bytes = !(left.is_exact_instance_of::<PyBytes>() || right.is_exact_instance_of::<PyBytes>());
    Some(no_bytes && equal_by_python(left, right))
}

fn equal_tuples(left: &Bound<'_, PyTuple>, right: &Bound<'_, PyTuple>, depth: u32) -> Option<bool> {
    let (left, right) = (left.as_slice(), right.as_slice());
    if left.len() != right.len() {
        return Some(false);
    }
    for (left, right) in left.iter().zip(right) {
        let equal = match (left.cast_exact::<PyString>(), right.cast_exact::<PyString>()) {
            _ if left.is(right) => true,
            (Ok(left), Ok(right)) => key::text(left).ok()? == key::text(right).ok()?,
            _ => equal_others(left, right, depth)?,
        };
        if !equal {
            return Some(false);
        }
    }
    Some(true)
}

/// Python's own comparison of two objects that are plain.
fn equal_by_python(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>) -> bool {
    // SAFETY: both are objects; comparing two of these classes runs C code alone, which makes no object and cannot fail.
    unsafe { ffi::PyObject_RichCompareBool(left.as_ptr(), right.as_ptr(), ffi::Py_EQ) == 1 }
}

/// Exactly of a class whose comparisons run no Python code.
fn is_plain(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<PyString>()
        || object.is_exact_instance_of::<PyInt>()
        || object.is_exact_instance_of::<PyBytes>()
        || object.is_exact_instance_of::<PyFloat>()
        || object.is_exact_instance_of::<PyBool>()
        || object.is_none()
}
