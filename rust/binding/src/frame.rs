//! frame: Python objects in, frames out, and back; the core lays them out and checks them.

mod builder;
mod fault;
mod keys;
mod known;
mod rarer;
mod raw;
mod record;
mod writer;

use std::sync::{Mutex, PoisonError};

use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyMemoryView};
use sparecall_core::error::Error;
use sparecall_core::frame::{self, DEFAULT_BYTES, Draft, HEADER, Header, Limits, Refusal};

use crate::error::{guard, internal, to_python, wrong_type};
use crate::queue::Work;

/// Nanoseconds a byte that LZ4 is predicted to take.
const LZ4: f64 = 2.0;

const _: () = assert!(DEFAULT_BYTES == 67_108_864, "the default that signatures show");

/// Write an object as a frame: `MessagePack`, LZ4 where that is shorter, a header and a checksum.
///
/// Raises `sparecall.errors.FrameError` for what no frame can hold; the message names the place in the object, never
/// the content. Linear.
#[pyfunction]
#[pyo3(signature = (obj, *, max_bytes = None), text_signature = "(obj, *, max_bytes=67108864)")]
pub(crate) fn frame_pack<'py>(
    py: Python<'py>,
    obj: &Bound<'py, PyAny>,
    max_bytes: Option<&Bound<'py, PyInt>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let limits = limits(py, max_bytes)?;
    guard(py, || match writer::write(obj, limits) {
        Ok(draft) => Ok(writer::seal(py, draft)),
        Err(fault) => Err(fault.into_error(py)),
    })
}

/// For `write_frame`: the frame of an object, or what is to become one where that takes long.
#[pyfunction]
#[pyo3(signature = (obj, *, max_bytes))]
pub(crate) fn _frame_draft<'py>(
    py: Python<'py>,
    obj: &Bound<'py, PyAny>,
    max_bytes: &Bound<'py, PyInt>,
) -> PyResult<Bound<'py, PyAny>> {
    let limits = limits(py, Some(max_bytes))?;
    guard(py, || match writer::write(obj, limits) {
        Ok(draft) if writer::is_long(&draft) => {
            Ok(Bound::new(py, FrameDraft { draft: Mutex::new(Some(draft)) })?.into_any())
        }
        Ok(draft) => Ok(writer::seal(py, draft).into_any()),
        Err(fault) => Err(fault.into_error(py)),
    })
}

/// An object that is written and not compressed yet, which needs no object any more and so may be done in any thread.
#[pyclass(frozen, module = "sparecall._core")]
pub(crate) struct FrameDraft {
    draft: Mutex<Option<Box<Draft>>>,
}

#[pymethods]
impl FrameDraft {
    /// The work of making the frame; once.
    fn seal(&self, py: Python<'_>) -> PyResult<Work> {
        let mut draft = self.draft.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(length) = draft.as_ref().map(|draft| draft.raw_len()) else { return Err(internal(py)) };
        let work = move || draft.take().map(|mut draft| draft.finish().to_vec()).unwrap_or_default();
        let finish = |py: Python<'_>, frame: Vec<u8>| Ok(PyBytes::new(py, &frame).into_any().unbind());
        Ok(Work::new(LZ4 * length as f64 / 1e9, work, finish))
    }
}

/// Read the object in a frame.
///
/// Raises `sparecall.errors.FrameError` for anything that is not one whole, undamaged frame within the limits. Linear;
/// nothing is allocated for what a frame merely claims.
#[pyfunction]
#[pyo3(signature = (data, *, copy = false, max_bytes = None), text_signature = "(data, *, copy=False, max_bytes=67108864)")]
pub(crate) fn frame_unpack<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    copy: bool,
    max_bytes: Option<&Bound<'py, PyInt>>,
) -> PyResult<Bound<'py, PyAny>> {
    let limits = limits(py, max_bytes)?;
    guard(py, || {
        with_frozen(data, |bytes, owner| {
            builder::unpack(py, bytes, Some(owner), limits, copy).map_err(|fault| fault.into_error(py))
        })
    })
}

/// For `read_frame`: the raw and the stored length that a header says, once it is within the limits.
#[pyfunction]
#[pyo3(signature = (header, *, max_bytes))]
pub(crate) fn _frame_lengths(py: Python<'_>, header: &[u8], max_bytes: &Bound<'_, PyInt>) -> PyResult<(usize, usize)> {
    let limits = limits(py, Some(max_bytes))?;
    let found = header.first_chunk::<HEADER>().ok_or(Refusal::Short { have: header.len(), need: HEADER });
    let found = found.and_then(|header| Header::parse(header, limits));
    found.map(|header| (header.raw, header.stored)).map_err(|refusal| to_python(py, &Error::Frame(refusal)))
}

/// Frames out of a stream that comes in pieces.
#[pyclass(frozen, module = "sparecall.frame")]
pub(crate) struct FrameReader {
    /// Absent while a call uses it: objects are made without a lock held.
    state: Mutex<Option<State>>,
    limits: Limits,
    copy: bool,
}

struct State {
    reader: frame::FrameReader,
    /// Why the stream is refused, where a call that gave frames out did not say so yet.
    failed: Option<PyErr>,
}

impl FrameReader {
    fn with<T>(&self, py: Python<'_>, work: impl FnOnce(&mut State) -> PyResult<T>) -> PyResult<T> {
        let place = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = place().take();
        let Some(mut state) = taken else {
            let what = "this reader is in use by another call; feed it from one task or thread at a time";
            return Err(crate::error::not_packed(py, what.to_owned()));
        };
        let done = guard(py, || work(&mut state));
        *place() = Some(state);
        done
    }
}

#[pymethods]
impl FrameReader {
    #[new]
    #[pyo3(signature = (*, copy = false, max_bytes = None), text_signature = "(*, copy=False, max_bytes=67108864)")]
    fn new(py: Python<'_>, copy: bool, max_bytes: Option<&Bound<'_, PyInt>>) -> PyResult<Self> {
        let limits = limits(py, max_bytes)?;
        let state = State { reader: frame::FrameReader::new(limits), failed: None };
        Ok(Self { state: Mutex::new(Some(state)), limits, copy })
    }

    /// Take the next bytes of the stream and return the objects of the frames that they complete, in order.
    fn feed<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let found = PyList::empty(py);
        with_frozen(data, |bytes, _| {
            self.with(py, |state| {
                if let Some(failed) = state.failed.take() {
                    return Err(failed);
                }
                let done = state.reader.feed(bytes, |frame| -> builder::Result<()> {
                    Ok(found.append(builder::unpack(py, frame, None, self.limits, self.copy)?)?)
                });
                match done.map_err(|fault| fault.into_error(py)) {
                    Err(error) if found.is_empty() => Err(error),
                    // What came whole before is not lost: the next call says why there is no more.
                    Err(error) => {
                        state.failed = Some(error);
                        Ok(())
                    }
                    Ok(()) => Ok(()),
                }
            })
        })?;
        Ok(found)
    }

    /// Say that the stream has ended; raises where that is within a frame, or after a bad one.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |state| match state.failed.take() {
            Some(failed) => Err(failed),
            None => state.reader.finish().map_err(|refusal| to_python(py, &Error::Frame(refusal))),
        })
    }

    /// Bytes held of a frame that is not complete.
    #[getter]
    fn pending(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |state| Ok(state.reader.pending()))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |state| {
            let (pending, limit) = (state.reader.pending(), self.limits.bytes());
            Ok(format!("FrameReader(pending={pending}, max_bytes={limit})"))
        })
    }
}

fn limits(py: Python<'_>, max_bytes: Option<&Bound<'_, PyInt>>) -> PyResult<Limits> {
    let Some(given) = max_bytes else { return Ok(Limits::default()) };
    match given.extract::<i128>() {
        Ok(bytes) if bytes <= 0 => {
            let limit = "give the most bytes of MessagePack that a frame may hold, from 1 up".to_owned();
            Err(to_python(py, &Error::InvalidArgument { name: "max_bytes", value: bytes.to_string(), limit }))
        }
        Ok(bytes) => Ok(Limits::new(usize::try_from(bytes).unwrap_or(usize::MAX))),
        Err(_) => Ok(Limits::new(usize::MAX)),
    }
}

/// The bytes of a bytes-like object, and an object whose memory they are and stay: `data` itself where it cannot change,
/// else a copy.
fn with_frozen<'py, T>(
    data: &Bound<'py, PyAny>,
    work: impl FnOnce(&[u8], &Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<T> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return work(bytes.as_bytes(), data);
    }
    if let Some(frozen) = data.cast::<PyMemoryView>().ok().and_then(raw::Frozen::of) {
        return work(frozen.as_bytes(), data);
    }
    let Ok(buffer) = PyUntypedBuffer::get(data) else {
        return Err(wrong_type("data", "bytes or another bytes-like object", data));
    };
    let copy = match raw::with_bytes(&buffer, |bytes| PyBytes::new(data.py(), bytes)) {
        Some(copy) => copy,
        None => data.call_method0("tobytes")?.cast_into::<PyBytes>().map_err(|_| internal(data.py()))?,
    };
    work(copy.as_bytes(), copy.as_any())
}
