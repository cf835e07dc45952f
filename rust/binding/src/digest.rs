//! digest: bytes in, a frozen `Inspection` out; the reader's memory is kept per thread.

use std::borrow::Cow;
use std::cell::RefCell;

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyString};
use sparecall_core::digest::{self, Options, Scratch, Wire};
use sparecall_core::error::Error;

use crate::error::{guard, to_python};
use crate::queue::Work;

/// Text takes 0.2 to 1 ns a byte, plain or full of escapes: from here on the interpreter is let go meanwhile.
const DETACH_ABOVE: usize = 500_000;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The bytes of a bytes-like object; only `bytes`, which cannot change, is not copied.
fn bytes_of<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    match object.cast::<PyBytes>() {
        Ok(bytes) => Ok(Cow::Borrowed(bytes.as_bytes())),
        Err(_) => Ok(Cow::Owned(PyBuffer::<u8>::get(object)?.to_vec(object.py())?)),
    }
}

/// Runs `work` without the interpreter where `size` bytes take long.
fn run<T: Send>(py: Python<'_>, size: usize, work: impl FnOnce() -> T + Send) -> T {
    if size > DETACH_ABOVE { py.detach(work) } else { work() }
}

fn wire_named(py: Python<'_>, name: &str) -> PyResult<Wire> {
    Wire::named(name).ok_or_else(|| {
        let known = Wire::ALL.map(Wire::name).join(", ");
        let limit = format!("it must be one of {known}");
        to_python(py, &Error::InvalidArgument { name: "wire", value: name.to_owned(), limit })
    })
}

/// What one pass over a request body found: its digest, and whether its answer may be cached.
#[allow(clippy::struct_excessive_bools)] // attributes for Python, not a state
#[pyclass(frozen, get_all, module = "sparecall.digest")]
pub(crate) struct Inspection {
    /// BLAKE3-256 of scope, version, salt and the canonical body: 32 bytes.
    digest: Py<PyBytes>,
    /// The model asked for; empty where the body names none.
    model: Py<PyString>,
    /// Whether the client asked for a stream.
    stream: bool,
    /// Whether the client wants usage at the end of its stream: on the chat wire it asked for it, on others it always comes.
    include_usage: bool,
    /// Whether the answer may be cached.
    cacheable: bool,
    /// Why not, in one word of a closed list; empty where it may.
    why: Py<PyString>,
    /// How many messages there are, or items of input; text is one.
    messages: usize,
    /// As the body has it; None where absent, null or no number.
    temperature: Option<f64>,
    /// How many choices are asked for; 1 where absent or odd.
    n: u64,
    /// Whether there is a non-empty `tools` or `functions` array.
    has_tools: bool,
}

#[pymethods]
impl Inspection {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let [a, b, c, d, ..] = *self.digest.as_bytes(py) else { return Ok("Inspection()".to_owned()) };
        let title = |flag| if flag { "True" } else { "False" };
        Ok(format!(
            "Inspection(digest={a:02x}{b:02x}{c:02x}{d:02x}…, model={}, messages={}, stream={}, cacheable={}, why={})",
            self.model.bind(py).repr()?,
            self.messages,
            title(self.stream),
            title(self.cacheable),
            self.why.bind(py).repr()?,
        ))
    }
}

/// Where two bodies first differ. Its texts quote the bodies: for the eyes of their owner, not for logs.
#[pyclass(frozen, get_all, eq, module = "sparecall.digest")]
#[derive(PartialEq, Eq)]
pub(crate) struct Difference {
    /// Such as `messages[0].content`; `$` is the whole document.
    path: String,
    /// What the first body has there, shortened; `absent` where nothing.
    left: String,
    /// What the second body has there.
    right: String,
    /// Where two strings are: the character at which they begin to differ.
    offset: Option<usize>,
}

#[pymethods]
impl Difference {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let path = PyString::new(py, &self.path).repr()?.to_string();
        let offset = self.offset.map_or("None".to_owned(), |offset| offset.to_string());
        Ok(format!("Difference(path={path}, offset={offset})"))
    }
}

/// Read a request body once: its digest, and what a gateway must know to answer it from a cache.
///
/// Bodies of the same meaning have the same digest, whatever their key order, spacing, escapes, spelling of numbers
/// or stream flag. Raises `sparecall.errors.InvalidDocument` where the body is not JSON, holds a key twice or is
/// nested deeper than 128 levels. Linear in the body but for the sorting of keys.
#[allow(clippy::too_many_arguments)] // the keywords of a Python function
#[pyfunction]
#[pyo3(signature = (body, *, scope, wire = "chat", version = 0, salt = None, max_temperature = 1.0, max_n = 1))]
pub(crate) fn digest_inspect(
    py: Python<'_>,
    body: &Bound<'_, PyAny>,
    scope: &str,
    wire: &str,
    version: u64,
    salt: Option<&[u8]>,
    max_temperature: f64,
    max_n: u64,
) -> PyResult<Inspection> {
    guard(py, || {
        let body = bytes_of(body)?;
        let options = Options {
            wire: wire_named(py, wire)?,
            scope,
            version,
            salt: salt.unwrap_or_default(),
            max_temperature,
            max_n,
        };
        to_inspection(py, run(py, body.len(), || inspect(&body, &options)))
    })
}

/// `digest_inspect` as work for the workers.
#[pyfunction]
pub(crate) fn _digest_inspect_work(
    py: Python<'_>,
    body: Bound<'_, PyBytes>,
    scope: String,
    wire: &str,
    version: u64,
    max_temperature: f64,
    max_n: u64,
) -> PyResult<Work> {
    let (length, wire, body) = (body.as_bytes().len(), wire_named(py, wire)?, PyBackedBytes::from(body));
    let work = move || inspect(&body, &Options { wire, scope: &scope, version, salt: &[], max_temperature, max_n });
    let finish = |py: Python<'_>, found| Ok(Py::new(py, to_inspection(py, found)?)?.into_any());
    Ok(Work::new(length as f64 / 1e9, work, finish))
}

fn inspect(body: &[u8], options: &Options<'_>) -> Result<digest::Inspection, Error> {
    SCRATCH.with_borrow_mut(|scratch| digest::inspect(body, options, scratch))
}

fn to_inspection(py: Python<'_>, found: Result<digest::Inspection, Error>) -> PyResult<Inspection> {
    let found = found.map_err(|error| to_python(py, &error))?;
    Ok(Inspection {
        digest: PyBytes::new(py, &found.digest).unbind(),
        model: PyString::new(py, &found.model).unbind(),
        stream: found.stream,
        include_usage: found.include_usage,
        cacheable: found.why.is_none(),
        why: PyString::intern(py, found.why.map_or("", digest::Reason::name)).unbind(),
        messages: found.messages,
        temperature: found.temperature,
        n: found.n,
        has_tools: found.has_tools,
    })
}

/// Find the first field, in canonical order, in which two bodies differ; None exactly where their digests are equal.
///
/// Raises `sparecall.errors.InvalidDocument` as `digest_inspect` does, for the first body that deserves it.
#[pyfunction]
#[pyo3(signature = (a, b, *, wire = "chat"))]
pub(crate) fn digest_compare(
    py: Python<'_>,
    a: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    wire: &str,
) -> PyResult<Option<Difference>> {
    guard(py, || {
        let (a, b, wire) = (bytes_of(a)?, bytes_of(b)?, wire_named(py, wire)?);
        let found =
            run(py, a.len() + b.len(), || digest::compare(&a, &b, wire)).map_err(|error| to_python(py, &error))?;
        Ok(found.map(|digest::Difference { path, left, right, offset }| Difference { path, left, right, offset }))
    })
}

/// Derive a scope from a client's key: 32 hex characters that do not reveal the key.
///
/// Raises `sparecall.errors.InvalidArgument` for an empty key.
#[pyfunction]
pub(crate) fn digest_scope_of_key(py: Python<'_>, key: &str) -> PyResult<String> {
    guard(py, || digest::scope_of_key(key).map_err(|error| to_python(py, &error)))
}
