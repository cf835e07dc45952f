//! Methods that are called millions of times a second, without pyo3's general way of reading arguments, which costs such a
//! call a third of its time (10 of 34 ns). Only plain positional calls go this way; all others go to pyo3's own method of
//! the same name, which stays the one place that knows names, defaults and errors of arguments.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::PyClass;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::PyOnceLock;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::PyType;

use crate::error::internal;

/// A method that is there twice: pyo3's, and this one in front of it.
pub(crate) trait FastMethod: Sized {
    type Class: PyClass<Frozen = True> + Sync;

    /// What a call with plain positional arguments does. `None`: pyo3's method is to see to it.
    fn call<'py>(
        this: &Bound<'py, Self::Class>,
        arguments: &[Borrowed<'_, 'py, PyAny>],
    ) -> Option<PyResult<Bound<'py, PyAny>>>;

    /// Where it is kept: a static, made by [`Method::new`].
    fn method() -> &'static Method;
}

/// The definition of a method, and pyo3's own.
pub(crate) struct Method {
    definition: UnsafeCell<ffi::PyMethodDef>,
    general: PyOnceLock<Py<PyAny>>,
}

// SAFETY: the definition is written before it is installed, under the interpreter's lock, and only read after.
unsafe impl Sync for Method {}

impl Method {
    pub(crate) const fn new<M: FastMethod>(name: &'static CStr) -> Self {
        let definition = ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call::<M> },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: std::ptr::null(),
        };
        Self { definition: UnsafeCell::new(definition), general: PyOnceLock::new() }
    }

    fn install(&'static self, class: &Bound<'_, PyType>) -> PyResult<()> {
        let py = class.py();
        // SAFETY: nobody else has the definition yet.
        let definition = unsafe { &mut *self.definition.get() };
        // SAFETY: it was made of a C string that lives as long as the program.
        let name = unsafe { CStr::from_ptr(definition.ml_name) };
        let general = class.getattr(name)?;
        // Signature and docstring as pyo3 made them.
        // SAFETY: a method of a pyo3 class is a method descriptor; its definition lives as long as the program.
        definition.ml_doc = unsafe { (*(*general.as_ptr().cast::<ffi::PyMethodDescrObject>()).d_method).ml_doc };
        self.general.get_or_init(py, || general.unbind());
        // SAFETY: the definition is static. The interpreter checks that `self` is of the class before every call.
        let method =
            unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), definition))? };
        class.setattr(name, method)
    }

    /// # Safety
    /// As for [`call`].
    #[cold]
    unsafe fn call_general<'py>(
        &self,
        py: Python<'py>,
        this: *mut ffi::PyObject,
        arguments: *const *mut ffi::PyObject,
        count: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(general) = self.general.get(py) else { return Err(internal(py)) };
        // SAFETY: by the contract; `names` is a tuple where it is not null.
        let named = if names.is_null() { 0 } else { unsafe { ffi::PyTuple_GET_SIZE(names) } };
        let mut all = vec![this];
        // SAFETY: by the contract.
        all.extend_from_slice(unsafe { std::slice::from_raw_parts(arguments, (count + named) as usize) });
        // SAFETY: `all` holds `this`, the positional arguments and those of `names`.
        unsafe {
            let result = ffi::PyObject_Vectorcall(general.as_ptr(), all.as_ptr(), count as usize + 1, names);
            Bound::from_owned_ptr_or_err(py, result)
        }
    }
}

/// Puts a method in front of pyo3's own of the same name. Done once, when the module is made.
pub(crate) fn install<M: FastMethod>(py: Python<'_>) -> PyResult<()>
where
    M::Class: PyTypeInfo,
{
    M::method().install(&py.get_type::<M::Class>())
}

/// What `object[key]` and `object[key] = value` do: as pyo3's `__getitem__` and `__setitem__`, in their place.
pub(crate) trait FastMapping: PyClass<Frozen = True> + PyTypeInfo + Sync {
    fn subscript<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>;

    fn assign(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()>;

    fn remove(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()>;
}

/// Puts the functions of a mapping in the place of pyo3's. Done once, when the module is made.
pub(crate) fn install_mapping<T: FastMapping>(py: Python<'_>) {
    let class = py.get_type::<T>();
    // SAFETY: classes of pyo3 are heap types, and final ones: no other class has copied these slots.
    let mapping = unsafe { &mut (*class.as_type_ptr().cast::<ffi::PyHeapTypeObject>()).as_mapping };
    mapping.mp_subscript = Some(subscript::<T>);
    mapping.mp_ass_subscript = Some(assign::<T>);
}

/// # Safety
/// The interpreter's: `this` is of the class `T`, and `key` an object.
unsafe extern "C" fn subscript<T: FastMapping>(
    this: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls slots with the interpreter attached.
    let py = unsafe { Python::assume_attached() };
    let done = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by this function's contract.
        let (this, key) = unsafe { (Borrowed::from_ptr(py, this).cast_unchecked::<T>(), Borrowed::from_ptr(py, key)) };
        this.get().subscript(py, &key)
    }));
    to_pointer(py, done)
}

/// # Safety
/// The interpreter's: `this` is of the class `T`, `key` an object, and `value` an object or null, which asks for removal.
unsafe extern "C" fn assign<T: FastMapping>(
    this: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: Python calls slots with the interpreter attached.
    let py = unsafe { Python::assume_attached() };
    let done = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by this function's contract.
        let (this, key) = unsafe { (Borrowed::from_ptr(py, this).cast_unchecked::<T>(), Borrowed::from_ptr(py, key)) };
        if value.is_null() {
            return Python::attach(|py| this.get().remove(py, &key));
        }
        // SAFETY: by this function's contract.
        let value = unsafe { Borrowed::from_ptr(py, value) };
        this.get().assign(py, &key, &value)
    }));
    match done.unwrap_or_else(|_| Err(internal(py))) {
        Ok(()) => 0,
        Err(error) => {
            error.restore(py);
            -1
        }
    }
}

#[inline]
fn to_pointer(py: Python<'_>, done: std::thread::Result<PyResult<Bound<'_, PyAny>>>) -> *mut ffi::PyObject {
    match done.unwrap_or_else(|_| Err(internal(py))) {
        Ok(result) => result.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

/// One call.
///
/// # Safety
/// The interpreter's: `this` is of the class in which the method was installed; there are `count` arguments, and one more for
/// each of the `names`, which may be null.
unsafe extern "C" fn call<M: FastMethod>(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls functions with the interpreter attached.
    let py = unsafe { Python::assume_attached() };
    let done = catch_unwind(AssertUnwindSafe(|| {
        if names.is_null() {
            // SAFETY: by this function's contract; borrowed references are pointers that are not null.
            let (this, arguments) = unsafe {
                let this = Borrowed::from_ptr(py, this).cast_unchecked::<M::Class>();
                (this, std::slice::from_raw_parts(arguments.cast::<Borrowed<'_, '_, PyAny>>(), count as usize))
            };
            if let Some(result) = M::call(&this, arguments) {
                return result;
            }
        }
        // SAFETY: by this function's contract.
        unsafe { M::method().call_general(py, this, arguments, count, names) }
    }));
    to_pointer(py, done)
}
