//! The head codes of a chunk's entries, in blocks of 64, laid out for the screen.

use std::sync::Arc;

use super::bound::{Sharp, Sums};
use super::chunk::CHUNK;
use super::kernels::{BLOCK, LINE, Line, PAIRS, QUAD, QUAD_CODES, Screened};
use super::projection::Projection;
use super::rows::Rows;

/// The codes of a chunk's first blocks; entries after those have none yet.
#[derive(Debug, Clone)]
pub(super) struct Codes {
    pub(super) projection: Arc<Projection>,
    /// Whole blocks, as `Screened` has them.
    pub(super) bytes: Vec<Line>,
    /// Of each entry the bytes for `near` and `rest`.
    pub(super) pairs: Vec<u8>,
    /// Of each entry what the sharper bound needs.
    pub(super) sharp: Vec<Sharp>,
    /// A mask for each block: entries whose distances no byte stands for, and which are always verified.
    pub(super) always: Vec<u64>,
}

impl Codes {
    pub(super) fn new(projection: Arc<Projection>) -> Self {
        Self { projection, bytes: Vec::new(), pairs: Vec::new(), sharp: Vec::new(), always: Vec::new() }
    }

    /// The codes of every whole block of `rows`.
    pub(super) fn of(projection: Arc<Projection>, rows: &Rows) -> Self {
        let mut codes = Self::new(projection);
        codes.catch_up(rows, usize::MAX);
        codes
    }

    pub(super) fn blocks(&self) -> usize {
        self.always.len()
    }

    /// Encodes whole blocks of `rows` that have no codes, at most so many.
    pub(super) fn catch_up(&mut self, rows: &Rows, at_most: usize) {
        for _ in 0..(rows.len() / BLOCK - self.blocks()).min(at_most) {
            self.push_block(rows);
        }
        if rows.len() == CHUNK {
            self.bytes.shrink_to_fit();
            self.pairs.shrink_to_fit();
            self.sharp.shrink_to_fit();
            self.always.shrink_to_fit();
        }
    }

    /// For the screen, with the codes that are screened next.
    pub(super) fn screened<'a>(&'a self, next: Option<&'a Self>) -> Screened<'a> {
        let after = next.unwrap_or(self);
        let next = (&after.bytes[..], &after.pairs[..]);
        Screened { quads: self.projection.head / QUAD, codes: &self.bytes, pairs: &self.pairs, next }
    }

    fn push_block(&mut self, rows: &Rows) {
        let projection = &*self.projection;
        let start = self.blocks() * BLOCK;
        let heads = projection.apply(&rows.units(start..start + BLOCK, projection.dim));
        let first = self.bytes.len();
        self.bytes.resize(first + projection.head / QUAD * QUAD_CODES / LINE, Line([0; LINE]));
        let codes = &mut self.bytes[first..];
        let mut pairs = [255u8; PAIRS];
        let mut always = 0;
        let mut chosen = vec![0u8; projection.head];
        for (slot, head) in heads.chunks_exact(projection.head).enumerate() {
            for (at, &value) in head.iter().enumerate() {
                chosen[at] = projection.code(at, value);
            }
            for (byte, four) in chosen.chunks_exact(4).enumerate() {
                let at = byte / 4 * QUAD_CODES + slot * 4 + byte % 4;
                codes[at / LINE].0[at % LINE] = four[0] | four[1] << 2 | four[2] << 4 | four[3] << 6;
            }
            let sums = Sums::new(projection, head, |at| chosen[at]);
            self.sharp.push(sums.sharp(projection));
            let (near, rest) = sums.distances(projection);
            match (projection.near.round_up(near), projection.rest.round_up(rest)) {
                (Some(near), Some(rest)) => (pairs[2 * slot], pairs[2 * slot + 1]) = (near, rest),
                _ => always |= 1 << slot,
            }
        }
        self.pairs.extend_from_slice(&pairs);
        self.always.push(always);
    }
}
