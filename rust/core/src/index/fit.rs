//! Work that follows growth and may be done beside the index: fitting a head anew, and encoding entries that have no codes.

use std::sync::Arc;

use super::chunk::Chunk;
use super::codes::Codes;
use super::projection::Projection;
use super::search::Snapshot;

/// Entries of a namespace from which a head pays; below, its bytes are read in one go.
pub(super) const FIT_FROM: usize = 1024;
/// Growth after which the head is fitted anew.
pub(super) const REFIT_GROWTH: usize = 8;
/// Entries a head is fitted to.
const SAMPLE: usize = 4096;
/// The widest head: its scores fit in 16 bits.
pub(super) const MAX_HEAD: usize = 256;
/// Vectors this short are read whole.
const MIN_DIM: usize = 64;

/// The width a head begins with: a quarter of the dimensions proves most entries of text embeddings irrelevant.
pub(super) fn first_head(dim: usize) -> usize {
    if dim < MIN_DIM { 0 } else { (dim / 4).next_multiple_of(16).clamp(32, 128) }
}

/// A head for the live entries of some chunks.
pub(super) fn fit(dim: usize, head: usize, chunks: &[Chunk], living: usize) -> Arc<Projection> {
    let every = living.div_ceil(SAMPLE).max(1);
    let mut sample = Vec::with_capacity(living.min(SAMPLE) * dim);
    let mut skipped = 0;
    for chunk in chunks {
        let chosen = chunk.living_slots().filter(|_| {
            skipped += 1;
            skipped % every == 0
        });
        sample.extend(chunk.rows.units(chosen, dim));
    }
    Arc::new(Projection::fit(dim, head, &sample))
}

/// One piece of such work, on a snapshot: `Index::job` gives it, `run` does it anywhere, `Index::install` takes the outcome.
pub struct Job {
    pub(super) space: usize,
    pub(super) serial: u64,
    pub(super) dim: usize,
    pub(super) snapshot: Snapshot,
    /// The head to encode with, or how wide a new one is to be.
    pub(super) projection: std::result::Result<Arc<Projection>, usize>,
}

/// What a job made.
pub struct Fitted {
    pub(super) space: usize,
    pub(super) serial: u64,
    pub(super) projection: Arc<Projection>,
    /// Entries the head was fitted to, where it is new.
    pub(super) sampled: Option<usize>,
    /// Position and number of each chunk, and its codes.
    pub(super) codes: Vec<(usize, u64, Arc<Codes>)>,
}

impl Job {
    /// Takes about a microsecond an entry, and some milliseconds for a new head.
    pub fn run(self) -> Fitted {
        let Self { space, serial, dim, snapshot, projection } = self;
        let sampled = projection.is_err().then_some(snapshot.living);
        let projection = projection.unwrap_or_else(|head| fit(dim, head, &snapshot.chunks, snapshot.living));
        let mut codes = Vec::new();
        for (at, chunk) in snapshot.chunks.iter().enumerate() {
            let current = chunk.codes.as_ref().is_some_and(|codes| Arc::ptr_eq(&codes.projection, &projection));
            if chunk.rows.len() >= 64 && !(current && chunk.rows.len() - chunk.encoded() < 64) {
                codes.push((at, chunk.serial, Arc::new(Codes::of(projection.clone(), &chunk.rows))));
            }
        }
        Fitted { space, serial, projection, sampled, codes }
    }
}
