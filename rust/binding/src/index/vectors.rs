//! Vectors, matrices and ids as Python gives them: `float32` copied as it is, other floats and lists converted.

use std::sync::Arc;

use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PySlice, PyTuple};
use sparecall_core::error::Error;
use sparecall_core::index::{CHUNK, Query};

use crate::error::{to_python, wrong_type};

static NUMPY: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// A vector that was checked once and may be searched for many times. Immutable.
#[pyclass(frozen, module = "sparecall.index")]
pub(crate) struct VectorQuery {
    query: Arc<Query>,
    #[pyo3(get)]
    /// How many numbers the vector has.
    dim: usize,
}

impl VectorQuery {
    pub(super) fn new(py: Python<'_>, vector: &Bound<'_, PyAny>, dim: usize) -> PyResult<Self> {
        Ok(Self { query: query(py, vector, dim)?, dim })
    }

    pub(super) fn query(&self, py: Python<'_>, dim: usize) -> PyResult<Arc<Query>> {
        if self.dim == dim {
            return Ok(self.query.clone());
        }
        let limit = format!("prepare it with the index it is for, of {dim} dimensions");
        Err(to_python(py, &Error::InvalidArgument { name: "the query's dim", value: self.dim.to_string(), limit }))
    }
}

#[pymethods]
impl VectorQuery {
    fn __repr__(&self) -> String {
        format!("VectorQuery(dim={})", self.dim)
    }
}

/// The numbers of a vector, of any length.
pub(super) fn vector(vector: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
    Ok(read(vector, "vector", 1)?.1)
}

pub(super) fn query(py: Python<'_>, vector: &Bound<'_, PyAny>, dim: usize) -> PyResult<Arc<Query>> {
    Query::new(self::vector(vector)?, dim, None).map(Arc::new).map_err(|error| to_python(py, &error))
}

/// Prepared queries, from a list or tuple of them, or from the rows of a matrix.
pub(super) fn queries(py: Python<'_>, vectors: &Bound<'_, PyAny>, dim: usize) -> PyResult<Vec<Arc<Query>>> {
    if let Some(prepared) = prepared(vectors) {
        return prepared?.iter().map(|query| query.get().query(py, dim)).collect();
    }
    let (width, values) = read(vectors, "vectors", 2)?;
    check_width(py, width, values.len(), dim)?;
    let rows = values.chunks_exact(dim).enumerate();
    rows.map(|(row, values)| Query::new(values.to_vec(), dim, Some(row)).map(Arc::new))
        .collect::<Result<_, _>>()
        .map_err(|error| to_python(py, &error))
}

type Prepared<'py> = Vec<Bound<'py, VectorQuery>>;

/// The items of a list or tuple that begins with a prepared query; all must be.
fn prepared<'py>(vectors: &Bound<'py, PyAny>) -> Option<PyResult<Prepared<'py>>> {
    if !(vectors.is_instance_of::<PyList>() || vectors.is_instance_of::<PyTuple>()) {
        return None;
    }
    vectors.get_item(0).ok()?.cast_exact::<VectorQuery>().ok()?;
    Some(vectors.extract::<Prepared<'py>>())
}

/// The rows of a matrix, in pieces as a batch wants them; of an array each is converted by itself, so that no second copy
/// of the whole is made.
pub(super) fn pieces(py: Python<'_>, matrix: &Bound<'_, PyAny>, dim: usize) -> PyResult<Vec<Vec<f32>>> {
    if !matrix.is_instance(&numpy(py)?.getattr("ndarray")?)? || matrix.len().unwrap_or(0) <= CHUNK {
        let (width, values) = read(matrix, "matrix", 2)?;
        check_width(py, width, values.len(), dim)?;
        return Ok(values.chunks(CHUNK * dim).map(<[f32]>::to_vec).collect());
    }
    let starts = (0..matrix.len()?).step_by(CHUNK);
    let piece = |start: usize| {
        let rows = PySlice::new(py, start.cast_signed(), (start + CHUNK).cast_signed(), 1);
        let (width, values) = read(&matrix.get_item(rows)?, "matrix", 2)?;
        check_width(py, width, values.len(), dim)?;
        Ok(values)
    };
    starts.map(piece).collect()
}

fn check_width(py: Python<'_>, width: usize, values: usize, dim: usize) -> PyResult<()> {
    if width == dim || (values == 0 && width == 0) {
        return Ok(());
    }
    let limit = format!("give rows of {dim} numbers");
    Err(to_python(py, &Error::InvalidArgument { name: "the width of the matrix", value: width.to_string(), limit }))
}

/// An id: whole, and within 64 bits.
pub(super) fn id(py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<i64> {
    id.extract::<i64>().map_err(|error| {
        if error.is_instance_of::<PyTypeError>(py) {
            return wrong_type("id", "an int", id);
        }
        let limit = "give a number from -2**63 to 2**63 - 1".to_owned();
        to_python(py, &Error::InvalidArgument { name: "id", value: "beyond 64 bits".to_owned(), limit })
    })
}

/// Ids of an `int64` array, in one go, or of any iterable of whole numbers.
pub(super) fn ids(py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    if let Some(buffer) = in_place::<i64>(ids, 1) {
        return buffer.to_vec(py);
    }
    ids.try_iter()?.map(|item| id(py, &item?)).collect()
}

/// The buffer of an object, where it holds such values without gaps, in so many dimensions.
fn in_place<T: Element>(values: &Bound<'_, PyAny>, dimensions: usize) -> Option<PyBuffer<T>> {
    let buffer = PyBuffer::<T>::get(values).ok()?;
    (buffer.dimensions() == dimensions && buffer.is_c_contiguous()).then_some(buffer)
}

fn numpy(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    Ok(NUMPY.get_or_try_init(py, || PyModule::import(py, "numpy").map(Bound::unbind))?.bind(py))
}

/// The values of a vector (1 dimension) or a matrix (2), and the length of a row.
fn read(values: &Bound<'_, PyAny>, name: &'static str, dimensions: usize) -> PyResult<(usize, Vec<f32>)> {
    let py = values.py();
    if let Some(found) = read_buffer(values, dimensions)? {
        return Ok(found);
    }
    let numpy = numpy(py)?;
    let listed = values.is_instance_of::<PyList>() || values.is_instance_of::<PyTuple>();
    if !listed && !values.is_instance(&numpy.getattr("ndarray")?)? {
        return Err(wrong_type(name, "an array of floats, or a list of numbers", values));
    }
    if dimensions == 2 && listed && values.is_empty()? {
        return Ok((0, Vec::new()));
    }
    let array = numpy.call_method1("asarray", (values,)).map_err(|_| {
        let limit = "give rows of one length".to_owned();
        to_python(py, &Error::InvalidArgument { name, value: "ragged".to_owned(), limit })
    })?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    let size: usize = array.getattr("dtype")?.getattr("itemsize")?.extract()?;
    if !(kind == "f" && size <= 8 || listed && (kind == "i" || kind == "u")) {
        let found = array.getattr("dtype")?.str()?;
        return Err(PyTypeError::new_err(format!("{name} must be of float32, float16 or float64, not {found}")));
    }
    let found: usize = array.getattr("ndim")?.extract()?;
    if found != dimensions {
        let value = format!("an array of {found} dimensions");
        let limit = format!("give one of {dimensions}");
        return Err(to_python(py, &Error::InvalidArgument { name, value, limit }));
    }
    // Wider floats are narrowed here, where a number too large becomes infinite without a warning, and is refused later.
    let wanted = if kind == "f" && size < 8 { "float32" } else { "float64" };
    let whole = numpy.call_method1("ascontiguousarray", (array, wanted))?;
    let found = read_buffer(&whole, dimensions)?;
    found.ok_or_else(|| wrong_type(name, "an array of floats", values))
}

fn read_buffer(values: &Bound<'_, PyAny>, dimensions: usize) -> PyResult<Option<(usize, Vec<f32>)>> {
    let py = values.py();
    if let Some(buffer) = in_place::<f32>(values, dimensions) {
        return Ok(Some((buffer.shape()[dimensions - 1], buffer.to_vec(py)?)));
    }
    if let Some(buffer) = in_place::<f64>(values, dimensions) {
        let narrow = buffer.to_vec(py)?.into_iter().map(|value| value as f32).collect();
        return Ok(Some((buffer.shape()[dimensions - 1], narrow)));
    }
    Ok(None)
}
