//! The head codes of a chunk's entries, in blocks of 64, laid out for the screen.

use std::sync::Arc;

use super::bound::{Sharp, Sums};
use super::kernels::{BLOCK, LINE, Line, PAIRS, QUAD, QUAD_CODES, Screened};
use super::mapped::Column;
use super::projection::Projection;
use super::rows::Rows;

/// The codes of a chunk's first blocks; entries after those have none yet. Append-only, so that a clone shares them.
#[derive(Debug, Clone)]
pub(super) struct Codes {
    pub(super) projection: Arc<Projection>,
    /// Whole blocks, as `Screened` has them.
    pub(super) bytes: Column<Line>,
    /// Of each entry the bytes for `near` and `rest`.
    pub(super) pairs: Column<u8>,
    /// Of each entry what the sharper bound needs.
    pub(super) sharp: Column<Sharp>,
    /// A mask for each block: entries whose distances no byte stands for, and which are always verified.
    pub(super) always: Column<u64>,
}

impl Codes {
    /// None, with room for so many blocks.
    pub(super) fn with_capacity(projection: Arc<Projection>, blocks: usize) -> Self {
        Self {
            bytes: Column::with_capacity(blocks * lines(&projection)),
            pairs: Column::with_capacity(blocks * PAIRS),
            sharp: Column::with_capacity(blocks * BLOCK),
            always: Column::with_capacity(blocks),
            projection,
        }
    }

    /// The codes of every whole block of `rows`.
    pub(super) fn of(projection: Arc<Projection>, rows: &Rows) -> Self {
        let blocks = rows.len() / BLOCK;
        let mut codes = Self::with_capacity(projection, blocks);
        let mut block = Block::new(codes.projection.clone());
        for at in 0..blocks {
            block.encode(rows, at * BLOCK, BLOCK);
            codes.push(&block);
            block.done = 0;
        }
        codes
    }

    pub(super) fn blocks(&self) -> usize {
        self.always.len()
    }

    /// For the screen, with the codes that are screened next.
    pub(super) fn screened<'a>(&'a self, next: Option<&'a Self>) -> Screened<'a> {
        let after = next.unwrap_or(self);
        let next = (&after.bytes[..], &after.pairs[..]);
        Screened { quads: self.projection.head / QUAD, codes: &self.bytes, pairs: &self.pairs, next }
    }

    /// Takes in a block that is whole.
    pub(super) fn push(&mut self, block: &Block) {
        assert!(block.is_whole());
        self.bytes.extend_from_slice(&block.bytes);
        self.pairs.extend_from_slice(&block.pairs);
        self.sharp.extend_from_slice(&block.sharp);
        self.always.push(block.always);
    }
}

/// Lines of codes in a block.
fn lines(projection: &Projection) -> usize {
    projection.head / QUAD * QUAD_CODES / LINE
}

/// A block whose entries are encoded some at a time, so that nobody waits long for it.
pub(super) struct Block {
    pub(super) projection: Arc<Projection>,
    bytes: Vec<Line>,
    pairs: [u8; PAIRS],
    sharp: [Sharp; BLOCK],
    always: u64,
    /// How many entries have codes.
    done: usize,
}

impl Block {
    pub(super) fn new(projection: Arc<Projection>) -> Self {
        let bytes = vec![Line([0; LINE]); lines(&projection)];
        Self { projection, bytes, pairs: [0; PAIRS], sharp: [[0.0; 4]; BLOCK], always: 0, done: 0 }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.done == BLOCK
    }

    /// Encodes more of the block that begins at `start` of `rows`: at most so many of those that are there.
    pub(super) fn encode(&mut self, rows: &Rows, start: usize, at_most: usize) {
        let projection = &*self.projection;
        let entries = self.done..BLOCK.min(rows.len() - start).min(self.done + at_most);
        let heads = projection.apply(&rows.units(entries.clone().map(|slot| start + slot), projection.dim));
        let (mut codes, mut levels) = (vec![0; projection.head], vec![0.0; projection.head]);
        for (slot, head) in entries.zip(heads.chunks_exact(projection.head)) {
            projection.encode(head, &mut codes, &mut levels);
            for (byte, four) in codes.as_chunks::<4>().0.iter().enumerate() {
                let at = byte / 4 * QUAD_CODES + slot * 4 + byte % 4;
                self.bytes[at / LINE].0[at % LINE] = four[0] | four[1] << 2 | four[2] << 4 | four[3] << 6;
            }
            let sums = Sums::new(head, &levels);
            self.sharp[slot] = sums.sharp(projection);
            let (near, rest) = sums.distances(projection);
            let pair = projection.near.round_up(near).zip(projection.rest.round_up(rest));
            let (near, rest) = pair.unwrap_or((255, 255));
            (self.pairs[2 * slot], self.pairs[2 * slot + 1]) = (near, rest);
            self.always = self.always & !(1 << slot) | u64::from(pair.is_none()) << slot;
            self.done = slot + 1;
        }
    }
}
