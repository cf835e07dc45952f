//! Why bytes are not taken for a frame. Says the place and the limit, never the content.

use std::fmt;

/// What is wrong with a frame. Small and `Copy`: refusing costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Fewer bytes than a header, or than the header says.
    Short {
        have: usize,
        need: usize,
    },
    /// Bytes behind the end of the frame.
    Trailing {
        extra: usize,
    },
    /// Bytes that do not begin like a frame.
    Foreign,
    Version {
        found: u8,
    },
    /// Flags that no writer sets, or lengths that contradict each other.
    Header {
        what: &'static str,
    },
    TooLong {
        bytes: usize,
        limit: usize,
    },
    /// A raw length that no LZ4 block of the stored length can have.
    Ratio {
        raw: usize,
        stored: usize,
    },
    Checksum,
    Lz4,
    /// The payload is no `MessagePack` that a frame may hold.
    Payload {
        what: &'static str,
        at: usize,
    },
    TooDeep {
        limit: usize,
    },
    TooMany {
        limit: usize,
    },
    /// A reader that has met a bad frame before.
    Refused,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { have, need } => {
                write!(out, "the frame is cut short: {have} bytes are there of at least {need}")
            }
            Self::Trailing { extra } => {
                write!(out, "{extra} bytes follow the frame; read several frames with a FrameReader")
            }
            Self::Foreign => write!(out, "the bytes are not a frame: they do not begin with its magic"),
            Self::Version { found } => {
                write!(out, "the frame is of version {found}, and this reads version {}", super::header::VERSION)
            }
            Self::Header { what } => write!(out, "the frame's header is damaged: {what}"),
            Self::TooLong { bytes, limit } => {
                write!(out, "the frame holds {bytes} bytes, above the limit of {limit}; raise max_bytes to allow it")
            }
            Self::Ratio { raw, stored } => {
                write!(out, "the frame claims {raw} bytes from {stored}, above the limit of 255 to 1")
            }
            Self::Checksum => write!(out, "the frame is damaged: its checksum does not match"),
            Self::Lz4 => write!(out, "the frame's LZ4 block is damaged or not of the length that its header says"),
            Self::Payload { what, at } => write!(out, "the frame's payload cannot be read: {what} at byte {at}"),
            Self::TooDeep { limit } => {
                write!(out, "nested deeper than {limit} levels, which is the limit; or it contains itself")
            }
            Self::TooMany { limit } => {
                write!(out, "more than {limit} values, the limit for this max_bytes; raise max_bytes to allow it")
            }
            Self::Refused => write!(out, "this reader met a bad frame before and reads no further; open a new stream"),
        }
    }
}

impl From<Refusal> for crate::error::Error {
    fn from(refusal: Refusal) -> Self {
        Self::Frame(refusal)
    }
}
