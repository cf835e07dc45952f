//! From a file to an index, if nothing in it is wrong.

use std::ops::Range;
use std::sync::Arc;

use super::super::bound::{Range as Span, Sharp};
use super::super::chunk::{self, Chunk};
use super::super::codes::Codes;
use super::super::fit::MAX_HEAD;
use super::super::kernels::{BLOCK, LINE, PAIRS, QUAD, QUAD_CODES};
use super::super::mapped::{Column, FileBytes, Number};
use super::super::projection::Projection;
use super::super::rows::Rows;
use super::super::space::{Growth, Space};
use super::super::{Index, MAX_DIM, Place, vector};
use super::{ALIGN, CHUNK, Counts, END, FRAME, FRAMED, HEAD, MAGIC, NAMESPACE, PROJECTION, VERSION, checksum, head};
use crate::error::{Error, Result};

/// A head is said to be fitted to at most so many entries.
const MOST_FITTED: u64 = 1 << 40;

fn refuse<T>(what: &'static str) -> Result<T> {
    Err(Error::IndexFile { what })
}

impl Index {
    /// The index that was written as these bytes. Vectors and their bytes are read where they are until they change. Checks
    /// everything; O(bytes).
    pub fn open(bytes: &FileBytes) -> Result<Self> {
        let file = (**bytes).as_ref();
        let (dim, originals) = form(file)?;
        let index = Self::new(dim)?;
        let index = if originals { index } else { index.without_originals() };
        let mut opening = Opening { bytes, index, projections: Vec::new(), counts: Counts::default() };
        let mut all = blake3::Hasher::new();
        all.update(&file[..HEAD]);
        let mut at = HEAD;
        let mut namespace: Option<Namespace> = None;
        loop {
            let short = "it is cut short";
            let mut rest = Reader { file, at, end: file.len() };
            let Some(kind) = rest.number() else { return refuse(short) };
            if kind == END {
                opening.close(namespace.take())?;
                return opening.finish(&file[at..], all);
            }
            let length = rest.number().and_then(|length| usize::try_from(length).ok());
            let payload = length.and_then(|length| file[at..].get(FRAME..)?.get(..length));
            let Some(payload) = payload else { return refuse(short) };
            let sum = checksum(&file[at..at + FRAMED], payload);
            if sum.as_bytes()[..] != file[at + FRAMED..at + FRAME] || !payload.len().is_multiple_of(ALIGN) {
                return refuse("a checksum does not match: it is damaged");
            }
            all.update(sum.as_bytes());
            opening.counts.blocks += 1;
            let payload = Reader { file, at: at + FRAME, end: at + FRAME + payload.len() };
            at = payload.end;
            match (kind, &mut namespace) {
                (PROJECTION, _) => opening.projection(payload)?,
                (NAMESPACE, before) => {
                    opening.close(before.take())?;
                    namespace = Some(opening.namespace(payload)?);
                }
                (CHUNK, Some(namespace)) => opening.chunk(payload, namespace)?,
                _ => return refuse("it has a block of another kind"),
            }
        }
    }
}

/// Dimensions of the vectors and whether the originals are kept, from the head.
fn form(file: &[u8]) -> Result<(usize, bool)> {
    if !file.starts_with(&MAGIC) {
        return refuse("it is not a saved index");
    }
    let number = |at: usize| {
        file.get(at..at + 4).map(|bytes| bytes.iter().rev().fold(0, |all, &byte| all << 8 | u32::from(byte)))
    };
    let found = match (number(8), file.get(..HEAD)) {
        (Some(version), _) if version != VERSION => {
            return refuse("another version of sparecall wrote it, or its first bytes are damaged");
        }
        (_, None) => return refuse("it is cut short"),
        (_, Some(found)) => found,
    };
    let (dim, originals) = (number(12).unwrap_or(0) as usize, number(20) == Some(1));
    if (1..=MAX_DIM).contains(&dim) && *found == head(dim, originals) {
        Ok((dim, originals))
    } else {
        refuse("its first bytes are damaged")
    }
}

/// An index on its way out of a file.
struct Opening<'a> {
    bytes: &'a FileBytes,
    index: Index,
    projections: Vec<Arc<Projection>>,
    counts: Counts,
}

/// A namespace whose chunks are being read.
struct Namespace {
    name: Box<str>,
    growth: Growth,
    chunks: Vec<Chunk>,
}

impl Opening<'_> {
    fn projection(&mut self, mut payload: Reader<'_>) -> Result<()> {
        let dim = self.index.dim;
        let read = |payload: &mut Reader<'_>| {
            let head = payload.number().filter(|&head| is_width(head, dim) && head > 0)? as usize;
            let mut span = || Some(Span { low: payload.float()?, step: payload.float()? });
            let (near, rest) = (span()?, span()?);
            let (means, deviations) = (payload.array(head)?, payload.array(head)?);
            let weights = payload.array(dim * head)?;
            payload.is_done().then_some(())?;
            Projection::restore(dim, weights, means, deviations, [near, rest])
        };
        let Some(projection) = read(&mut payload) else { return refuse("a head in it is none") };
        self.projections.push(Arc::new(projection));
        self.counts.projections += 1;
        Ok(())
    }

    fn namespace(&mut self, mut payload: Reader<'_>) -> Result<Namespace> {
        let dim = self.index.dim;
        let read = |payload: &mut Reader<'_>| {
            let length = usize::try_from(payload.number()?).ok()?;
            let projection = self.by_number(payload.number()?).ok()?;
            let fitted_at = payload.number().filter(|&entries| entries <= MOST_FITTED)? as usize;
            ((fitted_at > 0) == projection.is_some()).then_some(())?;
            let head = payload.number().filter(|&head| is_width(head, dim))? as usize;
            let widen = payload.number().filter(|&flag| flag <= 1)? == 1;
            let name = String::from_utf8(payload.array(length)?).ok()?.into_boxed_str();
            let growth = Growth { tail: None, projection, fitted_at, head, widen };
            payload.is_done().then_some(Namespace { name, growth, chunks: Vec::new() })
        };
        let Some(namespace) = read(&mut payload) else { return refuse("a namespace in it is none") };
        Ok(namespace)
    }

    fn chunk(&mut self, mut payload: Reader<'_>, namespace: &mut Namespace) -> Result<()> {
        let Some((chunk, grows)) = self.read_chunk(&mut payload) else { return refuse("a chunk in it is none") };
        if grows && (namespace.growth.tail.is_some() || chunk.is_full()) {
            return refuse("more than one chunk in it grows, or a full one");
        }
        if grows {
            namespace.growth.tail = Some(namespace.chunks.len());
        }
        self.counts.chunks += 1;
        self.counts.entries += chunk.living as u64;
        namespace.chunks.push(chunk);
        Ok(())
    }

    fn read_chunk(&self, payload: &mut Reader<'_>) -> Option<(Chunk, bool)> {
        let dim = self.index.dim;
        let count = payload.number().filter(|count| (1..=chunk::CHUNK as u64).contains(count))? as usize;
        let projection = self.by_number(payload.number()?).ok()?;
        let blocks = payload.number().filter(|&blocks| blocks <= (count / BLOCK) as u64)? as usize;
        let grows = payload.number().filter(|&flag| flag <= 1)? == 1;
        let live: Vec<u64> = payload.array(chunk::CHUNK / 64)?;
        let is_live = |slot: usize| live[slot / 64] >> (slot % 64) & 1 == 1;
        if !(0..count).any(is_live) || (count..chunk::CHUNK).any(is_live) {
            return None;
        }
        let ids = payload.array(count)?.into();
        let expires_at = payload.array(count)?.into();
        let mut rows = Rows { ids, expires_at, ..Rows::default() };
        if self.index.originals {
            rows.precision = payload.array(count)?.into();
            rows.vectors = Column::in_file(self.bytes, payload.range(count * dim * f32::SIZE)?)?;
        } else {
            rows.errors = payload.array(count)?.into();
        }
        rows.bytes = Column::in_file(self.bytes, payload.range(count * vector::stride(dim))?)?;
        rows.restore(dim, is_live)?;
        let codes = match projection {
            Some(projection) => Some(Arc::new(codes(projection, blocks, payload)?)),
            None if blocks == 0 => None,
            None => return None,
        };
        let mut chunk = Chunk::new(0, rows, codes);
        for slot in (0..count).filter(|&slot| !is_live(slot)) {
            chunk.kill(slot);
        }
        payload.is_done().then_some((chunk, grows))
    }

    /// The head of this number; 0 is none.
    fn by_number(&self, number: u64) -> Result<Option<Arc<Projection>>> {
        match number.checked_sub(1).map(|at| usize::try_from(at).ok().and_then(|at| self.projections.get(at))) {
            None => Ok(None),
            Some(Some(projection)) => Ok(Some(projection.clone())),
            Some(None) => refuse("a head it refers to is not there"),
        }
    }

    /// Makes the namespace that was read part of the index.
    fn close(&mut self, namespace: Option<Namespace>) -> Result<()> {
        let Some(Namespace { name, growth, chunks }) = namespace else { return Ok(()) };
        let index = &mut self.index;
        let at = index.spaces.len();
        if chunks.is_empty() || index.names.insert(name.clone(), at).is_some() {
            return refuse("a namespace in it is empty, or twice there");
        }
        index.places.reserve(chunks.iter().map(|chunk| chunk.living).sum());
        for (position, chunk) in chunks.iter().enumerate() {
            for slot in chunk.living_slots() {
                let place = Place::new(at, (position, slot));
                if index.places.insert(chunk.rows.ids[slot], place).is_some() {
                    return refuse("an id is twice there");
                }
            }
        }
        let space = Space::restore(&mut index.serial, &name, (index.dim, index.originals), chunks, growth);
        index.spaces.push(Some(space));
        self.counts.namespaces += 1;
        Ok(())
    }

    /// Checks the tail.
    fn finish(self, tail: &[u8], mut all: blake3::Hasher) -> Result<Index> {
        let counted = self.counts.tail();
        let Some((found, sum)) = tail.split_at_checked(counted.len()) else { return refuse("it is cut short") };
        all.update(found);
        if sum != all.finalize().as_bytes() {
            return refuse("its last checksum does not match: it is cut short or damaged");
        }
        if found != counted {
            return refuse("there are more or fewer entries in it than it says");
        }
        Ok(self.index)
    }
}

/// Whether a head may have this width, or be none.
fn is_width(head: u64, dim: usize) -> bool {
    head <= MAX_HEAD.min(dim) as u64 && head.is_multiple_of(QUAD as u64)
}

fn codes(projection: Arc<Projection>, blocks: usize, payload: &mut Reader<'_>) -> Option<Codes> {
    let bytes = payload.array(blocks * (projection.head / QUAD) * QUAD_CODES / LINE)?.into();
    let pairs = payload.array(blocks * PAIRS)?.into();
    let sharp: Vec<Sharp> = payload.array(blocks * BLOCK)?;
    let always = payload.array(blocks)?.into();
    sharp.iter().flatten().all(|number| number.is_finite()).then_some(())?;
    Some(Codes { projection, bytes, pairs, sharp: sharp.into(), always })
}

/// What has not been read yet of a part of the file.
struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
}

impl Reader<'_> {
    /// The next bytes' place.
    fn take(&mut self, length: usize) -> Option<Range<usize>> {
        let range = self.at..self.at.checked_add(length)?;
        (range.end <= self.end).then_some(())?;
        self.at = range.end;
        Some(range)
    }

    fn number(&mut self) -> Option<u64> {
        let range = self.take(8)?;
        Some(u64::read(&self.file[range]))
    }

    fn float(&mut self) -> Option<f64> {
        self.number().map(f64::from_bits)
    }

    /// The place of the array that begins here.
    fn range(&mut self, length: usize) -> Option<Range<usize>> {
        self.at = self.at.checked_next_multiple_of(ALIGN)?;
        self.take(length)
    }

    fn array<T: Number>(&mut self, count: usize) -> Option<Vec<T>> {
        let range = self.range(count.checked_mul(T::SIZE)?)?;
        Some(self.file[range].chunks_exact(T::SIZE).map(T::read).collect())
    }

    /// Whether nothing is left but what fills up the last line.
    fn is_done(&self) -> bool {
        self.at.next_multiple_of(ALIGN) == self.end
    }
}
