//! Many entries made ready away from the index: checked, derived, encoded; `Index::append` takes them in.

use std::sync::Arc;

use super::chunk::{CHUNK, Chunk};
use super::codes::Codes;
use super::fit::{self, FIT_FROM};
use super::projection::Projection;
use super::rows::Rows;
use crate::error::Result;

/// How the namespace stands for which a batch is made ready.
#[derive(Clone)]
pub struct Outlook {
    pub(super) originals: bool,
    pub(super) projection: Option<Arc<Projection>>,
    /// The width of a new head, where the batch is to be fitted; 0 where not.
    pub(super) head: usize,
}

/// Entries of one namespace, ready.
pub struct Batch {
    pub(super) dim: usize,
    pub(super) chunks: Vec<Chunk>,
    /// A head fitted to the batch.
    pub(super) projection: Option<Arc<Projection>>,
    /// How many it was fitted to.
    pub(super) entries: usize,
}

impl Batch {
    /// `pieces` hold the vectors of 1024 entries each, the last of the rest. Refuses all where one vector is refused.
    pub fn new(dim: usize, ids: &[i64], pieces: Vec<Vec<f32>>, expires_at: u64, outlook: &Outlook) -> Result<Self> {
        let mut chunks = Vec::with_capacity(pieces.len());
        for (at, (ids, vectors)) in ids.chunks(CHUNK).zip(pieces).enumerate() {
            assert_eq!(vectors.len(), ids.len() * dim);
            let rows = Rows::new((dim, outlook.originals), ids, vectors, expires_at, at * CHUNK)?;
            chunks.push(Chunk::new(0, rows, None));
        }
        let mut batch = Self { dim, chunks, projection: None, entries: ids.len() };
        if outlook.head > 0 && ids.len() >= FIT_FROM {
            batch.projection = Some(fit::fit(dim, outlook.head, &batch.chunks, ids.len()));
        }
        if let Some(projection) = batch.projection.as_ref().or(outlook.projection.as_ref()) {
            for chunk in &mut batch.chunks {
                chunk.codes = Some(Arc::new(Codes::of(projection.clone(), &chunk.rows)));
            }
        }
        Ok(batch)
    }

    /// One batch for each piece, to be taken in one after another, so that nobody waits for all.
    pub fn into_pieces(self) -> impl Iterator<Item = Self> {
        let Self { dim, chunks, mut projection, entries } = self;
        chunks.into_iter().map(move |chunk| Self { dim, chunks: vec![chunk], projection: projection.take(), entries })
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}
