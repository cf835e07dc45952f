//! The entries of a chunk as they came: vectors, ids, expiries, and what was derived from each vector alone.

use std::borrow::Cow;

use super::best::Hit;
use super::interval::interval;
use super::kernels;
use super::mapped::Column;
use super::vector::{self, Query};
use crate::error::Result;

/// A structure of arrays; entry `slot` has its place in each. Append-only.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) ids: Vec<i64>,
    /// `NEVER`, or the nanosecond from which it is not returned.
    pub(super) expires_at: Vec<u64>,
    /// The original vectors; none where they are not kept.
    pub(super) vectors: Column<f32>,
    /// Their lengths; of the vectors of whole numbers where the originals are not kept.
    pub(super) lengths: Vec<f64>,
    /// The vectors as offset bytes, padded.
    pub(super) bytes: Column<u8>,
    /// Of each row of bytes, its scale and its error.
    pub(super) precision: Vec<[f32; 2]>,
    /// How far each original was off, where they are not kept: the sine of an angle (`interval`).
    pub(super) errors: Vec<f32>,
    /// The largest of them.
    pub(super) furthest: f32,
}

impl Rows {
    /// Entries whose vectors stand one after another in `vectors`; `first` is the row number of the first, for messages.
    pub(super) fn new(dim: usize, ids: &[i64], vectors: Vec<f32>, expires_at: u64, first: usize) -> Result<Self> {
        let mut rows = Self {
            ids: ids.to_vec(),
            expires_at: vec![expires_at; ids.len()],
            lengths: Vec::with_capacity(ids.len()),
            bytes: Vec::with_capacity(ids.len() * vector::stride(dim)).into(),
            precision: Vec::with_capacity(ids.len()),
            errors: Vec::new(),
            furthest: 0.0,
            vectors: vectors.into(),
        };
        let mut unit = Vec::with_capacity(dim);
        for (row, vector) in rows.vectors.chunks_exact(dim).enumerate() {
            let length = vector::length(vector, dim, Some(first + row))?;
            unit.clear();
            vector::push_unit(vector, length, &mut unit);
            let (scale, error) = vector::push_bytes(&unit, rows.bytes.own());
            rows.lengths.push(length);
            rows.precision.push([scale, error]);
        }
        Ok(rows)
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Appends an entry whose length was computed by `vector::length`.
    pub(super) fn push(&mut self, id: i64, vector: &[f32], length: f64, expires_at: u64) {
        let mut unit = Vec::with_capacity(vector.len());
        vector::push_unit(vector, length, &mut unit);
        let (scale, error) = vector::push_bytes(&unit, self.bytes.own());
        self.ids.push(id);
        self.expires_at.push(expires_at);
        self.vectors.own().extend_from_slice(vector);
        self.lengths.push(length);
        self.precision.push([scale, error]);
    }

    /// Appends entry `slot` of `other`.
    pub(super) fn push_from(&mut self, other: &Self, slot: usize) {
        let (dim, stride) = (other.vectors.len() / other.len(), other.bytes.len() / other.len());
        self.ids.push(other.ids[slot]);
        self.expires_at.push(other.expires_at[slot]);
        self.vectors.own().extend_from_slice(&other.vectors[slot * dim..][..dim]);
        self.lengths.push(other.lengths[slot]);
        self.bytes.own().extend_from_slice(&other.bytes[slot * stride..][..stride]);
        self.precision.push(other.precision[slot]);
        if let Some(&error) = other.errors.get(slot) {
            self.errors.push(error);
            self.furthest = self.furthest.max(error);
        }
    }

    /// Gives back what was reserved for entries that will not come: a copy made for a search grows by doubling, from anywhere.
    pub(super) fn shrink(&mut self) {
        let Self { ids, expires_at, vectors, lengths, bytes, precision, errors, furthest: _ } = self;
        ids.shrink_to_fit();
        expires_at.shrink_to_fit();
        vectors.shrink_to_fit();
        lengths.shrink_to_fit();
        bytes.shrink_to_fit();
        precision.shrink_to_fit();
        errors.shrink_to_fit();
    }

    /// Keeps of the entries appended last no more than their bytes. From then on those are the vectors: they have no error,
    /// their originals have.
    pub(super) fn forget_originals(&mut self, dim: usize) {
        for slot in self.errors.len()..self.len() {
            let length = vector::whole_length(self.whole(slot, dim));
            let [_, error] = self.precision[slot];
            self.errors.push(error);
            self.furthest = self.furthest.max(error);
            self.lengths[slot] = length;
            self.precision[slot] = vector::exactly(length);
        }
        self.vectors = Column::default();
    }

    /// Derives what a file leaves out, and checks of entries that live what it holds; None where that is wrong.
    pub(super) fn restore(&mut self, dim: usize, is_live: impl Fn(usize) -> bool) -> Option<()> {
        let mut unit = Vec::with_capacity(dim);
        for slot in 0..self.len() {
            if let Some(&error) = self.errors.get(slot) {
                let length = vector::whole_length(self.whole(slot, dim));
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
            Cow::Owned(self.whole(slot, dim).collect())
        }
    }

    fn whole(&self, slot: usize, dim: usize) -> impl Iterator<Item = f32> {
        self.bytes[slot * vector::stride(dim)..][..dim].iter().map(|&byte| vector::whole(byte))
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
