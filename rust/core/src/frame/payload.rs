//! From `MessagePack` to a frame and back: whether LZ4 pays, the header, the checks.

use lz4_flex::block;

use super::lz4::{self, Table};
use super::{HEADER, Header, Limits, Refusal};

/// Below so many bytes LZ4 saves too little to be worth a reader's time.
const MIN_LZ4: usize = 256;
/// Up to so many bytes the whole is the sample.
const SAMPLE_ABOVE: usize = 1 << 16;
/// Length of one sample, and how many there are.
const SAMPLE: usize = 4 << 10;
const SAMPLES: usize = 4;
/// Bytes of `MessagePack` that are compressed in 500 microseconds, at 2 ns a byte.
pub const LZ4_BUDGET: usize = 250_000;

/// A frame in the making. Keeps its memory for the next.
#[derive(Debug, Default)]
pub struct Draft {
    /// Room for a header, then `MessagePack`.
    buffer: Vec<u8>,
    /// The same with LZ4. As long as it ever had to be: what was zeroed once is not zeroed for every frame.
    packed: Vec<u8>,
    arrays: bool,
    table: Table,
}

impl Draft {
    /// An empty place to write `MessagePack` to, behind room for the header: lengths count that.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        self.arrays = false;
        self.buffer.clear();
        self.buffer.resize(HEADER, 0);
        &mut self.buffer
    }

    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The `MessagePack` has arrays in it.
    pub fn has_arrays(&mut self) {
        self.arrays = true;
    }

    /// How long the `MessagePack` is.
    pub fn raw_len(&self) -> usize {
        self.buffer.len() - HEADER
    }

    /// The frame of what was written.
    pub fn finish(&mut self) -> &[u8] {
        let raw = self.raw_len();
        if let Some(length) = self.compress() {
            let (head, payload) = self.packed[..HEADER + length].split_at_mut(HEADER);
            head.copy_from_slice(&Header::of(payload, raw, true, self.arrays));
            return &self.packed[..HEADER + length];
        }
        let (head, payload) = self.buffer.split_at_mut(HEADER);
        head.copy_from_slice(&Header::of(payload, raw, false, self.arrays));
        &self.buffer
    }

    /// Lets go of memory beyond `bytes`.
    pub fn trim(&mut self, bytes: usize) {
        for buffer in [&mut self.buffer, &mut self.packed] {
            buffer.truncate(bytes);
            buffer.shrink_to(bytes);
        }
    }

    /// Puts the LZ4 block of the `MessagePack` behind room for a header, if that saves an eighth; how long it is.
    fn compress(&mut self) -> Option<usize> {
        let raw = &self.buffer[HEADER..];
        if raw.len() < MIN_LZ4 || !shrinks(raw, &mut self.packed, &mut self.table) {
            return None;
        }
        grow(&mut self.packed, HEADER + lz4::room(raw.len()));
        let length = lz4::compress(raw, &mut self.packed[HEADER..], &mut self.table);
        (length <= raw.len() - raw.len() / 8).then_some(length)
    }
}

/// Whether any of a few pieces of a long text gets shorter.
fn shrinks(raw: &[u8], room: &mut Vec<u8>, table: &mut Table) -> bool {
    if raw.len() <= SAMPLE_ABOVE {
        return true;
    }
    grow(room, lz4::room(SAMPLE));
    (0..SAMPLES).any(|piece| {
        let at = (raw.len() - SAMPLE) / (SAMPLES - 1) * piece;
        lz4::compress(&raw[at..at + SAMPLE], room, table) <= SAMPLE - SAMPLE / 8
    })
}

/// Makes room, in zeros that are written once and not for every frame.
fn grow(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
}

/// The header of a whole frame, checked with its payload, and the payload as it is stored.
pub fn split(frame: &[u8], limits: Limits) -> Result<(Header, &[u8]), Refusal> {
    let Some((head, payload)) = frame.split_first_chunk::<HEADER>() else {
        return Err(Refusal::Short { have: frame.len(), need: HEADER });
    };
    let header = Header::parse(head, limits)?;
    if payload.len() < header.stored {
        return Err(Refusal::Short { have: frame.len(), need: header.frame_len() });
    }
    if payload.len() > header.stored {
        return Err(Refusal::Trailing { extra: payload.len() - header.stored });
    }
    header.check(head, payload)?;
    Ok((header, payload))
}

/// Decompresses the payload of a header that says LZ4 into `raw`, which is as long as that header says.
pub fn open(payload: &[u8], raw: &mut [u8]) -> Result<(), Refusal> {
    match block::decompress_into(payload, raw) {
        Ok(length) if length == raw.len() => Ok(()),
        _ => Err(Refusal::Lz4),
    }
}
