//! Classes that frames treat in a way of their own, looked up once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use sparecall_core::frame::Dtype;

static KNOWN: PyOnceLock<Known> = PyOnceLock::new();

pub(super) struct Known {
    pub(super) array: Py<PyType>,
    pub(super) memmap: Py<PyType>,
    pub(super) number: Py<PyType>,
    pub(super) boolean: Py<PyType>,
    /// numpy's dtype objects, in the order of [`Dtype::all`].
    pub(super) dtypes: Vec<Py<PyAny>>,
    pub(super) structure: Py<PyType>,
    /// What an absent field of a `msgspec.Struct` holds.
    pub(super) unset: Py<PyAny>,
    /// How `dataclasses` marks a field that instances have.
    pub(super) field: Py<PyAny>,
    pub(super) enumeration: Py<PyType>,
    pub(super) uuid: Py<PyType>,
    pub(super) decimal: Py<PyType>,
}

impl Known {
    pub(super) fn get(py: Python<'_>) -> PyResult<&Self> {
        KNOWN.get_or_try_init(py, || {
            let class = |module: &str, name: &str| -> PyResult<Py<PyType>> {
                Ok(py.import(module)?.getattr(name)?.cast_into::<PyType>()?.unbind())
            };
            let dtype = py.import("numpy")?.getattr("dtype")?;
            Ok(Self {
                array: class("numpy", "ndarray")?,
                memmap: class("numpy", "memmap")?,
                number: class("numpy", "number")?,
                boolean: class("numpy", "bool_")?,
                dtypes: Dtype::all()
                    .map(|one| dtype.call1((one.name(),)).map(Bound::unbind))
                    .collect::<PyResult<_>>()?,
                structure: class("msgspec", "Struct")?,
                unset: py.import("msgspec")?.getattr("UNSET")?.unbind(),
                field: py.import("dataclasses")?.getattr("_FIELD")?.unbind(),
                enumeration: class("enum", "Enum")?,
                uuid: class("uuid", "UUID")?,
                decimal: class("decimal", "Decimal")?,
            })
        })
    }
}
