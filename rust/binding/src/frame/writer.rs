//! Python objects as `MessagePack`, straight into the frame's buffer.

use std::cell::Cell;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::string::PyStringData;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDateAccess, PyDateTime, PyDelta, PyDeltaAccess, PyDict, PyFloat, PyFrozenSet,
    PyInt, PyList, PyMemoryView, PySet, PyString, PyTimeAccess, PyTuple, PyTzInfoAccess,
};
use sparecall_core::frame::{
    Array, Civil, Draft, Dtype, HEADER, LZ4_BUDGET, Limits, MAX_DIMENSIONS, Refusal, Write, ext, utf8_len,
};

use super::fault::{Fault, Result, Step, raised, refuse};
use super::known::Known;
use super::{raw, record};
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
    py: Python<'py>,
    draft: &'a mut Draft,
    limits: Limits,
    /// How many values containers may hold yet.
    values: usize,
}

impl<'py> Writer<'_, 'py> {
    #[inline]
    fn out(&mut self) -> &mut Vec<u8> {
        self.draft.buffer()
    }

    /// Refuses before memory is taken for so many bytes more.
    #[inline]
    fn room(&self, bytes: usize) -> Result {
        Ok(self.limits.check_bytes(self.draft.raw_len() + bytes)?)
    }

    /// Takes so many of the values that are left, and says what a head says.
    #[inline]
    fn promise(&mut self, length: usize, values: usize) -> Result<u32> {
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

    fn binary(&mut self, bytes: &[u8]) -> Result {
        self.room(bytes.len())?;
        self.out().binary(bytes);
        Ok(())
    }

    #[inline]
    fn integer(&mut self, number: &Bound<'py, PyInt>) -> Result {
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
    fn pair(&mut self, key: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>, index: usize, depth: usize) -> Result {
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

    fn list(&mut self, list: &Bound<'py, PyList>, depth: usize) -> Result {
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

    fn tuple(&mut self, tuple: &Bound<'py, PyTuple>, depth: usize) -> Result {
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

    /// Appends an object of a class that is not the most common.
    #[inline(never)]
    fn rarer(&mut self, object: &Bound<'py, PyAny>, depth: usize) -> Result {
        let py = self.py;
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return self.binary(bytes.as_bytes());
        }
        if let Ok(tuple) = object.cast::<PyTuple>() {
            return self.tuple(tuple, depth);
        }
        let known = Known::get(py).map_err(|error| raised(py, "importing a library", error))?;
        let class = object.get_type();
        if class.is(&known.array) || class.is(&known.memmap) {
            return self.array(object);
        }
        if let Ok(text) = object.cast::<PyString>() {
            return self.text(text);
        }
        if let Ok(number) = object.cast::<PyInt>() {
            return self.integer(number);
        }
        if let Ok(number) = object.cast::<PyFloat>() {
            let number = number.value();
            self.out().float(number);
            return Ok(());
        }
        if raw::is_kind(object, &known.structure) {
            return record::structure(self, object, known, depth);
        }
        if let Ok(moment) = object.cast::<PyDateTime>() {
            return self.datetime(moment);
        }
        if let Ok(dict) = object.cast::<PyDict>() {
            return self.derived_dict(dict, depth);
        }
        if let Ok(list) = object.cast::<PyList>() {
            return self.list(list, depth);
        }
        if record::is_dataclass(&class) {
            return record::dataclass(self, object, known, depth);
        }
        if object.is_instance_of::<PyByteArray>() || object.is_instance_of::<PyMemoryView>() {
            return self.buffer(object);
        }
        if object.is_instance_of::<PySet>() || object.is_instance_of::<PyFrozenSet>() {
            let items = object.try_iter().and_then(|items| items.take(self.values + 1).collect::<PyResult<Vec<_>>>());
            let items = items.map_err(|error| raised(py, "reading the set", error))?;
            return self.items(items.len(), depth, |index| Ok(items[index].clone()));
        }
        self.rarest(object, known, depth)
    }

    fn rarest(&mut self, object: &Bound<'py, PyAny>, known: &Known, depth: usize) -> Result {
        let py = self.py;
        let read = |name| object.getattr(name).map_err(|error| raised(py, "reading it", error));
        if raw::is_kind(object, &known.enumeration) {
            let value = read("value")?;
            return self.value(&value, Limits::deeper(depth)?);
        }
        if raw::is_kind(object, &known.uuid) || raw::is_kind(object, &known.decimal) {
            let text = object.str().map_err(|error| raised(py, "reading it", error))?;
            return self.text(&text);
        }
        if raw::is_kind(object, &known.number) || raw::is_kind(object, &known.boolean) {
            let value = object.call_method0("item").map_err(|error| raised(py, "reading it", error))?;
            // numpy's longest floats are their own items.
            if !raw::is_kind(&value, &known.number) {
                return self.value(&value, Limits::deeper(depth)?);
            }
        }
        let name = name_of(object);
        Err(refuse(format!("an object of type {name}, which no frame can hold; pack what it is made of, or its str")))
    }

    /// A dict of a class that may say itself what is in it, and in which order.
    fn derived_dict(&mut self, dict: &Bound<'py, PyDict>, depth: usize) -> Result {
        let depth = Limits::deeper(depth)?;
        let pairs = dict.as_any().call_method0("items").and_then(|pairs| {
            let pairs = pairs.try_iter()?.take(self.values / 2 + 1);
            pairs.map(|pair| Ok(pair?.cast_into::<PyTuple>()?)).collect::<PyResult<Vec<_>>>()
        });
        let pairs = pairs.map_err(|error| raised(self.py, "reading the items of the dict", error))?;
        let head = self.promise(pairs.len(), pairs.len() * 2)?;
        self.out().map(head);
        for (index, pair) in pairs.iter().enumerate() {
            let (Ok(key), Ok(value), 2) = (pair.get_item(0), pair.get_item(1), pair.len()) else {
                return Err(refuse("a dict whose items are no pairs"));
            };
            self.pair(&key, &value, index, depth)?;
        }
        Ok(())
    }

    fn datetime(&mut self, moment: &Bound<'py, PyDateTime>) -> Result {
        let naive = || refuse("a datetime without a time zone, which is no moment; give it a tzinfo, such as UTC");
        if moment.get_tzinfo().is_none() {
            return Err(naive());
        }
        let offset = moment.call_method0("utcoffset").map_err(|error| raised(self.py, "the time zone", error))?;
        if offset.is_none() {
            return Err(naive());
        }
        let offset = offset.cast::<PyDelta>().map_err(|_| refuse("a time zone whose offset is no timedelta"))?;
        let microseconds = i64::from(offset.get_microseconds());
        let seconds = i64::from(offset.get_days()) * 86_400 + i64::from(offset.get_seconds());
        let civil = Civil {
            year: moment.get_year(),
            month: moment.get_month(),
            day: moment.get_day(),
            hour: moment.get_hour(),
            minute: moment.get_minute(),
            second: moment.get_second(),
            nanosecond: moment.get_microsecond() * 1_000,
        };
        let mut timestamp = civil.timestamp(seconds);
        let nanoseconds = i64::from(timestamp.nanoseconds) - microseconds * 1_000;
        timestamp.seconds += nanoseconds.div_euclid(1_000_000_000);
        timestamp.nanoseconds = nanoseconds.rem_euclid(1_000_000_000) as u32;
        if !timestamp.is_in_range() {
            return Err(refuse("a datetime that is outside of the years 1 to 9999 in UTC"));
        }
        self.out().timestamp(timestamp);
        Ok(())
    }

    fn buffer(&mut self, object: &Bound<'py, PyAny>) -> Result {
        let error = |error| raised(self.py, "reading the buffer", error);
        let buffer = PyUntypedBuffer::get(object).map_err(error)?;
        self.room(buffer.len_bytes())?;
        if raw::with_bytes(&buffer, |bytes| self.draft.buffer().binary(bytes)).is_some() {
            return Ok(());
        }
        let bytes = object.call_method0("tobytes").and_then(|bytes| Ok(bytes.cast_into::<PyBytes>()?));
        self.binary(bytes.map_err(|error| raised(self.py, "reading the buffer", error))?.as_bytes())
    }

    /// An array of numpy, whose numbers are copied once: from its memory to the frame's.
    fn array(&mut self, array: &Bound<'py, PyAny>) -> Result {
        let py = self.py;
        let dtype = |array: &Bound<'py, PyAny>| -> Fault {
            let name = array.getattr("dtype").and_then(|dtype| dtype.str());
            let name = name.map_or_else(|_| "unknown".to_owned(), |name| name.to_string());
            refuse(format!(
                "an array of dtype {name}; frames hold bool, int, uint, float and complex of this machine's byte order"
            ))
        };
        let failed = |error| raised(py, "reading the array", error);
        // An array of no dimensions has a buffer without a shape, which pyo3 does not take.
        let flat = array.getattr("ndim").and_then(|ndim| ndim.eq(0)).map_err(failed)?;
        let given = if flat { array.call_method1("reshape", (1,)).map_err(failed)? } else { array.clone() };
        let Ok(mut buffer) = PyUntypedBuffer::get(&given) else { return Err(dtype(array)) };
        if !buffer.is_c_contiguous() {
            let contiguous = py.import("numpy").and_then(|numpy| numpy.call_method1("ascontiguousarray", (array,)));
            buffer = contiguous.and_then(|array| PyUntypedBuffer::get(&array)).map_err(failed)?;
        }
        let found = Dtype::of_format(buffer.format().to_bytes(), buffer.item_size());
        let Some(found) = found else { return Err(dtype(array)) };
        let size = buffer.len_bytes();
        self.room(size)?;
        if buffer.shape().len() > MAX_DIMENSIONS {
            return Err(refuse("an array of more than 64 dimensions"));
        }
        let shape = if flat { &[] } else { buffer.shape() };
        Array::head(self.out(), HEADER, found, shape, size);
        raw::with_bytes(&buffer, |bytes| self.draft.buffer().extend_from_slice(bytes))
            .ok_or_else(|| refuse("an array that is not contiguous"))?;
        self.draft.has_arrays();
        Ok(())
    }
}

/// The name of an object's class, which is no content.
pub(super) fn name_of(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "unknown".to_owned(), |name| name.to_string())
}
