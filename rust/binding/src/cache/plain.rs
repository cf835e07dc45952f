//! Plain data as bytes for a file, and back: None, bool, int, float, str, bytes, and tuples, lists and dicts of these. Of exactly
//! these classes, so that what is read back equals what was saved and no code is run to make it.
//!
//! A byte for the class, then: nothing; 8 bytes; or a length (u64, little endian) and so many bytes or items.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use sparecall_core::cache::Key;
use sparecall_core::error::Error;

use super::{key, save};
use crate::error::{to_python, wrong_type};

const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const BIG_INT: u8 = 4;
const FLOAT: u8 = 5;
const BYTES: u8 = 6;
const TUPLE: u8 = 7;
const LIST: u8 = 8;
const DICT: u8 = 9;
/// Followed by the kind of its key form: [`Key::TEXT_1`] and so on.
const TEXT: u8 = 10;

/// How deep data may be nested.
const DEPTH: u32 = 100;

/// The kinds of value in a file: plain data, or what the user's own `encode` made.
const PLAIN: u8 = 0;
const ENCODED: u8 = 1;

/// Appends `object`, which errors call `name`.
pub(super) fn encode(object: &Bound<'_, PyAny>, name: &str, bytes: &mut Vec<u8>) -> PyResult<()> {
    put(object, name, bytes, DEPTH)
}

/// The kind and the bytes of a value.
pub(super) fn encode_value(value: &Bound<'_, PyAny>, encode: Option<&Bound<'_, PyAny>>) -> PyResult<(u8, Vec<u8>)> {
    let mut bytes = Vec::new();
    let Some(encode) = encode else {
        self::encode(value, "a value", &mut bytes)?;
        return Ok((PLAIN, bytes));
    };
    let encoded = encode.call1((value,))?;
    match encoded.cast_exact::<PyBytes>() {
        Ok(encoded) => Ok((ENCODED, encoded.as_bytes().to_vec())),
        Err(_) => Err(wrong_type("what encode returns", "exactly bytes", &encoded)),
    }
}

/// The object in `bytes`; `SnapshotError` where there is none or more than one.
pub(super) fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut rest = bytes;
    let object = take(py, &mut rest, DEPTH)?;
    if rest.is_empty() { Ok(object) } else { Err(save::forged(py)) }
}

/// The value for a kind and bytes.
pub(super) fn decode_value<'py>(
    py: Python<'py>,
    kind: u8,
    bytes: &[u8],
    decode: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    match (kind, decode) {
        (PLAIN, None) => self::decode(py, bytes),
        (ENCODED, Some(decode)) => decode.call1((PyBytes::new(py, bytes),)),
        (ENCODED, None) => {
            let what = "its values were saved with encode=: give load the decode= that goes with it";
            Err(to_python(py, &Error::Snapshot { what }))
        }
        (PLAIN, Some(_)) => Err(to_python(
            py,
            &Error::Snapshot { what: "its values were saved without encode=: load it without decode=" },
        )),
        _ => Err(save::forged(py)),
    }
}

fn put(object: &Bound<'_, PyAny>, name: &str, bytes: &mut Vec<u8>, depth: u32) -> PyResult<()> {
    let Some(depth) = depth.checked_sub(1) else {
        let limit = format!("plain data nests at most {DEPTH} deep: give save an encode= of your own");
        let error = Error::InvalidArgument { name: "the nesting of an entry", value: "more".to_owned(), limit };
        return Err(to_python(object.py(), &error));
    };
    if object.is_none() {
        bytes.push(NONE);
    } else if let Ok(value) = object.cast_exact::<PyBool>() {
        bytes.push(if value.is_true() { TRUE } else { FALSE });
    } else if let Ok(text) = object.cast_exact::<PyString>() {
        let Key { kind, bytes: units } = key::text(text)?;
        bytes.extend([TEXT, kind]);
        put_bytes(units, bytes);
    } else if let Ok(value) = object.cast_exact::<PyBytes>() {
        bytes.push(BYTES);
        put_bytes(value.as_bytes(), bytes);
    } else if let Ok(value) = object.cast_exact::<PyFloat>() {
        bytes.push(FLOAT);
        bytes.extend(value.value().to_le_bytes());
    } else if let Ok(value) = object.cast_exact::<PyInt>() {
        put_int(value, bytes)?;
    } else if let Ok(items) = object.cast_exact::<PyTuple>() {
        put_length(TUPLE, items.len(), bytes);
        items.iter().try_for_each(|item| put(&item, name, bytes, depth))?;
    } else if let Ok(items) = object.cast_exact::<PyList>() {
        let items = items.to_tuple(); // nothing can change it while it is written
        put_length(LIST, items.len(), bytes);
        items.iter().try_for_each(|item| put(&item, name, bytes, depth))?;
    } else if let Ok(items) = object.cast_exact::<PyDict>() {
        let items = items.items();
        put_length(DICT, items.len(), bytes);
        for item in items {
            let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
            put(&key, name, bytes, depth)?;
            put(&value, name, bytes, depth)?;
        }
    } else {
        let class = object.get_type().name()?;
        let next = if name == "a value" { "; give save an encode= of your own" } else { "" };
        return Err(PyTypeError::new_err(format!(
            "{name} holds an object of class {class}, and a file takes None, bool, int, float, str, bytes, tuple, list and dict{next}"
        )));
    }
    Ok(())
}

fn put_int(value: &Bound<'_, PyInt>, bytes: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(small) = value.extract::<i64>() {
        bytes.push(INT);
        bytes.extend(small.to_le_bytes());
        return Ok(());
    }
    let length = value.call_method0("bit_length")?.extract::<usize>()? / 8 + 1;
    let signed = PyDict::new(value.py());
    signed.set_item("signed", true)?;
    let big = value.call_method("to_bytes", (length, "little"), Some(&signed))?;
    bytes.push(BIG_INT);
    put_bytes(big.cast_exact::<PyBytes>()?.as_bytes(), bytes);
    Ok(())
}

fn put_length(class: u8, length: usize, bytes: &mut Vec<u8>) {
    bytes.push(class);
    bytes.extend((length as u64).to_le_bytes());
}

fn put_bytes(value: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend((value.len() as u64).to_le_bytes());
    bytes.extend(value);
}

fn take<'py>(py: Python<'py>, rest: &mut &[u8], depth: u32) -> PyResult<Bound<'py, PyAny>> {
    let forged = || save::forged(py);
    let depth = depth.checked_sub(1).ok_or_else(forged)?;
    let [class] = take_array(rest).ok_or_else(forged)?;
    Ok(match class {
        NONE => py.None().into_bound(py),
        FALSE => PyBool::new(py, false).to_owned().into_any(),
        TRUE => PyBool::new(py, true).to_owned().into_any(),
        INT => i64::from_le_bytes(take_array(rest).ok_or_else(forged)?).into_pyobject(py)?.into_any(),
        FLOAT => PyFloat::new(py, f64::from_le_bytes(take_array(rest).ok_or_else(forged)?)).into_any(),
        BIG_INT => {
            let signed = PyDict::new(py);
            signed.set_item("signed", true)?;
            let bytes = PyBytes::new(py, take_bytes(rest).ok_or_else(forged)?);
            py.get_type::<PyInt>().call_method("from_bytes", (bytes, "little"), Some(&signed))?
        }
        BYTES => PyBytes::new(py, take_bytes(rest).ok_or_else(forged)?).into_any(),
        TEXT => {
            let [kind] = take_array(rest).ok_or_else(forged)?;
            let text = Key { kind, bytes: take_bytes(rest).ok_or_else(forged)? };
            if kind == Key::DIGEST || !text.is_valid() {
                return Err(forged());
            }
            key::restore(py, text)?
        }
        TUPLE => PyTuple::new(py, take_items(py, rest, depth, 1)?)?.into_any(),
        LIST => PyList::new(py, take_items(py, rest, depth, 1)?)?.into_any(),
        DICT => {
            let dict = PyDict::new(py);
            for pair in take_items(py, rest, depth, 2)?.chunks_exact(2) {
                dict.set_item(&pair[0], &pair[1]).map_err(|_| forged())?; // an unhashable key
            }
            dict.into_any()
        }
        _ => return Err(forged()),
    })
}

/// A length, and `each` times so many objects.
fn take_items<'py>(py: Python<'py>, rest: &mut &[u8], depth: u32, each: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let length = take_array(rest).map(u64::from_le_bytes);
    // Every object takes a byte at least.
    let Some(length) = length.filter(|length| *length <= rest.len() as u64) else { return Err(save::forged(py)) };
    (0..length as usize * each).map(|_| take(py, rest, depth)).collect()
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u64::from_le_bytes(take_array(rest)?)).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}
