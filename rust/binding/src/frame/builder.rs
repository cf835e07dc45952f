//! `MessagePack` as Python objects.

use std::cell::Cell;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDateTime, PyDict, PyFloat, PyInt, PyString, PyTuple, PyTzInfo};
use sparecall_core::error::Error;
use sparecall_core::frame::{self, Array, Limits, Refusal, Timestamp, Token, Walk, ext};

use super::known::Known;
use super::{keys, raw};
use crate::error::to_python;

/// Bytes of `MessagePack` that LZ4 decompresses in 500 microseconds, at 0.3 ns a byte.
const DETACH: usize = 1_500_000;
/// What a thread keeps of its memory between frames.
const KEPT: usize = 1 << 20;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Bytes that are no frame, or an error of Python itself.
pub(super) enum Fault {
    Refused(Refusal),
    Raised(PyErr),
}

pub(super) type Result<T> = std::result::Result<T, Box<Fault>>;

impl From<Refusal> for Box<Fault> {
    #[cold]
    fn from(refusal: Refusal) -> Self {
        Self::new(Fault::Refused(refusal))
    }
}

impl From<PyErr> for Box<Fault> {
    #[cold]
    fn from(error: PyErr) -> Self {
        Self::new(Fault::Raised(error))
    }
}

impl Fault {
    pub(super) fn into_error(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Refused(refusal) => to_python(py, &Error::Frame(refusal)),
            Self::Raised(error) => error,
        }
    }
}

/// Memory that does not change while its owner lives, for arrays to stand on.
pub(super) struct Ground<'a, 'py> {
    pub(super) owner: &'a Bound<'py, PyAny>,
    /// How many bytes of it come before the payload.
    pub(super) before: usize,
}

/// The object in a frame. `owner` is what the frame stands in, if that does not change.
pub(super) fn unpack<'py>(
    py: Python<'py>,
    bytes: &[u8],
    owner: Option<&Bound<'py, PyAny>>,
    limits: Limits,
    copy: bool,
) -> Result<Bound<'py, PyAny>> {
    let (header, payload) = frame::split(bytes, limits)?;
    let owner = owner.filter(|_| !copy);
    if !header.lz4 {
        if owner.is_none() && header.arrays && !copy {
            let owner = PyBytes::new(py, payload);
            let ground = Ground { owner: owner.as_any(), before: 0 };
            return build(py, owner.as_bytes(), Some(ground), limits, copy);
        }
        let ground = owner.map(|owner| Ground { owner, before: frame::HEADER });
        return build(py, payload, ground, limits, copy);
    }
    let open = |raw: &mut [u8]| {
        let mut work = || frame::open(payload, raw);
        if header.raw > DETACH { py.detach(work) } else { work() }
    };
    if header.arrays && !copy {
        let mut done = Ok(());
        let owner = PyBytes::new_with(py, header.raw, |raw| {
            done = open(raw);
            Ok(())
        })?;
        done?;
        let ground = Ground { owner: owner.as_any(), before: 0 };
        return build(py, owner.as_bytes(), Some(ground), limits, copy);
    }
    // A finalizer that the collector runs meanwhile may unpack, too: it finds the place empty.
    let mut scratch = SCRATCH.take();
    if scratch.len() < header.raw {
        scratch.resize(header.raw, 0);
    }
    let raw = &mut scratch[..header.raw];
    let built = match open(raw) {
        Ok(()) => build(py, raw, None, limits, copy),
        Err(refusal) => Err(refusal.into()),
    };
    if scratch.len() > KEPT {
        scratch = Vec::new();
    }
    SCRATCH.set(scratch);
    built
}

fn build<'py>(
    py: Python<'py>,
    payload: &[u8],
    ground: Option<Ground<'_, 'py>>,
    limits: Limits,
    copy: bool,
) -> Result<Bound<'py, PyAny>> {
    let mut builder = Builder { py, payload, walk: Walk::new(payload, limits), ground, copy };
    let object = builder.value(0)?;
    builder.walk.end()?;
    Ok(object)
}

struct Builder<'a, 'py> {
    py: Python<'py>,
    payload: &'a [u8],
    walk: Walk<'a>,
    ground: Option<Ground<'a, 'py>>,
    copy: bool,
}

impl<'py> Builder<'_, 'py> {
    fn value(&mut self, depth: usize) -> Result<Bound<'py, PyAny>> {
        let py = self.py;
        Ok(match self.walk.token()? {
            Token::Text(text) => self.text(text)?,
            Token::Integer(number) => number.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            Token::Map(length) => self.map(length, depth)?,
            Token::Array(length) => {
                let depth = Limits::deeper(depth)?;
                let mut list = raw::NewList::new(py, length)?;
                for _ in 0..length {
                    list.push(self.value(depth)?);
                }
                list.finish().ok_or_else(|| self.walk.refusal("a list that was changed while it was read"))?.into_any()
            }
            Token::Nil => py.None().into_bound(py),
            Token::Boolean(truth) => PyBool::new(py, truth).to_owned().into_any(),
            Token::Float(number) => PyFloat::new(py, number).into_any(),
            Token::Unsigned(number) => number.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            Token::Binary(bytes) => PyBytes::new(py, bytes).into_any(),
            Token::Extension(kind, bytes) => self.extension(kind, bytes)?,
        })
    }

    #[inline]
    fn text(&self, text: &[u8]) -> Result<Bound<'py, PyAny>> {
        if text.is_ascii() {
            return Ok(raw::ascii(self.py, text)?.into_any());
        }
        match std::str::from_utf8(text) {
            Ok(text) => Ok(PyString::new(self.py, text).into_any()),
            Err(_) => Err(self.walk.refusal("text that is not UTF-8").into()),
        }
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Bound<'py, PyAny>> {
        let depth = Limits::deeper(depth)?;
        let dict = PyDict::new(self.py);
        for _ in 0..length {
            let key = match self.walk.token()? {
                Token::Text(text) => match keys::get(self.py, text)? {
                    Some(key) => key,
                    None => self.text(text)?,
                },
                token => self.key(token)?,
            };
            let value = self.value(depth)?;
            dict.set_item(key, value)?;
        }
        if dict.len() != length {
            return Err(self.walk.refusal("a map that has a key twice").into());
        }
        Ok(dict.into_any())
    }

    /// A key that is no text.
    fn key(&mut self, token: Token<'_>) -> Result<Bound<'py, PyAny>> {
        let py = self.py;
        Ok(match token {
            Token::Integer(number) => number.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            Token::Unsigned(number) => number.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            Token::Nil => py.None().into_bound(py),
            Token::Boolean(truth) => PyBool::new(py, truth).to_owned().into_any(),
            Token::Float(number) => PyFloat::new(py, number).into_any(),
            Token::Binary(bytes) => PyBytes::new(py, bytes).into_any(),
            Token::Extension(kind @ (ext::TIMESTAMP | ext::INTEGER), bytes) => self.extension(kind, bytes)?,
            _ => return Err(self.walk.refusal("a map whose key is a container").into()),
        })
    }

    #[inline(never)]
    fn extension(&mut self, kind: i8, bytes: &[u8]) -> Result<Bound<'py, PyAny>> {
        let (py, at) = (self.py, self.walk.at());
        match kind {
            ext::TIMESTAMP => {
                let time = Timestamp::parse(bytes, at)?.civil();
                let utc = PyTzInfo::utc(py)?;
                let microsecond = time.nanosecond / 1_000;
                let (hour, minute, second) = (time.hour, time.minute, time.second);
                let moment =
                    PyDateTime::new(py, time.year, time.month, time.day, hour, minute, second, microsecond, Some(&utc));
                Ok(moment?.into_any())
            }
            ext::INTEGER if bytes.len() >= ext::INTEGER_BYTES => {
                let signed = PyDict::new(py);
                signed.set_item(intern!(py, "signed"), true)?;
                let arguments = (PyBytes::new(py, bytes), intern!(py, "little"));
                Ok(py.get_type::<PyInt>().call_method(intern!(py, "from_bytes"), arguments, Some(&signed))?)
            }
            ext::ARRAY => self.array(Array::parse(bytes, at)?),
            _ => Err(self.walk.refusal("an extension of an unknown type").into()),
        }
    }

    fn array(&self, array: Array<'_>) -> Result<Bound<'py, PyAny>> {
        let py = self.py;
        let known = Known::get(py)?;
        let dtype = &known.dtypes[array.dtype.index()];
        let shape = PyTuple::new(py, array.shape())?;
        let class = known.array.bind(py);
        let made = match &self.ground {
            Some(Ground { owner, before }) if array.is_aligned() => {
                let offset = array.numbers.as_ptr() as usize - self.payload.as_ptr() as usize + before;
                class.call1((shape, dtype, owner, offset))
            }
            _ if self.copy => class.call1((shape, dtype, PyByteArray::new(py, array.numbers))),
            _ => class.call1((shape, dtype, PyBytes::new(py, array.numbers))),
        };
        // What numpy refuses, such as dimensions whose product is beyond its own limits.
        made.map_err(|_| self.walk.refusal("an array that numpy does not take").into())
    }
}
