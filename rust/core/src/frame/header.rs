//! The 16 bytes before a payload.

use super::{Limits, MAX_BYTES, Refusal};

/// What every frame begins with.
pub const MAGIC: [u8; 2] = [0xc1, b'S'];
/// How long a header is.
pub const HEADER: usize = 16;
pub(super) const VERSION: u8 = 1;
/// How far LZ4 can expand.
const RATIO: usize = 255;
const LZ4: u8 = 1;
const ARRAYS: u8 = 2;
/// Where the checksum is.
const CHECKSUM: usize = 12;

/// A header whose fields do not contradict each other or a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The payload is an LZ4 block.
    pub lz4: bool,
    /// The payload may hold arrays: whoever decompresses it into memory of its own can lend that memory to them.
    pub arrays: bool,
    /// Length of the `MessagePack`.
    pub raw: usize,
    /// Length of what follows the header.
    pub stored: usize,
    checksum: u32,
}

impl Header {
    /// The header of `payload`, for a writer.
    pub fn of(payload: &[u8], raw: usize, lz4: bool, arrays: bool) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION;
        bytes[3] = (u8::from(lz4) * LZ4) | (u8::from(arrays) * ARRAYS);
        bytes[4..8].copy_from_slice(&(raw as u32).to_le_bytes());
        bytes[8..12].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let checksum = checksum(&bytes, payload);
        bytes[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header. Nothing that it says is believed beyond the limits; only [`Header::check`] knows if it is true.
    pub fn parse(bytes: &[u8; HEADER], limits: Limits) -> Result<Self, Refusal> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[..2] != MAGIC {
            return Err(Refusal::Foreign);
        }
        if bytes[2] != VERSION {
            return Err(Refusal::Version { found: bytes[2] });
        }
        let flags = bytes[3];
        if flags & !(LZ4 | ARRAYS) != 0 {
            return Err(Refusal::Header { what: "it has flags that no writer sets" });
        }
        let (raw, stored) = (word(4) as usize, word(8) as usize);
        let header = Self { lz4: flags & LZ4 != 0, arrays: flags & ARRAYS != 0, raw, stored, checksum: word(CHECKSUM) };
        if raw == 0 || stored == 0 {
            return Err(Refusal::Header { what: "a length is 0" });
        }
        limits.check_bytes(raw.max(stored))?;
        if header.lz4 {
            if stored >= raw {
                return Err(Refusal::Header { what: "it says LZ4 and is not shorter for it" });
            }
            if raw > stored * RATIO {
                return Err(Refusal::Ratio { raw, stored });
            }
        } else if stored != raw {
            return Err(Refusal::Header { what: "its lengths differ, and it does not say LZ4" });
        }
        Ok(header)
    }

    /// How long the whole frame is.
    pub fn frame_len(&self) -> usize {
        HEADER + self.stored
    }

    /// Whether header and payload are as they were written.
    pub(super) fn check(&self, header: &[u8; HEADER], payload: &[u8]) -> Result<(), Refusal> {
        if checksum(header, payload) == self.checksum { Ok(()) } else { Err(Refusal::Checksum) }
    }
}

const _: () = assert!(MAX_BYTES <= u32::MAX as usize);

fn checksum(header: &[u8; HEADER], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..CHECKSUM]);
    hasher.update(payload);
    hasher.finalize()
}
