//! The inner loops for AVX-512: two vectors of columns by up to twelve rows of sums in registers.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    _MM_HINT_T0, _mm_prefetch, _mm512_add_ps, _mm512_fmadd_ps, _mm512_load_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use super::{Kernels, LINE, LINES, Norm, PANEL, Product, math};

/// Handed out by `kernels::for_level` alone, where the processor has AVX-512 F.
pub(super) static KERNELS: Kernels = Kernels { product, gelu, softmax, add_norm };

/// Rows at a time.
const HIGH: usize = 12;
/// Lines that are asked for before they are needed: weights come from beyond the second-level cache.
const AHEAD: usize = 64;

fn product(mut all: Product<'_>) {
    let panels = all.check();
    all.tiles(panels, HIGH, |all, panel, row, height| {
        let tile = Tile { panel, row };
        // SAFETY: this set is handed out only where the processor has AVX-512; `check` made sure of what a tile reads and writes.
        unsafe {
            match height {
                1 => columns::<1>(all, tile),
                2 => columns::<2>(all, tile),
                3 => columns::<3>(all, tile),
                4 => columns::<4>(all, tile),
                5 => columns::<5>(all, tile),
                6 => columns::<6>(all, tile),
                7 => columns::<7>(all, tile),
                8 => columns::<8>(all, tile),
                9 => columns::<9>(all, tile),
                10 => columns::<10>(all, tile),
                11 => columns::<11>(all, tile),
                _ => columns::<HIGH>(all, tile),
            }
        }
    });
}

/// Where a tile stands.
#[derive(Clone, Copy)]
struct Tile {
    panel: usize,
    row: usize,
}

/// The 32 columns of a panel for `R` rows.
///
/// # Safety
///
/// The processor has AVX-512 F; `all` was checked; the panel and the rows lie in it.
#[target_feature(enable = "avx512f")]
unsafe fn columns<const R: usize>(all: &mut Product<'_>, Tile { panel, row }: Tile) {
    let (a_stride, inner) = (all.a_stride, all.inner);
    // SAFETY: the panel and the rows lie in the product, whose slices have the lengths that `check` asserted; lines are aligned
    // to 64 bytes. What is only asked for may lie beyond them.
    unsafe {
        let mut a = all.a.as_ptr().add(row * a_stride);
        let mut b = all.b.as_ptr().add(panel * LINES * inner).cast::<f32>();
        let mut sums = [[_mm512_setzero_ps(); LINES]; R];
        for _ in 0..inner {
            let (left, right) = (_mm512_load_ps(b), _mm512_load_ps(b.add(LINE)));
            if row == 0 {
                let next = b.wrapping_add(AHEAD * LINE);
                _mm_prefetch::<_MM_HINT_T0>(next.cast());
                _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(LINE).cast());
            }
            for (at, [one, two]) in sums.iter_mut().enumerate() {
                let factor = _mm512_set1_ps(*a.add(at * a_stride));
                *one = _mm512_fmadd_ps(factor, left, *one);
                *two = _mm512_fmadd_ps(factor, right, *two);
            }
            a = a.add(1);
            b = b.add(PANEL);
        }
        let bias = all.bias.as_ptr().add(panel * LINES).cast::<f32>();
        for (at, sums) in sums.iter().enumerate() {
            let out = all.out.as_mut_ptr().add((row + at) * all.out_stride + panel * PANEL);
            for (half, sum) in sums.iter().enumerate() {
                let sum = _mm512_add_ps(*sum, _mm512_load_ps(bias.add(half * LINE)));
                _mm512_storeu_ps(out.add(half * LINE), sum);
            }
        }
    }
}

fn gelu(numbers: &mut [f32]) {
    #[target_feature(enable = "avx512f")]
    fn inner(numbers: &mut [f32]) {
        math::gelu::<true>(numbers);
    }
    // SAFETY: this set is handed out only where the processor has AVX-512 F.
    unsafe { inner(numbers) }
}

fn softmax(row: &mut [f32]) {
    #[target_feature(enable = "avx512f")]
    fn inner(row: &mut [f32]) {
        math::softmax::<true>(row);
    }
    // SAFETY: this set is handed out only where the processor has AVX-512 F.
    unsafe { inner(row) }
}

fn add_norm(row: &mut [f32], more: &[f32], norm: &Norm) {
    #[target_feature(enable = "avx512f")]
    fn inner(row: &mut [f32], more: &[f32], norm: &Norm) {
        math::add_norm::<true>(row, more, norm);
    }
    // SAFETY: this set is handed out only where the processor has AVX-512 F.
    unsafe { inner(row, more, norm) }
}
