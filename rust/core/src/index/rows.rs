//! The entries of a chunk as they came: vectors, ids, expiries, and what was derived from each vector alone.

use std::borrow::Cow;

use super::best::Hit;
use super::interval::{interval, loosened};
use super::kernels;
use super::mapped::Column;
use super::vector::{self, Query};
use crate::error::Result;

/// A structure of arrays; entry `slot` has its place in each. Append-only, so that a clone shares all but what comes later.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) ids: Column<i64>,
    /// `NEVER`, or the nanosecond from which it is not returned.
    pub(super) expires_at: Column<u64>,
    /// The original vectors; none where they are not kept.
    pub(super) vectors: Column<f32>,
    /// Their lengths; of the vectors of whole numbers where the originals are not kept.
    pub(super) lengths: Column<f64>,
    /// The vectors as offset bytes, padded.
    pub(super) bytes: Column<u8>,
    /// Of each row of bytes, its scale and its error.
    pub(super) precision: Column<[f32; 2]>,
    /// How far each original was off, where they are not kept: the sine of an angle (`interval`).
    pub(super) errors: Column<f32>,
    /// The largest of them.
    pub(super) furthest: f32,
}

impl Rows {
    /// None, with room for so many.
    pub(super) fn with_capacity(dim: usize, originals: bool, rows: usize) -> Self {
        Self {
            ids: Column::with_capacity(rows),
            expires_at: Column::with_capacity(rows),
            vectors: Column::with_capacity(if originals { rows * dim } else { 0 }),
            lengths: Column::with_capacity(rows),
            bytes: Column::with_capacity(rows * vector::stride(dim)),
            precision: Column::with_capacity(rows),
            errors: Column::with_capacity(if originals { 0 } else { rows }),
            furthest: 0.0,
        }
    }

    /// Entries whose vectors stand one after another in `vectors`; `first` is the row number of the first, for messages.
    pub(super) fn new(
        (dim, originals): (usize, bool),
        ids: &[i64],
        vectors: Vec<f32>,
        expires_at: u64,
        first: usize,
    ) -> Result<Self> {
        let mut rows = Self { vectors: Column::default(), ..Self::with_capacity(dim, originals, ids.len()) };
        for (row, (&id, vector)) in ids.iter().zip(vectors.chunks_exact(dim)).enumerate() {
            let length = vector::length(vector, dim, Some(first + row))?;
            rows.derive(id, vector, length, expires_at, originals);
        }
        if originals {
            rows.vectors = vectors.into();
        }
        Ok(rows)
    }

    /// No entries, in the memory of these; None where that is shared, or a file's.
    pub(super) fn recycled(mut self) -> Option<Self> {
        let Self { ids, expires_at, vectors, lengths, bytes, precision, errors, furthest } = &mut self;
        *furthest = 0.0;
        // Either there are originals or they have errors.
        let vectors = vectors.is_empty() || vectors.clear();
        let errors = errors.is_empty() || errors.clear();
        let all = ids.clear() && expires_at.clear() && lengths.clear() && bytes.clear() && precision.clear();
        (vectors && errors && all).then_some(self)
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Appends an entry whose length was computed by `vector::length`.
    pub(super) fn push(&mut self, id: i64, vector: &[f32], length: f64, expires_at: u64, originals: bool) {
        self.derive(id, vector, length, expires_at, originals);
        if originals {
            self.vectors.extend_from_slice(vector);
        }
    }

    /// Appends all of an entry but its original. Where that is not kept its bytes are the vector: they have no error, the
    /// original has.
    fn derive(&mut self, id: i64, vector: &[f32], length: f64, expires_at: u64, originals: bool) {
        let mut unit = Vec::with_capacity(vector.len());
        vector::push_unit(vector, length, &mut unit);
        let (bytes, [scale, error]) = vector::bytes(&unit);
        self.ids.push(id);
        self.expires_at.push(expires_at);
        self.bytes.extend_from_slice(&bytes);
        if originals {
            self.lengths.push(length);
            self.precision.push([scale, error]);
        } else {
            let length = vector::whole_length(bytes[..vector.len()].iter().copied());
            self.lengths.push(length);
            self.precision.push(vector::exactly(length));
            self.errors.push(error);
            self.furthest = self.furthest.max(error);
        }
    }

    /// Appends entry `slot` of `other`.
    pub(super) fn push_from(&mut self, other: &Self, slot: usize) {
        let (dim, stride) = (other.vectors.len() / other.len(), other.bytes.len() / other.len());
        self.ids.push(other.ids[slot]);
        self.expires_at.push(other.expires_at[slot]);
        self.vectors.extend_from_slice(&other.vectors[slot * dim..][..dim]);
        self.lengths.push(other.lengths[slot]);
        self.bytes.extend_from_slice(&other.bytes[slot * stride..][..stride]);
        self.precision.push(other.precision[slot]);
        if let Some(&error) = other.errors.get(slot) {
            self.errors.push(error);
            self.furthest = self.furthest.max(error);
        }
    }

    /// Derives what a file leaves out, and checks of entries that live what it holds; None where that is wrong.
    pub(super) fn restore(&mut self, dim: usize, is_live: impl Fn(usize) -> bool) -> Option<()> {
        let mut unit = Vec::with_capacity(dim);
        for slot in 0..self.len() {
            if let Some(&error) = self.errors.get(slot) {
                let length = vector::whole_length(self.row(slot, dim).iter().copied());
                (!is_live(slot) || length > 0.0 && error.is_finite() && error >= 0.0).then_some(())?;
                self.lengths.push(length);
                self.precision.push(vector::exactly(length));
                self.furthest = self.furthest.max(error);
            } else if is_live(slot) {
                let vector = &self.vectors[slot * dim..][..dim];
                let length = vector::length(vector, dim, None).ok()?;
                unit.clear();
                vector::push_unit(vector, length, &mut unit);
                let stride = vector::stride(dim);
                vector::is_near(&unit, &self.bytes[slot * stride..][..stride], self.precision[slot]).then_some(())?;
                self.lengths.push(length);
            } else {
                self.lengths.push(1.0);
            }
        }
        Some(())
    }

    /// The original of an entry; the whole numbers stored for it where it was not kept.
    fn vector(&self, slot: usize, dim: usize) -> Cow<'_, [f32]> {
        if self.errors.is_empty() {
            Cow::Borrowed(&self.vectors[slot * dim..][..dim])
        } else {
            Cow::Owned(self.row(slot, dim).iter().map(|&byte| vector::whole(byte)).collect())
        }
    }

    /// The bytes of an entry, without padding.
    fn row(&self, slot: usize, dim: usize) -> &[u8] {
        &self.bytes[slot * vector::stride(dim)..][..dim]
    }

    /// What the similarity of a stored form reaches where that of its original reaches `min_similarity`.
    pub(super) fn floor(&self, min_similarity: f64) -> f64 {
        if self.furthest > 0.0 { loosened(min_similarity, self.furthest) } else { min_similarity }
    }

    /// The unit vectors of `slots`, one after another.
    pub(super) fn units(&self, slots: impl Iterator<Item = usize>, dim: usize) -> Vec<f32> {
        let mut units = Vec::with_capacity(slots.size_hint().0 * dim);
        for slot in slots {
            vector::push_unit(&self.vector(slot, dim), self.lengths[slot], &mut units);
        }
        units
    }

    /// The products of the bytes of `out.len()` entries from `start` with a query.
    pub(super) fn products(&self, query: &Query, start: usize, out: &mut [i32]) {
        let stride = query.bytes.len();
        (kernels::get().dots)(&self.bytes[start * stride..][..out.len() * stride], &query.bytes, out);
    }

    /// Asks for the bytes of an entry that is verified soon.
    pub(super) fn prefetch(&self, slot: usize) {
        let stride = self.bytes.len() / self.len();
        let prefetch = kernels::get().prefetch;
        prefetch(self.bytes[slot * stride..].as_ptr(), stride);
        prefetch(self.precision[slot..].as_ptr().cast(), 1);
    }

    /// At least the similarity of entry `slot`, whose product this is.
    #[inline]
    pub(super) fn at_most(&self, slot: usize, query: &Query, product: i32) -> f64 {
        let [scale, error] = self.precision[slot].map(f64::from);
        query.scale * scale * f64::from(product - query.offset) + query.error * (1.0 + error) + error
    }

    /// Entry `slot` with its similarity, as it is defined.
    pub(super) fn hit(&self, slot: usize, query: &Query) -> Hit {
        let product = (kernels::get().exact)(&self.vector(slot, query.raw.len()), &query.raw);
        let cosine = product / (self.lengths[slot] * query.length);
        let hit = Hit::certain(self.ids[slot], (cosine as f32).clamp(-1.0, 1.0));
        match self.errors.get(slot) {
            Some(&error) => Hit { interval: interval(cosine, error), ..hit },
            None => hit,
        }
    }
}
