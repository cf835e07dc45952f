//! Objects with named fields, as maps: msgspec Structs under the names they encode with, and dataclasses.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::fault::{Fault, Result, Step, raised, refuse};
use super::known::Known;
use super::writer::{Writer, name_of};

type Fields<'py> = Vec<(Bound<'py, PyString>, Bound<'py, PyAny>)>;

fn unreadable(object: &Bound<'_, PyAny>, error: PyErr) -> Fault {
    raised(object.py(), &format!("reading the class {}", name_of(object)), error)
}

/// A field's value, which may be made by code of the class.
fn read<'py>(object: &Bound<'py, PyAny>, name: &Bound<'py, PyString>, index: usize) -> Result<Bound<'py, PyAny>> {
    object.getattr(name).map_err(|error| raised(object.py(), "reading it", error).within(Step::of_key(name, index)))
}

/// A `msgspec.Struct`: as msgspec encodes it, but for fields that equal their defaults, which are written.
pub(super) fn structure<'py>(
    writer: &mut Writer<'_, 'py>,
    object: &Bound<'py, PyAny>,
    known: &Known,
    depth: usize,
) -> Result {
    let py = object.py();
    let class = object.get_type();
    let names = |name: &Bound<'py, PyString>| -> PyResult<Bound<'py, PyTuple>> {
        Ok(class.getattr(name)?.cast_into::<PyTuple>()?)
    };
    let described = || -> PyResult<_> {
        let config = class.getattr(intern!(py, "__struct_config__"))?;
        Ok((
            names(intern!(py, "__struct_fields__"))?,
            names(intern!(py, "__struct_encode_fields__"))?,
            config.getattr(intern!(py, "tag"))?,
            config.getattr(intern!(py, "tag_field"))?,
            config.getattr(intern!(py, "array_like"))?.is_truthy()?,
        ))
    };
    let (fields, encoded, tag, tag_field, array_like) = described().map_err(|error| unreadable(object, error))?;
    let mut made: Fields<'py> = Vec::with_capacity(fields.len() + 1);
    let text =
        |name: Bound<'py, PyAny>| name.cast_into::<PyString>().map_err(|_| refuse("a field whose name is no str"));
    if !tag.is_none() {
        let name = if tag_field.is_none() { PyString::new(py, "type") } else { text(tag_field)? };
        made.push((name, tag));
    }
    for (index, (field, name)) in fields.iter().zip(encoded.iter()).enumerate() {
        let value = read(object, &text(field)?, index)?;
        if array_like || !value.is(&known.unset) {
            made.push((text(name)?, value));
        }
    }
    if array_like {
        return writer.items(made.len(), depth, |index| Ok(made[index].1.clone()));
    }
    writer.fields(&made, depth)
}

pub(super) fn is_dataclass(class: &Bound<'_, PyType>) -> bool {
    class.getattr_opt(intern!(class.py(), "__dataclass_fields__")).is_ok_and(|fields| fields.is_some())
}

pub(super) fn dataclass<'py>(
    writer: &mut Writer<'_, 'py>,
    object: &Bound<'py, PyAny>,
    known: &Known,
    depth: usize,
) -> Result {
    let py = object.py();
    let class = object.get_type();
    let described = || -> PyResult<Vec<Bound<'py, PyString>>> {
        let fields = class.getattr(intern!(py, "__dataclass_fields__"))?.cast_into::<PyDict>()?;
        // A copy: reading a field may run code of the class.
        let mut names = Vec::with_capacity(fields.len());
        for item in fields.copy()?.items() {
            let (name, field) = item.extract::<(Bound<'py, PyString>, Bound<'py, PyAny>)>()?;
            if field.getattr(intern!(py, "_field_type"))?.is(&known.field) {
                names.push(name);
            }
        }
        Ok(names)
    };
    let names = described().map_err(|error| unreadable(object, error))?;
    let made = names.into_iter().enumerate().map(|(index, name)| {
        let value = read(object, &name, index)?;
        Ok((name, value))
    });
    let made = made.collect::<Result<Fields<'py>>>()?;
    writer.fields(&made, depth)
}
