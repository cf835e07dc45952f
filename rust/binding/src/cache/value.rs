//! Values of a `BytesCache`: the very bytes that were given, or an LZ4 block of them.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::internal;

/// Above so many bytes, (de)compression lets other threads run.
const DETACH: usize = 1 << 18;

/// An LZ4 block. It never leaves the cache.
#[pyclass(frozen)]
pub(super) struct Compressed {
    block: Box<[u8]>,
    length: usize,
}

/// A value as a slot holds it: exact `bytes`, or [`Compressed`]. Dropping one runs no Python code.
pub(super) type Held = Py<PyAny>;

/// What to hold for `value`, and how many bytes that takes. Values longer than `above` are compressed, where it helps.
#[inline]
pub(super) fn hold(value: &Bound<'_, PyBytes>, above: usize) -> PyResult<(Held, u64)> {
    let length = value.as_bytes().len();
    if length > above
        && let Some(held) = compress(value)?
    {
        return Ok(held);
    }
    Ok((value.clone().into_any().unbind(), length as u64))
}

#[cold]
fn compress(value: &Bound<'_, PyBytes>) -> PyResult<Option<(Held, u64)>> {
    let (py, bytes) = (value.py(), value.as_bytes());
    let work = || lz4_flex::block::compress(bytes);
    let block = if bytes.len() > DETACH { py.detach(work) } else { work() };
    // Not worth the time of every hit where it saves less than an eighth.
    if block.len() > bytes.len() - bytes.len() / 8 {
        return Ok(None);
    }
    let size = block.len() as u64;
    let compressed = Compressed { block: block.into(), length: bytes.len() };
    Ok(Some((Py::new(py, compressed)?.into_any(), size)))
}

/// The bytes that were given.
#[inline]
pub(super) fn release(held: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyBytes>> {
    if held.is_exact_instance_of::<PyBytes>() { Ok(held.cast_into_exact::<PyBytes>()?) } else { decompress(&held) }
}

#[cold]
fn decompress<'py>(held: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = held.py();
    let compressed = held.cast_exact::<Compressed>()?.get();
    PyBytes::new_with(py, compressed.length, |bytes| {
        let mut work = || lz4_flex::block::decompress_into(&compressed.block, bytes);
        let done = if compressed.length > DETACH { py.detach(work) } else { work() };
        if done.is_ok_and(|length| length == compressed.length) { Ok(()) } else { Err(internal(py)) }
    })
}

/// The kinds of value in a file.
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// The kind and the bytes for a file. An LZ4 block begins with the length of what it holds.
pub(super) fn to_file(py: Python<'_>, held: &Held, work: impl FnOnce(u8, &[u8])) -> PyResult<()> {
    if let Ok(bytes) = held.bind(py).cast_exact::<PyBytes>() {
        work(PLAIN, bytes.as_bytes());
    } else {
        let Compressed { block, length } = held.bind(py).cast_exact::<Compressed>()?.get();
        work(LZ4, &[&(*length as u64).to_le_bytes(), &block[..]].concat());
    }
    Ok(())
}

/// Whether a value from a file is what its kind says: a forged block must not be found out by a reader.
pub(super) fn is_sound(kind: u8, bytes: &[u8]) -> bool {
    match kind {
        PLAIN => true,
        LZ4 => split_block(bytes).is_some_and(|(length, block)| {
            // No byte of a block stands for more than 255.
            length / 256 <= block.len()
                && lz4_flex::block::decompress(block, length).is_ok_and(|whole| whole.len() == length)
        }),
        _ => false,
    }
}

/// What to hold for a value from a file that [`is_sound`], and how many bytes that takes.
pub(super) fn from_file(py: Python<'_>, kind: u8, bytes: &[u8]) -> PyResult<(Held, u64)> {
    if kind == PLAIN {
        return Ok((PyBytes::new(py, bytes).into_any().unbind(), bytes.len() as u64));
    }
    let (length, block) = split_block(bytes).ok_or_else(|| internal(py))?;
    let compressed = Compressed { block: block.into(), length };
    Ok((Py::new(py, compressed)?.into_any(), block.len() as u64))
}

/// The length of what an LZ4 block in a file holds, and the block.
fn split_block(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, block) = bytes.split_first_chunk()?;
    Some((usize::try_from(u64::from_le_bytes(*length)).ok()?, block))
}
