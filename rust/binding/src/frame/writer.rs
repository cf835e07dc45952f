//! Python objects as `MessagePack`, straight into the frame's buffer.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::types::string::PyStringData;
use pyo3::types::{PyBool, PyBytes, PyDateTime, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use sparecall_core::frame::{Draft, LZ4_BUDGET, Limits, Refusal, Write, ext, utf8_len};

use super::fault::{Result, Step, raised, refuse};
use super::raw;
use crate::text::Text;

/// What a thread keeps of its memory between frames.
const KEPT: usize = 1 << 20;

thread_local! {
    static DRAFT: Cell<Option<Box<Draft>>> = const { Cell::new(None) };
}

/// An object as `MessagePack`, to be sealed.
pub(super) fn write(object: &Bound<'_, PyAny>, limits: Limits) -> Result<Box<Draft>> {
    let py = object.py();
    // Code of the object itself may pack, too: it finds the place empty and takes a draft of its own.
    let mut draft = DRAFT.take().unwrap_or_default();
    let mut writer = Writer { py, draft: &mut draft, limits, values: limits.values() };
    writer.draft.begin();
    match writer.value(object, 0).and_then(|()| Ok(limits.check_bytes(draft.raw_len())?)) {
        Ok(()) => Ok(draft),
        Err(fault) => {
            keep(draft);
            Err(fault)
        }
    }
}

/// Whether sealing takes long enough to be worth another thread.
pub(super) fn is_long(draft: &Draft) -> bool {
    draft.raw_len() > LZ4_BUDGET
}

/// The frame of what was written.
pub(super) fn seal(py: Python<'_>, mut draft: Box<Draft>) -> Bound<'_, PyBytes> {
    let made = &mut *draft;
    let frame = PyBytes::new(py, if is_long(made) { py.detach(|| made.finish()) } else { made.finish() });
    keep(draft);
    frame
}

fn keep(mut draft: Box<Draft>) {
    draft.trim(KEPT);
    DRAFT.set(Some(draft));
}

pub(super) struct Writer<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) draft: &'a mut Draft,
    limits: Limits,
    /// How many values containers may hold yet.
    pub(super) values: usize,
}

impl<'py> Writer<'_, 'py> {
    #[inline]
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.draft.buffer()
    }

    /// Refuses before memory is taken for so many bytes more.
    #[inline]
    pub(super) fn room(&self, bytes: usize) -> Result {
        Ok(self.limits.check_bytes(self.draft.raw_len() + bytes)?)
    }

    /// Takes so many of the values that are left, and says what a head says.
    #[inline]
    pub(super) fn promise(&mut self, length: usize, values: usize) -> Result<u32> {
        match self.values.checked_sub(values) {
            Some(left) => self.values = left,
            None => return Err(Refusal::TooMany { limit: self.limits.values() }.into()),
        }
        self.room(values)?;
        u32::try_from(length).map_err(|_| Refusal::TooMany { limit: self.limits.values() }.into())
    }

    /// Appends any object.
    #[inline]
    pub(super) fn value(&mut self, object: &Bound<'py, PyAny>, depth: usize) -> Result {
        if let Ok(text) = object.cast_exact::<PyString>() {
            self.text(text)
        } else if let Ok(number) = object.cast_exact::<PyInt>() {
            self.integer(number)
        } else if let Ok(dict) = object.cast_exact::<PyDict>() {
            self.dict(dict, depth)
        } else if let Ok(list) = object.cast_exact::<PyList>() {
            self.list(list, depth)
        } else if object.is_none() {
            self.out().nil();
            Ok(())
        } else if let Ok(number) = object.cast_exact::<PyFloat>() {
            let number = number.value();
            self.out().float(number);
            Ok(())
        } else if let Ok(truth) = object.cast_exact::<PyBool>() {
            let truth = truth.is_true();
            self.out().boolean(truth);
            Ok(())
        } else {
            self.rarer(object, depth)
        }
    }

    #[inline]
    pub(super) fn text(&mut self, text: &Bound<'py, PyString>) -> Result {
        if let Some(text) = raw::ascii_of(text) {
            self.room(text.len())?;
            self.out().text(text);
            return Ok(());
        }
        self.wide_text(text)
    }

    #[inline(never)]
    fn wide_text(&mut self, text: &Bound<'py, PyString>) -> Result {
        // The interpreter's own way to UTF-8 would leave it in the str as long as that lives.
        match Text::of(text, "text").map_err(|error| raised(self.py, "reading it", error))? {
            Text::Ascii(text) => self.points(text.as_bytes()),
            Text::Wide(PyStringData::Ucs1(points)) => self.points(points),
            Text::Wide(PyStringData::Ucs2(points)) => self.points(points),
            Text::Wide(PyStringData::Ucs4(points)) => self.points(points),
        }
    }

    fn points<T: Copy + Into<u32>>(&mut self, points: &[T]) -> Result {
        let length = utf8_len(points).ok_or_else(|| refuse("text with a lone surrogate, which UTF-8 does not have"))?;
        self.room(length)?;
        self.out().points(points, length);
        Ok(())
    }

    pub(super) fn binary(&mut self, bytes: &[u8]) -> Result {
        self.room(bytes.len())?;
        self.out().binary(bytes);
        Ok(())
    }

    #[inline]
    pub(super) fn integer(&mut self, number: &Bound<'py, PyInt>) -> Result {
        match raw::integer(number) {
            Ok(number) => {
                self.out().integer(number);
                Ok(())
            }
            Err(_) => self.long_integer(number),
        }
    }

    #[cold]
    fn long_integer(&mut self, number: &Bound<'py, PyInt>) -> Result {
        if let Ok(number) = number.extract::<u64>() {
            self.out().unsigned(number);
            return Ok(());
        }
        // `int`'s own methods, whatever a class derived from it says: nothing here runs other code.
        let class = self.py.get_type::<PyInt>();
        let bytes = class
            .call_method1("bit_length", (number,))
            .and_then(|bits| bits.extract::<usize>())
            // With a bit for the sign.
            .and_then(|bits| {
                let arguments = (number, bits / 8 + 1, "little");
                let signed = PyDict::new(self.py);
                signed.set_item("signed", true)?;
                class.call_method("to_bytes", arguments, Some(&signed))
            })
            .and_then(|bytes| Ok(bytes.cast_into::<PyBytes>()?))
            .map_err(|error| raised(self.py, "reading the int", error))?;
        let bytes = bytes.as_bytes();
        self.room(bytes.len())?;
        self.out().extension(ext::INTEGER, bytes.len() as u32);
        self.out().extend_from_slice(bytes);
        Ok(())
    }

    fn dict(&mut self, dict: &Bound<'py, PyDict>, depth: usize) -> Result {
        let depth = Limits::deeper(depth)?;
        let length = dict.len();
        let head = self.promise(length, length * 2)?;
        self.out().map(head);
        let (mut position, mut count) = (0, 0);
        while let Some((key, value)) = raw::next_pair(dict, &mut position) {
            // Code of an object in it may change the dict.
            if count == length {
                return Err(refuse("the dict changed while it was packed"));
            }
            self.pair(&key, &value, count, depth)?;
            count += 1;
        }
        if count == length { Ok(()) } else { Err(refuse("the dict changed while it was packed")) }
    }

    #[inline]
    pub(super) fn pair(
        &mut self,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        index: usize,
        depth: usize,
    ) -> Result {
        if let Ok(key) = key.cast_exact::<PyString>() { self.text(key) } else { self.key(key) }
            .map_err(|fault| fault.within(Step::Pair(index)))?;
        self.value(value, depth).map_err(|fault| fault.within(Step::of_key(key, index)))
    }

    fn key(&mut self, key: &Bound<'py, PyAny>) -> Result {
        let scalar = key.is_none()
            || key.is_instance_of::<PyString>()
            || key.is_instance_of::<PyInt>()
            || key.is_instance_of::<PyFloat>()
            || key.is_instance_of::<PyBytes>()
            || key.is_instance_of::<PyDateTime>();
        if scalar {
            return self.value(key, 0);
        }
        Err(refuse(format!("a key of type {}; keys are str, bytes, numbers, datetime or None", name_of(key))))
    }

    pub(super) fn list(&mut self, list: &Bound<'py, PyList>, depth: usize) -> Result {
        let depth = Limits::deeper(depth)?;
        let length = list.len();
        let head = self.promise(length, length)?;
        self.out().array(head);
        for index in 0..length {
            // Code of an item may change the list.
            let Ok(item) = list.get_item(index) else { return Err(refuse("the list changed while it was packed")) };
            self.value(&item, depth).map_err(|fault| fault.within(Step::Item(index)))?;
        }
        if list.len() == length { Ok(()) } else { Err(refuse("the list changed while it was packed")) }
    }

    pub(super) fn tuple(&mut self, tuple: &Bound<'py, PyTuple>, depth: usize) -> Result {
        self.items(tuple.len(), depth, |index| tuple.get_item(index))
    }

    /// An array of so many items.
    pub(super) fn items(
        &mut self,
        length: usize,
        depth: usize,
        item: impl Fn(usize) -> PyResult<Bound<'py, PyAny>>,
    ) -> Result {
        let depth = Limits::deeper(depth)?;
        let head = self.promise(length, length)?;
        self.out().array(head);
        for index in 0..length {
            item(index)
                .map_err(|error| raised(self.py, "reading it", error))
                .and_then(|item| self.value(&item, depth))
                .map_err(|fault| fault.within(Step::Item(index)))?;
        }
        Ok(())
    }

    /// A map of named fields; `depth` is that of their values.
    pub(super) fn fields(&mut self, fields: &[(Bound<'py, PyString>, Bound<'py, PyAny>)], depth: usize) -> Result {
        let depth = Limits::deeper(depth)?;
        let head = self.promise(fields.len(), fields.len() * 2)?;
        self.out().map(head);
        for (index, (name, value)) in fields.iter().enumerate() {
            self.pair(name, value, index, depth)?;
        }
        Ok(())
    }
}

/// The name of an object's class, which is no content.
pub(super) fn name_of(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "unknown".to_owned(), |name| name.to_string())
}
