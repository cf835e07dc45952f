//! How much a frame may hold. Checked before anything is allocated.

use super::Refusal;

/// What a frame's `MessagePack` may have by default: 64 MiB.
pub const DEFAULT_BYTES: usize = 64 << 20;
/// The most that any limit can allow: what LZ4 takes as one block.
pub const MAX_BYTES: usize = 0x7e00_0000;
/// How deep containers may be nested.
pub const MAX_DEPTH: usize = 128;
/// Values that any limit allows.
const FEW: usize = 1 << 16;

/// The limits that follow from one number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: DEFAULT_BYTES }
    }
}

impl Limits {
    /// At most so many bytes of `MessagePack`, or [`MAX_BYTES`].
    pub fn new(bytes: usize) -> Self {
        Self { bytes: bytes.min(MAX_BYTES) }
    }

    #[inline]
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// How many values there may be in containers: one for every 8 bytes of the limit. Without it, a byte of payload (an
    /// empty list) becomes 64 bytes of memory or more.
    #[inline]
    pub fn values(self) -> usize {
        FEW + self.bytes / 8
    }

    #[inline]
    pub fn check_bytes(self, bytes: usize) -> Result<(), Refusal> {
        if bytes <= self.bytes { Ok(()) } else { Err(Refusal::TooLong { bytes, limit: self.bytes }) }
    }

    /// The depth of what is in a container that has `depth` others around it.
    #[inline]
    pub fn deeper(depth: usize) -> Result<usize, Refusal> {
        if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Refusal::TooDeep { limit: MAX_DEPTH }) }
    }
}
