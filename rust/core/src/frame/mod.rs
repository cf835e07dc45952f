//! frame: one object as bytes that say how long they are and whether they are whole. Knows no Python.
//!
//! A frame is a header of 16 bytes and a payload: `MessagePack` as it is, or as an LZ4 block where that is shorter.
//!
//! | bytes | |
//! |---|---|
//! | 0-1 | `C1 53`: a byte that `MessagePack` never uses, then `S` |
//! | 2 | version, 1 |
//! | 3 | flags: 1 the payload is an LZ4 block, 2 the payload may hold arrays |
//! | 4-7 | raw length: of the `MessagePack`, little endian |
//! | 8-11 | stored length: of what follows the header, little endian |
//! | 12-15 | CRC-32 (as `zlib.crc32`) of bytes 0-11 and of what follows the header, little endian |
//!
//! CRC-32 tells any one flipped bit, any two within 11 kB and any burst of up to 32 from what was written; it is no proof
//! against somebody who means harm, and what it guards is read as if it could be forged.

mod array;
mod header;
mod limits;
mod lz4;
mod payload;
mod reader;
mod refusal;
mod timestamp;
mod walk;
mod write;

pub use array::{ALIGNMENT, Array, Dtype, MAX_DIMENSIONS};
pub use header::{HEADER, Header, MAGIC};
pub use limits::{DEFAULT_BYTES, Limits, MAX_BYTES, MAX_DEPTH};
pub use payload::{Draft, LZ4_BUDGET, open, split};
pub use reader::FrameReader;
pub use refusal::Refusal;
pub use timestamp::{Civil, Timestamp};
pub use walk::{Token, Walk, validate};
pub use write::{Write, utf8_len};

/// `MessagePack` extension types that frames use. `-1` is `MessagePack`'s own timestamp.
pub mod ext {
    pub const TIMESTAMP: i8 = -1;
    /// See [`super::Array`].
    pub const ARRAY: i8 = 1;
    /// A whole number beyond 64 bits: two's complement, little endian, at least [`INTEGER_BYTES`] long.
    pub const INTEGER: i8 = 2;
    /// Whatever is shorter has a form in `MessagePack` itself.
    pub const INTEGER_BYTES: usize = 9;
}
