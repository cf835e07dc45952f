//! The inner loops for AVX2 and FMA: two vectors of columns by up to six rows of sums in registers.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm256_add_ps, _mm256_fmadd_ps, _mm256_load_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

use super::{Kernels, LINE, LINES, Norm, PANEL, Product, math};

/// Handed out by `kernels::for_level` alone, where the processor has AVX2 and FMA.
pub(super) static KERNELS: Kernels = Kernels { product, gelu, softmax, add_norm };

/// Rows at a time.
const HIGH: usize = 6;
/// Numbers in a vector.
const WIDE: usize = 8;

fn product(mut all: Product<'_>) {
    let panels = all.check();
    all.tiles(panels, HIGH, |all, panel, row, height| {
        for first in (0..PANEL).step_by(LINE) {
            let tile = Tile { panel, row, first };
            // SAFETY: this set is handed out only where the processor has AVX2 and FMA; `check` made sure of what a tile reads and
            // writes.
            unsafe {
                match height {
                    1 => half::<1>(all, tile),
                    2 => half::<2>(all, tile),
                    3 => half::<3>(all, tile),
                    4 => half::<4>(all, tile),
                    5 => half::<5>(all, tile),
                    _ => half::<HIGH>(all, tile),
                }
            }
        }
    });
}

/// Where a tile stands.
#[derive(Clone, Copy)]
struct Tile {
    panel: usize,
    row: usize,
    /// The first column in the panel.
    first: usize,
}

/// Sixteen columns of a panel for `R` rows.
///
/// # Safety
///
/// The processor has AVX2 and FMA; `all` was checked; the panel and the rows lie in it.
#[target_feature(enable = "avx2,fma")]
unsafe fn half<const R: usize>(all: &mut Product<'_>, Tile { panel, row, first }: Tile) {
    let (a_stride, inner) = (all.a_stride, all.inner);
    // SAFETY: the panel and the rows lie in the product, whose slices have the lengths that `check` asserted; lines are aligned
    // to 64 bytes.
    unsafe {
        let mut a = all.a.as_ptr().add(row * a_stride);
        let mut b = all.b.as_ptr().add(panel * LINES * inner).cast::<f32>().add(first);
        let mut sums = [[_mm256_setzero_ps(); LINE / WIDE]; R];
        for _ in 0..inner {
            let (left, right) = (_mm256_load_ps(b), _mm256_load_ps(b.add(WIDE)));
            for (at, [one, two]) in sums.iter_mut().enumerate() {
                let factor = _mm256_set1_ps(*a.add(at * a_stride));
                *one = _mm256_fmadd_ps(factor, left, *one);
                *two = _mm256_fmadd_ps(factor, right, *two);
            }
            a = a.add(1);
            b = b.add(PANEL);
        }
        let bias = all.bias.as_ptr().add(panel * LINES).cast::<f32>().add(first);
        for (at, sums) in sums.iter().enumerate() {
            let out = all.out.as_mut_ptr().add((row + at) * all.out_stride + panel * PANEL + first);
            for (half, sum) in sums.iter().enumerate() {
                let sum = _mm256_add_ps(*sum, _mm256_load_ps(bias.add(half * WIDE)));
                _mm256_storeu_ps(out.add(half * WIDE), sum);
            }
        }
    }
}

fn gelu(numbers: &mut [f32]) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(numbers: &mut [f32]) {
        math::gelu::<true>(numbers);
    }
    // SAFETY: this set is handed out only where the processor has AVX2 and FMA.
    unsafe { inner(numbers) }
}

fn softmax(row: &mut [f32]) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(row: &mut [f32]) {
        math::softmax::<true>(row);
    }
    // SAFETY: this set is handed out only where the processor has AVX2 and FMA.
    unsafe { inner(row) }
}

fn add_norm(row: &mut [f32], more: &[f32], norm: &Norm) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(row: &mut [f32], more: &[f32], norm: &Norm) {
        math::add_norm::<true>(row, more, norm);
    }
    // SAFETY: this set is handed out only where the processor has AVX2 and FMA.
    unsafe { inner(row, more, norm) }
}
