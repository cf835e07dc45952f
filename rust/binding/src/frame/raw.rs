//! What pyo3 has no safe or no quick way for: walking dicts that may change, filling new lists, reading buffers.

#![allow(unsafe_code)]

use pyo3::buffer::PyUntypedBuffer;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyMemoryView, PyString, PyType};

/// The next key and value of `dict`, from `position` on, which begins at 0. Whatever happens to the dict between two calls,
/// this gives objects that were in it when it was called, or ends.
#[inline]
pub(super) fn next_pair<'py>(
    dict: &Bound<'py, PyDict>,
    position: &mut ffi::Py_ssize_t,
) -> Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: `dict` is a dict; the call checks the position against the dict as it is now. What it gives is borrowed from
    // the dict, and counted before anything else runs.
    unsafe {
        if ffi::PyDict_Next(dict.as_ptr(), position, &raw mut key, &raw mut value) == 0 {
            return None;
        }
        Some((Bound::from_borrowed_ptr(dict.py(), key), Bound::from_borrowed_ptr(dict.py(), value)))
    }
}

/// Whether the object is of that class or one derived from it. Runs no Python code, whatever the class says of itself.
#[inline]
pub(super) fn is_kind(object: &Bound<'_, PyAny>, class: &Py<PyType>) -> bool {
    // SAFETY: `class` is a type object.
    unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), class.as_ptr().cast()) != 0 }
}

/// The value of an int, where 64 bits with a sign hold it; else which side it is beyond.
#[inline]
pub(super) fn integer(value: &Bound<'_, PyInt>) -> Result<i64, i32> {
    let mut overflow = 0;
    // SAFETY: `value` is an int, for which this call does not fail.
    let number = unsafe { ffi::PyLong_AsLongLongAndOverflow(value.as_ptr(), &raw mut overflow) };
    if overflow == 0 { Ok(number) } else { Err(overflow) }
}

/// A list that is being filled.
pub(super) struct NewList<'py> {
    list: Bound<'py, PyList>,
    length: usize,
    filled: usize,
}

impl<'py> NewList<'py> {
    #[inline]
    pub(super) fn new(py: Python<'py>, length: usize) -> PyResult<Self> {
        // SAFETY: lists with places that are not filled yet are good for the garbage collector and for being dropped.
        let list = unsafe {
            let list = Bound::from_owned_ptr_or_err(py, ffi::PyList_New(length.cast_signed()))?;
            list.cast_into_unchecked::<PyList>()
        };
        Ok(Self { list, length, filled: 0 })
    }

    #[inline]
    pub(super) fn push(&mut self, item: Bound<'py, PyAny>) {
        // A finalizer that the collector ran may have found the list and changed its length.
        if self.filled < self.length.min(self.list.len()) {
            // SAFETY: the place is within the list, and empty; the reference is given away.
            unsafe { ffi::PyList_SET_ITEM(self.list.as_ptr(), self.filled.cast_signed(), item.into_ptr()) };
            self.filled += 1;
        }
    }

    /// The list, if every place was filled.
    #[inline]
    pub(super) fn finish(self) -> Option<Bound<'py, PyList>> {
        (self.filled == self.length).then_some(self.list)
    }
}

/// A `str` of ASCII characters.
#[inline]
pub(super) fn ascii<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyString>> {
    debug_assert!(text.is_ascii());
    // SAFETY: a new str of that many one-byte characters, none above 127, which nobody else has seen, is filled whole.
    unsafe {
        let made = ffi::PyUnicode_New(text.len().cast_signed(), 127);
        let made = Bound::from_owned_ptr_or_err(py, made)?;
        std::ptr::copy_nonoverlapping(text.as_ptr(), ffi::PyUnicode_1BYTE_DATA(made.as_ptr()), text.len());
        Ok(made.cast_into_unchecked())
    }
}

/// The text of a `str` that is of ASCII characters alone, where it stands.
#[inline]
pub(super) fn ascii_of<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a str> {
    // SAFETY: `text` is a str. A compact ASCII one has its characters, of a byte each and below 128, behind its head, as
    // many as its length says, and never changes.
    unsafe {
        let text = text.as_ptr();
        if ffi::PyUnicode_IS_COMPACT_ASCII(text) == 0 {
            return None;
        }
        let length = ffi::PyUnicode_GET_LENGTH(text).cast_unsigned();
        Some(std::str::from_utf8_unchecked(std::slice::from_raw_parts(ffi::PyUnicode_1BYTE_DATA(text), length)))
    }
}

/// The bytes behind a buffer that is C-contiguous, for a moment in which no Python code runs.
pub(super) fn with_bytes<T>(buffer: &PyUntypedBuffer, work: impl FnOnce(&[u8]) -> T) -> Option<T> {
    if !buffer.is_c_contiguous() {
        return None;
    }
    if buffer.len_bytes() == 0 {
        return Some(work(&[]));
    }
    // SAFETY: the exporter keeps a contiguous buffer of that length in place while `buffer` lives; the interpreter's lock is
    // held and no Python code runs while `work` copies it.
    Some(work(unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) }))
}

/// A memoryview whose memory belongs to a `bytes` object and therefore cannot change.
pub(super) struct Frozen(PyUntypedBuffer);

impl Frozen {
    pub(super) fn of(view: &Bound<'_, PyMemoryView>) -> Option<Self> {
        // The buffer first: while it is held, the view cannot be released.
        let buffer = PyUntypedBuffer::get(view.as_any()).ok()?;
        let owner = view.getattr("obj").ok()?;
        (owner.is_exact_instance_of::<PyBytes>() && buffer.is_c_contiguous()).then_some(Self(buffer))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        if self.0.len_bytes() == 0 {
            return &[];
        }
        // SAFETY: bytes objects keep their memory and content while they live; the buffer holds the view, which holds one.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast::<u8>(), self.0.len_bytes()) }
    }
}
