//! `sparecall.embed`: text to unit vectors. Both embedders take texts and hand out arrays in the one way that stands here.

mod minilm;
mod statics;

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyString, PyTuple};

use crate::error::wrong_type;
use crate::text::{HeldText, Text};

pub(crate) use minilm::MiniLMEmbedder;
pub(crate) use statics::StaticEmbedder;

/// The objects of `texts`: one `str`, or a sequence of them.
fn objects<'py>(texts: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if texts.is_instance_of::<PyString>() {
        return Ok(vec![texts.clone()]);
    }
    if texts.is_instance_of::<PyList>() || texts.is_instance_of::<PyTuple>() {
        return texts.try_iter()?.collect();
    }
    match texts.try_iter() {
        Ok(items) if texts.len().is_ok() => items.collect(),
        _ => Err(wrong_type("texts", "a str or a sequence of str", texts)),
    }
}

/// The texts of `objects`, and the most bytes that their UTF-8 can have together.
fn views<'a>(objects: &'a [Bound<'_, PyAny>]) -> PyResult<(Vec<Text<'a>>, usize)> {
    let mut length = 0;
    let mut views = Vec::with_capacity(objects.len());
    for (i, object) in objects.iter().enumerate() {
        let view = Text::of(object, format_args!("texts[{i}]"))?;
        length += view.max_utf8_len();
        views.push(view);
    }
    Ok((views, length))
}

/// The texts, held for another thread, and the most bytes that their UTF-8 can have together.
fn held(texts: &Bound<'_, PyAny>) -> PyResult<(Vec<HeldText>, usize)> {
    let mut length = 0;
    let mut held = Vec::new();
    for (i, object) in objects(texts)?.iter().enumerate() {
        let text = HeldText::of(object, format_args!("texts[{i}]"))?;
        length += text.text().max_utf8_len();
        held.push(text);
    }
    Ok((held, length))
}

/// A numpy array of `float32`, `rows` by `dim`, with the numbers of `values`.
fn array<'py>(py: Python<'py>, rows: usize, dim: usize, values: &[f32]) -> PyResult<Bound<'py, PyAny>> {
    static MAKERS: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();
    let (empty, float32) = MAKERS.get_or_try_init(py, || {
        let numpy = PyModule::import(py, "numpy")?;
        let float32 = numpy.getattr("dtype")?.call1(("float32",))?;
        PyResult::Ok((numpy.getattr("empty")?.unbind(), float32.unbind()))
    })?;
    let array = empty.bind(py).call1(((rows, dim), float32))?;
    if rows > 0 {
        PyBuffer::<f32>::get(&array)?.copy_from_slice(py, values)?;
    }
    Ok(array)
}
