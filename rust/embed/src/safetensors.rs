//! Reads the `safetensors` format: eight bytes of length, a JSON header, then the tensors' bytes.
//!
//! A file is hostile until it is read. What is checked is what the format demands: the header fits, each tensor's bytes are as
//! many as its shape says, and the tensors fill what follows the header without gaps or overlaps.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sparecall_core::error::{Error, Result};

/// The longest header in bytes. One tensor takes about a hundred.
const MAX_HEADER: usize = 8 << 20;
const LENGTH: usize = 8;

/// The tensors of a file, by name.
#[derive(Debug)]
pub struct SafeTensors<'a> {
    tensors: HashMap<String, Tensor<'a>>,
}

#[derive(Debug)]
struct Tensor<'a> {
    dtype: String,
    shape: Vec<usize>,
    bytes: &'a [u8],
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The header: each name once, in the order of the file.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a header of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
            } else {
                let mut entry: Entry = map.next_value()?;
                entry.shape.shrink_to_fit();
                entries.push((name, entry));
            }
        }
        if entries.is_empty() {
            return Err(A::Error::custom("no tensors"));
        }
        Ok(Header(entries))
    }
}

impl<'a> SafeTensors<'a> {
    /// Reads the header of a file and checks it against the file's length. Takes memory for the header alone.
    pub fn read(file: &'a [u8]) -> Result<Self> {
        let (length, rest) = file.split_first_chunk::<LENGTH>().ok_or_else(|| refuse("it is cut short"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_HEADER {
            return Err(refuse(format!("its header has {length} bytes; at most {MAX_HEADER} are read")));
        }
        let (header, data) = rest.split_at_checked(length).ok_or_else(|| refuse("it is cut short in its header"))?;
        let Header(mut entries) =
            serde_json::from_slice(header).map_err(|_| refuse("its header is not the JSON of a list of tensors"))?;
        entries.sort_by_key(|(_, entry)| entry.data_offsets);
        let mut tensors = HashMap::with_capacity(entries.len());
        let mut at = 0;
        for (name, Entry { dtype, shape, data_offsets: [start, end] }) in entries {
            if start != at || end < start || end > data.len() {
                return Err(refuse("its tensors overlap, leave gaps or go beyond its end"));
            }
            let tensor = Tensor { dtype, shape, bytes: &data[start..end] };
            if let Some(size) = size_of(&tensor.dtype)
                && tensor.shape.iter().try_fold(size, |size, side| size.checked_mul(*side)) != Some(end - start)
            {
                return Err(refuse("a tensor has not as many bytes as its shape says"));
            }
            if tensors.insert(name, tensor).is_some() {
                return Err(refuse("two of its tensors have one name"));
            }
            at = end;
        }
        if at != data.len() {
            return Err(refuse("it goes on after its last tensor"));
        }
        Ok(Self { tensors })
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The numbers of the tensor of that name, which has this shape and is of F32, F16 or BF16. All are finite.
    pub fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.tensors.get(name).ok_or_else(|| refuse(format!("it has no tensor {name}")))?;
        if tensor.shape != shape {
            let given = &tensor.shape[..tensor.shape.len().min(4)];
            return Err(refuse(format!("{name} has the shape {given:?}, but {shape:?} follows from config.json")));
        }
        let halves = |read: fn(u16) -> f32| {
            tensor.bytes.as_chunks().0.iter().map(|bytes| read(u16::from_le_bytes(*bytes))).collect::<Vec<f32>>()
        };
        let numbers: Vec<f32> = match tensor.dtype.as_str() {
            "F32" => tensor.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            "F16" => halves(from_half),
            "BF16" => halves(|bits| f32::from_bits(u32::from(bits) << 16)),
            other => {
                let other: String = other.chars().take(8).collect();
                return Err(refuse(format!("{name} is of {other}; F32, F16 and BF16 are supported")));
            }
        };
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(refuse(format!("{name} has numbers that are not finite")));
        }
        Ok(numbers)
    }
}

/// Bytes of a number, where the type has whole ones that we know.
fn size_of(dtype: &str) -> Option<usize> {
    match dtype {
        "BOOL" | "U8" | "I8" => Some(1),
        "F16" | "BF16" | "I16" | "U16" => Some(2),
        "F32" | "I32" | "U32" => Some(4),
        "F64" | "I64" | "U64" => Some(8),
        _ => None,
    }
}

/// A number of IEEE 754's binary16.
fn from_half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15) << 31, u32::from(bits >> 10 & 31), u32::from(bits & 1023));
    match exponent {
        // Subnormal: a multiple of 2^-24.
        0 => f32::from_bits(sign | (f32::from(fraction as u16) * 2.0_f32.powi(-24)).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

pub(crate) fn refuse(what: impl Into<String>) -> Error {
    Error::ModelFile { what: format!("model.safetensors: {}", what.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_as_ieee_754_says() {
        for (bits, number) in [
            (0x0000, 0.0),
            (0x0001, 2.0_f32.powi(-24)),
            (0x03ff, 1023.0 * 2.0_f32.powi(-24)),
            (0x0400, 2.0_f32.powi(-14)),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(from_half(bits).to_bits(), number.to_bits(), "{bits:04x}");
        }
        assert_eq!(from_half(0x8000).to_bits(), (-0.0_f32).to_bits());
        assert!(from_half(0x7e00).is_nan());
    }
}
