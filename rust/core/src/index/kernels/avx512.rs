//! The inner loops for AVX-512 with VBMI and VNNI.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // the same numbers index registers and memory

use std::arch::x86_64::{
    __m128i, __m512, __m512i, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_prefetch, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm512_add_epi32, _mm512_cmpge_epi32_mask, _mm512_cvtepu8_epi16, _mm512_cvtps_pd, _mm512_dpbusd_epi32,
    _mm512_dpwssd_epi32, _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_permutexvar_epi8, _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_pd, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_sll_epi32, _mm512_srli_epi16, _mm512_storeu_pd,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_ternarylogic_epi32,
};

use super::avx2::prefetch;
use super::{BLOCK, Kernels, LANES, PAIRS, QUAD_CODES, QUAD_TABLES, Screen, Screened};
#[cfg(test)]
use crate::cpu::Level;

/// Handed out by `kernels::for_level` alone, where the processor has AVX-512 F, BW, VL, DQ, VBMI and VNNI.
pub(super) static KERNELS: Kernels = Kernels {
    #[cfg(test)]
    level: Level::Avx512Vbmi,
    screen,
    dots,
    exact,
    prefetch,
    matmul,
};

fn screen(data: &Screened<'_>, screens: &mut [Screen<'_>]) {
    super::check(data, screens);
    // SAFETY: this set is handed out only where the processor has what it needs; `check` holds the lengths.
    unsafe {
        match screens {
            [] => {}
            [_] => screen_tile::<1, 4>(data, screens),
            [_, _] => screen_tile::<2, 4>(data, screens),
            [_, _, _] => screen_tile::<3, 2>(data, screens),
            [_, _, _, _] => screen_tile::<4, 2>(data, screens),
            [_, _, _, _, _, _, _, _] => screen_tile::<8, 2>(data, screens),
            _ => {
                let (some, rest) = screens.split_at_mut(4);
                screen_tile::<4, 2>(data, some);
                screen(data, rest);
            }
        }
    }
}

/// `Q` queries over `PARTS` times 16 vectors at a time.
///
/// # Safety
/// As `check` says, with exactly `Q` screens.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
unsafe fn screen_tile<const Q: usize, const PARTS: usize>(data: &Screened<'_>, screens: &mut [Screen<'_>]) {
    let ones = _mm512_set1_epi8(1);
    let low = _mm512_set1_epi8(15);
    // Byte j of each u32 looks into the j-th sixteen of the table.
    let sixteens = _mm512_set1_epi32(0x3020_1000);
    for block in 0..data.blocks() {
        let mut masks = [0u64; Q];
        let (next_codes, next_pairs) = data.ahead(block);
        _mm_prefetch::<_MM_HINT_T0>(next_pairs.cast());
        _mm_prefetch::<_MM_HINT_T0>(next_pairs.wrapping_add(64).cast());
        for first in (0..4).step_by(PARTS) {
            let mut sums = [[_mm512_setzero_si512(); PARTS]; Q];
            for quad in 0..data.quads {
                let from = quad * QUAD_CODES + first * 64;
                let at = block * data.quads * QUAD_CODES + from;
                for part in 0..PARTS {
                    // SAFETY: the quad has four times 64 bytes, `first + part` is below 4; `check` counted the blocks.
                    let codes = unsafe { load(data.codes.as_ptr().cast::<u8>().add(at + 64 * part)) };
                    _mm_prefetch::<_MM_HINT_T0>(next_codes.wrapping_add(from + 64 * part).cast());
                    // (codes & low) | sixteens
                    let lows = _mm512_ternarylogic_epi32::<0xF8>(sixteens, codes, low);
                    let highs = _mm512_ternarylogic_epi32::<0xF8>(sixteens, _mm512_srli_epi16::<4>(codes), low);
                    for query in 0..Q {
                        // SAFETY: there are `Q` screens, each with 128 bytes of tables a quad.
                        let tables = unsafe {
                            screens.get_unchecked(query).tables.sums.as_ptr().cast::<u8>().add(quad * QUAD_TABLES)
                        };
                        // SAFETY: as above: two halves of 64.
                        let (table_lows, table_highs) = unsafe { (load(tables), load(tables.add(64))) };
                        let found = _mm512_permutexvar_epi8(lows, table_lows);
                        sums[query][part] = _mm512_dpbusd_epi32(sums[query][part], found, ones);
                        let found = _mm512_permutexvar_epi8(highs, table_highs);
                        sums[query][part] = _mm512_dpbusd_epi32(sums[query][part], found, ones);
                    }
                }
            }
            for part in 0..PARTS {
                let start = (first + part) * 16;
                // SAFETY: a block has 64 pairs, and `start + 16` is at most 64.
                let pairs = unsafe { _mm256_loadu_si256(data.pairs.as_ptr().add(block * PAIRS + 2 * start).cast()) };
                let pairs = _mm512_cvtepu8_epi16(pairs);
                for query in 0..Q {
                    let screen = &mut screens[query];
                    let [near, rest] = screen.tables.coefficients;
                    let coefficients = _mm512_set1_epi32((i32::from(near) & 0xFFFF) | (i32::from(rest) << 16));
                    let shift: __m128i = _mm_cvtsi32_si128(screen.tables.shift.cast_signed());
                    let scores = _mm512_dpwssd_epi32(_mm512_sll_epi32(sums[query][part], shift), pairs, coefficients);
                    let mask = _mm512_cmpge_epi32_mask(scores, _mm512_set1_epi32(screen.threshold));
                    masks[query] |= u64::from(mask) << start;
                    // SAFETY: `check` held 64 scores a block.
                    unsafe {
                        _mm512_storeu_si512(screen.scores.as_mut_ptr().add(block * BLOCK + start).cast(), scores);
                    };
                }
            }
        }
        for (screen, mask) in screens.iter_mut().zip(masks) {
            screen.masks[block] = mask;
        }
    }
}

/// # Safety
/// 64 bytes can be read at `from`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(from: *const u8) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_loadu_si512(from.cast()) }
}

fn dots(rows: &[u8], query: &[i8], out: &mut [i32]) {
    super::check_rows(rows, query, out);
    // SAFETY: this set is handed out only where the processor has what it needs; `check_rows` holds the lengths.
    unsafe { dots_vnni(rows, query, out) };
}

/// # Safety
/// As `check_rows` says.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn dots_vnni(rows: &[u8], query: &[i8], out: &mut [i32]) {
    let length = query.len();
    for (row, out) in out.iter_mut().enumerate() {
        let mut sums = [_mm512_setzero_si512(); 2];
        let mut at = 0;
        while at < length {
            // SAFETY: `check_rows`: row `row` has `length` bytes, as the query, and `at + 64` is at most `length`.
            let (x, q) = unsafe { (load(rows.as_ptr().add(row * length + at)), load(query.as_ptr().add(at).cast())) };
            sums[at / 64 % 2] = _mm512_dpbusd_epi32(sums[at / 64 % 2], x, q);
            at += 64;
        }
        *out = _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]));
    }
}

fn exact(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    // SAFETY: this set is handed out only where the processor has what it needs; the lengths are equal.
    unsafe { exact_512(a, b) }
}

/// # Safety
/// The lengths are equal.
#[target_feature(enable = "avx512f,avx2")]
unsafe fn exact_512(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [_mm512_setzero_pd(); LANES / 8];
    let whole = a.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `at + LANES` is at most the length of both.
            let (a, b) = unsafe {
                (_mm256_loadu_ps(a.as_ptr().add(at + 8 * part)), _mm256_loadu_ps(b.as_ptr().add(at + 8 * part)))
            };
            // The product is exact in f64, so that fusing it with the sum changes nothing.
            *sum = _mm512_fmadd_pd(_mm512_cvtps_pd(a), _mm512_cvtps_pd(b), *sum);
        }
    }
    let mut lanes = [0.0; LANES];
    for (part, sum) in sums.into_iter().enumerate() {
        // SAFETY: eight lanes for each of the sums.
        unsafe { _mm512_storeu_pd(lanes.as_mut_ptr().add(8 * part), sum) };
    }
    super::finish(lanes, a, b, whole)
}

fn matmul(a: &[f32], b: &[f32], columns: usize, out: &mut [f32]) {
    let (rows, inner) = super::check_product(a, b, columns, out);
    let mut column = 0;
    while column < columns {
        // Six vectors of columns by four rows fill the registers.
        let wide = ((columns - column) / 16).min(6);
        let mut row = 0;
        while row < rows {
            let high = if rows - row >= 4 { 4 } else { 1 };
            let at = Tile { row, column, columns, inner };
            // SAFETY: this set is handed out only where the processor has what it needs; the tile lies in the product.
            unsafe {
                match (high, wide) {
                    (4, 6) => product::<4, 6>(a, b, at, out),
                    (4, 5) => product::<4, 5>(a, b, at, out),
                    (4, 4) => product::<4, 4>(a, b, at, out),
                    (4, 3) => product::<4, 3>(a, b, at, out),
                    (4, 2) => product::<4, 2>(a, b, at, out),
                    (4, _) => product::<4, 1>(a, b, at, out),
                    (_, 6) => product::<1, 6>(a, b, at, out),
                    (_, 5) => product::<1, 5>(a, b, at, out),
                    (_, 4) => product::<1, 4>(a, b, at, out),
                    (_, 3) => product::<1, 3>(a, b, at, out),
                    (_, 2) => product::<1, 2>(a, b, at, out),
                    (_, _) => product::<1, 1>(a, b, at, out),
                }
            }
            row += high;
        }
        column += 16 * wide;
    }
}

/// Where a tile of a product stands, and the shape of that.
#[derive(Clone, Copy)]
struct Tile {
    row: usize,
    column: usize,
    columns: usize,
    inner: usize,
}

/// # Safety
/// `R` rows from `at.row` and 16 times `C` columns from `at.column` lie in the product that `check_product` held.
#[target_feature(enable = "avx512f")]
unsafe fn product<const R: usize, const C: usize>(a: &[f32], b: &[f32], at: Tile, out: &mut [f32]) {
    let mut sums: [[__m512; C]; R] = [[_mm512_setzero_ps(); C]; R];
    for inner in 0..at.inner {
        let mut columns = [_mm512_setzero_ps(); C];
        for (part, column) in columns.iter_mut().enumerate() {
            // SAFETY: the caller's: these columns lie in row `inner` of b.
            *column = unsafe { _mm512_loadu_ps(b.as_ptr().add(inner * at.columns + at.column + 16 * part)) };
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's: this row lies in a, and `inner` in the row.
            let factor = _mm512_set1_ps(unsafe { *a.as_ptr().add((at.row + row) * at.inner + inner) });
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = _mm512_fmadd_ps(factor, column, *sum);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (part, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller's: the tile lies in the product.
            unsafe {
                _mm512_storeu_ps(out.as_mut_ptr().add((at.row + row) * at.columns + at.column + 16 * part), sum);
            }
        }
    }
}
