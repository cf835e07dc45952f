//! Arrays of numbers as an extension: the numbers as memory has them, where a reader can use them without copying.
//!
//! Layout: length of the dtype's name (u8), the name as numpy writes it (`<f4`), number of dimensions (u8), each dimension
//! (u64), length of the padding (u8), padding in zeros, the numbers in C order. All integers little endian. The padding
//! puts the numbers on a multiple of [`ALIGNMENT`] from the beginning of the payload.

use super::{Refusal, Write, ext};

/// What the memory of `bytes` objects is aligned to, and so the most that a payload in one can promise.
pub const ALIGNMENT: usize = 16;
/// What numpy allows.
pub const MAX_DIMENSIONS: usize = 64;

/// The kinds of number that arrays hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtype {
    name: &'static str,
    /// The code in Python's buffer protocol, if it has one of one letter.
    format: &'static str,
    pub size: usize,
}

const DTYPES: [Dtype; 14] = [
    Dtype { name: "<f4", format: "f", size: 4 },
    Dtype { name: "<f8", format: "d", size: 8 },
    Dtype { name: "<f2", format: "e", size: 2 },
    Dtype { name: "|b1", format: "?", size: 1 },
    Dtype { name: "|i1", format: "b", size: 1 },
    Dtype { name: "|u1", format: "B", size: 1 },
    Dtype { name: "<i2", format: "h", size: 2 },
    Dtype { name: "<u2", format: "H", size: 2 },
    Dtype { name: "<i4", format: "i", size: 4 },
    Dtype { name: "<u4", format: "I", size: 4 },
    Dtype { name: "<i8", format: "lq", size: 8 },
    Dtype { name: "<u8", format: "LQ", size: 8 },
    Dtype { name: "<c8", format: "Zf", size: 8 },
    Dtype { name: "<c16", format: "Zd", size: 16 },
];

impl Dtype {
    /// As numpy writes it.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The dtype of a format of the buffer protocol and its size in this machine's C.
    pub fn of_format(format: &[u8], size: usize) -> Option<Self> {
        let has = |dtype: &&Self| match format {
            [b'Z', ..] => dtype.format.as_bytes() == format,
            [letter] => {
                dtype.format.len() < 3 && !dtype.format.starts_with('Z') && dtype.format.as_bytes().contains(letter)
            }
            _ => false,
        };
        if cfg!(target_endian = "big") {
            return None;
        }
        DTYPES.iter().find(|dtype| dtype.size == size && has(dtype)).copied()
    }

    /// Which of a list of all dtypes it is.
    pub fn index(self) -> usize {
        DTYPES.iter().position(|dtype| *dtype == self).unwrap_or(0)
    }

    pub fn all() -> impl Iterator<Item = Self> {
        DTYPES.into_iter()
    }
}

/// An array, as a payload holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array<'a> {
    pub dtype: Dtype,
    /// Dimensions, 8 bytes each.
    shape: &'a [u8],
    pub numbers: &'a [u8],
}

impl<'a> Array<'a> {
    /// Reads the bytes of the extension, which stand at byte `at` of the payload.
    pub fn parse(bytes: &'a [u8], at: usize) -> Result<Self, Refusal> {
        let refuse = |what| Refusal::Payload { what, at };
        let short = refuse("an array that is cut short");
        let (&length, rest) = bytes.split_first().ok_or(short)?;
        let (name, rest) = rest.split_at_checked(length.into()).ok_or(short)?;
        let dtype = DTYPES.iter().find(|dtype| dtype.name.as_bytes() == name);
        let dtype = *dtype.ok_or(refuse("an array of an unknown dtype"))?;
        let (&dimensions, rest) = rest.split_first().ok_or(short)?;
        if usize::from(dimensions) > MAX_DIMENSIONS {
            return Err(refuse("an array of more than 64 dimensions"));
        }
        let (shape, rest) = rest.split_at_checked(usize::from(dimensions) * 8).ok_or(short)?;
        let (&padding, rest) = rest.split_first().ok_or(short)?;
        let (_, numbers) = rest.split_at_checked(padding.into()).ok_or(short)?;
        let array = Self { dtype, shape, numbers };
        // A dimension of 0 makes any others harmless to memory, but numpy multiplies those, too.
        let positive = array.shape().filter(|dimension| *dimension > 0);
        let size = positive.clone().try_fold(dtype.size as u64, u64::checked_mul);
        let size = size.filter(|size| i64::try_from(*size).is_ok()).ok_or(refuse("an array of too many numbers"))?;
        let size = if positive.count() == usize::from(dimensions) { size } else { 0 };
        if size != numbers.len() as u64 {
            return Err(refuse("an array whose shape is not that of its numbers"));
        }
        Ok(array)
    }

    /// Whether the numbers stand in memory where a processor wants them.
    pub fn is_aligned(&self) -> bool {
        (self.numbers.as_ptr() as usize).is_multiple_of(self.dtype.size.min(8))
    }

    pub fn shape(&self) -> impl ExactSizeIterator<Item = u64> + Clone + use<'a> {
        self.shape.as_chunks::<8>().0.iter().map(|dimension| u64::from_le_bytes(*dimension))
    }

    /// Writes the head of an array and reserves room for its `size` bytes of numbers, which are to follow. `before`: how
    /// many bytes of `out` do not belong to the payload.
    pub fn head(out: &mut Vec<u8>, before: usize, dtype: Dtype, shape: &[usize], size: usize) {
        out.reserve(size + 64 + shape.len() * 8);
        let fixed = 1 + dtype.name.len() + 1 + shape.len() * 8 + 1;
        let own = |length: usize| match length {
            1 | 2 | 4 | 8 | 16 => 2,
            0..=0xff => 3,
            0x100..=0xffff => 4,
            _ => 6,
        };
        // The padding can lengthen the extension's own head; one of these fits in any case.
        let fits = |padding: &usize| {
            (out.len() - before + own(fixed + padding + size) + fixed + padding).is_multiple_of(ALIGNMENT)
        };
        let padding = (0..2 * ALIGNMENT).find(fits).unwrap_or(0);
        let length = fixed + padding + size;
        out.extension(ext::ARRAY, length as u32);
        out.push(dtype.name.len() as u8);
        out.extend_from_slice(dtype.name.as_bytes());
        out.push(shape.len() as u8);
        for dimension in shape {
            out.extend_from_slice(&(*dimension as u64).to_le_bytes());
        }
        out.push(padding as u8);
        out.resize(out.len() + padding, 0);
    }
}
