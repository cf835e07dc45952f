//! The inner loops in portable code: what the others are held to, and what processors without AVX2 run.

use super::{BLOCK, Kernels, LANES, LINE, PAIRS, QUAD_CODES, QUAD_TABLES, Screen, Screened};
#[cfg(test)]
use crate::cpu::Level;

pub(super) static KERNELS: Kernels = Kernels {
    #[cfg(test)]
    level: Level::Scalar,
    screen,
    dots,
    exact,
    prefetch,
    matmul,
};

fn screen(data: &Screened<'_>, screens: &mut [Screen<'_>]) {
    super::check(data, screens);
    for block in 0..data.blocks() {
        let lines = data.quads * QUAD_CODES / LINE;
        let codes = &data.codes[block * lines..][..lines];
        let pairs = &data.pairs[block * PAIRS..][..PAIRS];
        for screen in &mut *screens {
            let mut sums = [0i32; BLOCK];
            for (codes, tables) in codes.chunks_exact(QUAD_CODES / LINE).zip(screen.tables.sums.as_chunks().0) {
                let [lows, highs]: &[_; QUAD_TABLES / LINE] = tables;
                for (sum, bytes) in sums.iter_mut().zip(codes.iter().flat_map(|line| line.0.as_chunks::<4>().0)) {
                    for (at, &byte) in bytes.iter().enumerate() {
                        *sum += i32::from(lows.0[16 * at + usize::from(byte & 15)]);
                        *sum += i32::from(highs.0[16 * at + usize::from(byte >> 4)]);
                    }
                }
            }
            finish_block(screen, block, &sums, pairs);
        }
    }
}

/// From the sums of a block to its scores and mask.
#[inline]
pub(super) fn finish_block(screen: &mut Screen<'_>, block: usize, sums: &[i32; BLOCK], pairs: &[u8]) {
    let [near, rest] = screen.tables.coefficients.map(i32::from);
    let scores = &mut screen.scores[block * BLOCK..][..BLOCK];
    let mut mask = 0;
    for (at, (score, sum)) in scores.iter_mut().zip(sums).enumerate() {
        *score = (sum << screen.tables.shift) + near * i32::from(pairs[2 * at]) + rest * i32::from(pairs[2 * at + 1]);
        mask |= u64::from(*score >= screen.threshold) << at;
    }
    screen.masks[block] = mask;
}

fn dots(rows: &[u8], query: &[i8], out: &mut [i32]) {
    super::check_rows(rows, query, out);
    for (row, out) in rows.chunks_exact(query.len().max(1)).zip(out) {
        *out = row.iter().zip(query).map(|(&x, &q)| i32::from(x) * i32::from(q)).sum();
    }
}

fn prefetch(_from: *const u8, _bytes: usize) {}

fn exact(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let mut lanes = [0.0; LANES];
    let whole = a.len() / LANES * LANES;
    for (a, b) in a[..whole].chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f64::from(a) * f64::from(b);
        }
    }
    super::finish(lanes, a, b, whole)
}

fn matmul(a: &[f32], b: &[f32], columns: usize, out: &mut [f32]) {
    let (rows, inner) = super::check_product(a, b, columns, out);
    for row in 0..rows {
        let out = &mut out[row * columns..][..columns];
        out.fill(0.0);
        for at in 0..inner {
            let factor = a[row * inner + at];
            for (out, &b) in out.iter_mut().zip(&b[at * columns..][..columns]) {
                *out += factor * b;
            }
        }
    }
}
