//! The inner loops of the index, one set for each instruction set; `get` hands out the set in force.
//!
//! `screen`, `dots` and `exact` give the same bits on every set; `matmul` may round differently, and the bound allows for it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
mod tests;

use crate::cpu::{self, Level};

/// Vectors in a block: what one mask word covers.
pub(super) const BLOCK: usize = 64;
/// Dimensions whose codes one `u32` holds: four bytes of two nibbles, each two 2-bit codes.
pub(super) const QUAD: usize = 16;
/// Bytes of tables for one quad: 4 x 16 sums for the low nibbles of its four bytes, then for the high ones.
pub(super) const QUAD_TABLES: usize = 128;
/// Bytes of codes for one quad of one block.
pub(super) const QUAD_CODES: usize = 4 * BLOCK;
/// Bytes of bounds for one block: a pair for each vector.
pub(super) const PAIRS: usize = 2 * BLOCK;
/// At most this many queries share one pass of `screen`.
pub(super) const TILE: usize = 8;
/// Blocks whose codes are asked for before they are needed: processors by themselves do not look beyond a page.
const AHEAD: usize = 2;
/// Partial sums of `exact`.
pub(super) const LANES: usize = 32;

/// A cache line: a wide load from memory that is not aligned costs two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u8; LINE]);

/// Bytes in a line.
pub(super) const LINE: usize = 64;

/// The codes of some blocks. `codes` holds, for each block and quad, the four code bytes of each of the 64 vectors in turn;
/// `pairs` each vector's two rounded-up distances.
#[derive(Clone, Copy)]
pub(super) struct Screened<'a> {
    pub(super) quads: usize,
    pub(super) codes: &'a [Line],
    pub(super) pairs: &'a [u8],
    /// The codes and pairs that are screened next.
    pub(super) next: (&'a [Line], &'a [u8]),
}

impl Screened<'_> {
    /// Where the codes and pairs of the block stand that is to be asked for at `block`; an address only, of whatever is there.
    #[inline]
    fn ahead(&self, block: usize) -> (*const u8, *const u8) {
        let (blocks, at) = (self.pairs.len() / PAIRS, block + AHEAD);
        let ((codes, pairs), at) = if at < blocks { ((self.codes, self.pairs), at) } else { (self.next, at - blocks) };
        let codes = codes.as_ptr().wrapping_add(at * self.quads * QUAD_CODES / LINE);
        (codes.cast(), pairs.as_ptr().wrapping_add(at * PAIRS))
    }

    pub(super) fn blocks(&self) -> usize {
        assert!(self.codes.len() * LINE == self.pairs.len() / PAIRS * self.quads * QUAD_CODES);
        self.pairs.len() / PAIRS
    }
}

/// One query's side of the screen: a vector's score is `(sum of its table entries << shift) + pair . coefficients`.
pub(super) struct Tables {
    pub(super) sums: Vec<Line>,
    pub(super) shift: u32,
    pub(super) coefficients: [i16; 2],
}

/// Where one query's results go: scores of every vector, and a mask for each block of those at or above `threshold`.
pub(super) struct Screen<'a> {
    pub(super) tables: &'a Tables,
    pub(super) threshold: i32,
    pub(super) scores: &'a mut [i32],
    pub(super) masks: &'a mut [u64],
}

/// Panics unless every slice has the length that the unchecked loops rely on.
fn check(data: &Screened<'_>, screens: &[Screen<'_>]) {
    let blocks = data.blocks();
    assert!(screens.len() <= TILE);
    for screen in screens {
        assert!(screen.tables.sums.len() * LINE == data.quads * QUAD_TABLES && screen.tables.shift < 32);
        assert!(screen.scores.len() == blocks * BLOCK && screen.masks.len() == blocks);
    }
}

/// Panics unless there are as many rows of `query`'s length as results; that length is a multiple of 64.
fn check_rows(rows: &[u8], query: &[i8], out: &[i32]) {
    assert!(query.len().is_multiple_of(64) && rows.len() == query.len() * out.len());
}

/// Panics unless `a` is `rows x inner`, `b` is `inner x columns` and `out` `rows x columns`; columns are a multiple of 16.
fn check_product(a: &[f32], b: &[f32], columns: usize, out: &[f32]) -> (usize, usize) {
    assert!(columns > 0 && columns.is_multiple_of(16));
    let (inner, rows) = (b.len() / columns, out.len() / columns);
    assert!(b.len() == inner * columns && out.len() == rows * columns && a.len() == rows * inner);
    (rows, inner)
}

/// Sums the lanes of `exact` in their one order.
fn reduce(mut lanes: [f64; LANES]) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Adds the products from `start`, a multiple of `LANES`, on and sums the lanes.
fn finish(mut lanes: [f64; LANES], a: &[f32], b: &[f32], start: usize) -> f64 {
    for ((lane, &a), &b) in lanes.iter_mut().zip(&a[start..]).zip(&b[start..]) {
        *lane += f64::from(a) * f64::from(b);
    }
    reduce(lanes)
}

/// One set of inner loops.
pub(super) struct Kernels {
    #[cfg(test)]
    pub(super) level: Level,
    /// Scores every vector for up to `TILE` queries.
    pub(super) screen: fn(&Screened<'_>, &mut [Screen<'_>]),
    /// The products of each row, offset by 128, with a query.
    pub(super) dots: fn(&[u8], &[i8], &mut [i32]),
    /// The product of two vectors: exact products, summed in `f64` in lanes of `LANES` and one order.
    pub(super) exact: fn(&[f32], &[f32]) -> f64,
    /// Asks for so many bytes from an address, wherever it is: they are read soon.
    pub(super) prefetch: fn(*const u8, usize),
    /// `out = a * b`, row-major, for `columns` a multiple of 16.
    pub(super) matmul: fn(&[f32], &[f32], usize, &mut [f32]),
}

/// The set for the level in force.
pub(super) fn get() -> &'static Kernels {
    for_level(cpu::level())
}

fn for_level(level: Level) -> &'static Kernels {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vbmi => &avx512::KERNELS,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx2 => &avx2::KERNELS,
        _ => &scalar::KERNELS,
    }
}
