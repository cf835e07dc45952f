//! From an index to a file.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::chunk::Chunk;
use super::super::codes::Codes;
use super::super::mapped::Number;
use super::super::projection::Projection;
use super::super::space::{Growth, Space};
use super::super::{Index, vector};
use super::{ALIGN, CHUNK, Counts, FRAME, FRAMED, NAMESPACE, PROJECTION, checksum, head};

/// An index as it was at one moment: it shares its entries, and stalls nobody while it is written.
pub struct Frozen {
    dim: usize,
    originals: bool,
    spaces: Vec<(Box<str>, Arc<Vec<Chunk>>, Growth)>,
}

impl Index {
    /// The index as it is now, to be written. O(namespaces).
    pub fn freeze(&self) -> Frozen {
        let spaces = self.spaces.iter().flatten();
        let of = |space: &Space| (space.name.clone(), space.snapshot().chunks, space.growth());
        Frozen { dim: self.dim, originals: self.originals, spaces: spaces.map(of).collect() }
    }
}

impl Frozen {
    /// Hands `write` the file, a piece of at most some megabytes after another, until it fails.
    pub fn write<E>(&self, write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut writer = Writer { write, all: blake3::Hasher::new(), counts: Counts::default(), buffer: Vec::new() };
        let mut projections = Projections::default();
        let head = head(self.dim, self.originals);
        writer.all.update(&head);
        (writer.write)(&head)?;
        for (name, chunks, growth) in &self.spaces {
            for projection in chunks.iter().filter_map(|chunk| Some(&chunk.codes.as_ref()?.projection)) {
                projections.write(projection, &mut writer)?;
            }
            if let Some(projection) = &growth.projection {
                projections.write(projection, &mut writer)?;
            }
            writer.namespace(name, growth, projections.number(growth.projection.as_ref()))?;
            for (at, chunk) in chunks.iter().enumerate().filter(|(_, chunk)| chunk.living > 0) {
                let number = projections.number(chunk.codes.as_ref().map(|codes| &codes.projection));
                writer.chunk((self.dim, self.originals), chunk, growth.tail == Some(at), number)?;
            }
        }
        writer.finish()
    }
}

/// Numbers from 1 up of the heads that were written.
#[derive(Default)]
struct Projections(HashMap<*const Projection, u64>);

impl Projections {
    fn write<E, W: FnMut(&[u8]) -> Result<(), E>>(
        &mut self,
        projection: &Arc<Projection>,
        writer: &mut Writer<W>,
    ) -> Result<(), E> {
        let number = self.0.len() as u64 + 1;
        if self.0.contains_key(&Arc::as_ptr(projection)) {
            return Ok(());
        }
        self.0.insert(Arc::as_ptr(projection), number);
        writer.projection(projection)
    }

    /// 0 where there is none.
    fn number(&self, projection: Option<&Arc<Projection>>) -> u64 {
        projection.and_then(|projection| self.0.get(&Arc::as_ptr(projection))).copied().unwrap_or(0)
    }
}

struct Writer<W> {
    write: W,
    /// Of everything that the tail's checksum covers.
    all: blake3::Hasher,
    counts: Counts,
    /// The payload of the block that is being made.
    buffer: Vec<u8>,
}

impl<E, W: FnMut(&[u8]) -> Result<(), E>> Writer<W> {
    fn projection(&mut self, projection: &Projection) -> Result<(), E> {
        let Projection { head, weights, means, deviations, near, rest, .. } = projection;
        self.counts.projections += 1;
        self.numbers(&[*head as u64]);
        self.numbers(&[near.low, near.step, rest.low, rest.step].map(f64::to_bits));
        self.array(means);
        self.array(deviations);
        self.array(weights);
        self.block(PROJECTION)
    }

    fn namespace(&mut self, name: &str, growth: &Growth, projection: u64) -> Result<(), E> {
        self.counts.namespaces += 1;
        let Growth { fitted_at, head, widen, .. } = *growth;
        self.numbers(&[name.len() as u64, projection, fitted_at as u64, head as u64, u64::from(widen)]);
        self.array(name.as_bytes());
        self.block(NAMESPACE)
    }

    fn chunk(&mut self, (dim, originals): (usize, bool), chunk: &Chunk, grows: bool, projection: u64) -> Result<(), E> {
        self.counts.chunks += 1;
        self.counts.entries += chunk.living as u64;
        let rows = &*chunk.rows;
        let blocks = chunk.codes.as_ref().map_or(0, |codes| codes.blocks());
        self.numbers(&[rows.len() as u64, projection, blocks as u64, u64::from(grows)]);
        self.array(&chunk.live);
        self.array(&rows.ids);
        self.array(&rows.expires_at);
        if originals {
            self.array(&rows.precision);
            let vectors = self.array(&rows.vectors);
            self.forget(chunk, vectors, dim * f32::SIZE);
        } else {
            self.array(&rows.errors);
        }
        let bytes = self.array(&rows.bytes);
        self.forget(chunk, bytes, vector::stride(dim));
        if let Some(Codes { bytes, pairs, sharp, always, .. }) = chunk.codes.as_deref() {
            self.array(bytes);
            self.array(pairs);
            self.array(sharp);
            self.array(always);
        }
        self.block(CHUNK)
    }

    /// Overwrites what is at `start` of removed entries, `width` bytes each.
    fn forget(&mut self, chunk: &Chunk, start: usize, width: usize) {
        for slot in (0..chunk.rows.len()).filter(|&slot| !chunk.is_live(slot)) {
            self.buffer[start + slot * width..][..width].fill(0);
        }
    }

    fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.buffer.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Appends an array where one may begin, and returns where that was.
    fn array<T: Number>(&mut self, numbers: &[T]) -> usize {
        let start = self.buffer.len().next_multiple_of(ALIGN);
        self.buffer.resize(start + numbers.len() * T::SIZE, 0);
        for (to, &number) in self.buffer[start..].chunks_exact_mut(T::SIZE).zip(numbers) {
            number.write(to);
        }
        start
    }

    /// Writes what was appended as one block.
    fn block(&mut self, kind: u64) -> Result<(), E> {
        self.counts.blocks += 1;
        self.buffer.resize(self.buffer.len().next_multiple_of(ALIGN), 0);
        let mut frame = [0; FRAME];
        frame[..8].copy_from_slice(&kind.to_le_bytes());
        frame[8..16].copy_from_slice(&(self.buffer.len() as u64).to_le_bytes());
        let sum = checksum(&frame[..FRAMED], &self.buffer);
        frame[FRAMED..].copy_from_slice(sum.as_bytes());
        self.all.update(sum.as_bytes());
        (self.write)(&frame)?;
        (self.write)(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), E> {
        let tail = self.counts.tail();
        self.all.update(&tail);
        (self.write)(&[&tail[..], self.all.finalize().as_bytes()].concat())
    }
}
