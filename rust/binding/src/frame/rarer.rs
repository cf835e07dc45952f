//! Python objects of the classes that are met less often, as `MessagePack`.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::{
    PyByteArray, PyBytes, PyDateAccess, PyDateTime, PyDelta, PyDeltaAccess, PyDict, PyFloat, PyFrozenSet, PyInt,
    PyList, PyMemoryView, PySet, PyString, PyTimeAccess, PyTuple, PyTzInfoAccess,
};
use sparecall_core::frame::{Array, Civil, Dtype, HEADER, Limits, MAX_DIMENSIONS, Write};

use super::fault::{Fault, Result, raised, refuse};
use super::known::Known;
use super::writer::{Writer, name_of};
use super::{raw, record};

impl<'py> Writer<'_, 'py> {
    /// Appends an object of a class that is not the most common.
    #[inline(never)]
    pub(super) fn rarer(&mut self, object: &Bound<'py, PyAny>, depth: usize) -> Result {
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
