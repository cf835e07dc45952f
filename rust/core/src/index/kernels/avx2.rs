//! The inner loops for AVX2 and FMA.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_loadu_ps, _mm_loadu_si128, _mm_prefetch, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_add_pd, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16,
    _mm256_cvtps_pd, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_pd,
    _mm256_set1_epi8, _mm256_set1_ps, _mm256_setr_epi8, _mm256_setzero_pd, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_pd, _mm256_storeu_ps, _mm256_storeu_si256,
    _mm256_unpackhi_epi8, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi8, _mm256_unpacklo_epi32,
    _mm256_unpacklo_epi64,
};

use super::{BLOCK, Kernels, LANES, LINE, Line, PAIRS, QUAD_CODES, QUAD_TABLES, Screen, Screened, scalar};
#[cfg(test)]
use crate::cpu::Level;

/// Handed out by `kernels::for_level` alone, where the processor has AVX2 and FMA.
pub(super) static KERNELS: Kernels = Kernels {
    #[cfg(test)]
    level: Level::Avx2,
    screen,
    dots,
    exact,
    prefetch,
    matmul,
};

fn screen(data: &Screened<'_>, screens: &mut [Screen<'_>]) {
    super::check(data, screens);
    for screen in screens {
        for block in 0..data.blocks() {
            let mut sums = [0; BLOCK];
            let lines = data.quads * QUAD_CODES / LINE;
            let codes = &data.codes[block * lines..][..lines];
            for (half, sums) in sums.chunks_exact_mut(32).enumerate() {
                // SAFETY: this set is handed out only where the processor has AVX2; `check` holds the lengths.
                unsafe { sum_half(codes, half, &screen.tables.sums, sums) };
            }
            scalar::finish_block(screen, block, &sums, &data.pairs[block * PAIRS..][..PAIRS]);
        }
    }
}

/// The sums of 32 of a block's vectors.
///
/// # Safety
/// `codes` are whole quads, `tables` theirs, `half` is 0 or 1, `out` has 32 places.
#[target_feature(enable = "avx2")]
unsafe fn sum_half(codes: &[Line], half: usize, tables: &[Line], out: &mut [i32]) {
    let low = _mm256_set1_epi8(15);
    let zero = _mm256_setzero_si256();
    #[rustfmt::skip]
    let by_column = _mm256_setr_epi8(
        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
    );
    let mut sums = [zero; 2];
    for (quad, codes) in codes.chunks_exact(QUAD_CODES / LINE).enumerate() {
        let mut rows = [zero; 4];
        for (at, row) in rows.iter_mut().enumerate() {
            // SAFETY: half a quad's codes are 128 bytes, read in four times 32.
            let bytes = unsafe { load(codes.as_ptr().cast::<u8>().add(half * 128 + 32 * at)) };
            *row = _mm256_shuffle_epi8(bytes, by_column);
        }
        // From four vectors of (4 columns x 4 bytes) to a vector for each column: a transposition of u32s in each lane.
        let (a, b) = (_mm256_unpacklo_epi32(rows[0], rows[1]), _mm256_unpacklo_epi32(rows[2], rows[3]));
        let (c, d) = (_mm256_unpackhi_epi32(rows[0], rows[1]), _mm256_unpackhi_epi32(rows[2], rows[3]));
        let columns = [
            _mm256_unpacklo_epi64(a, b),
            _mm256_unpackhi_epi64(a, b),
            _mm256_unpacklo_epi64(c, d),
            _mm256_unpackhi_epi64(c, d),
        ];
        for (at, column) in columns.into_iter().enumerate() {
            for (offset, nibbles) in [(0, column), (64, _mm256_srli_epi16::<4>(column))] {
                // SAFETY: a quad has 128 bytes of tables; `offset + 16 * at + 16` is at most that.
                let table = unsafe {
                    let from = tables.as_ptr().cast::<u8>().add(quad * QUAD_TABLES + offset + 16 * at);
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast()))
                };
                let found = _mm256_shuffle_epi8(table, _mm256_and_si256(nibbles, low));
                // At most 128 quads of 8 sums below 256 would overflow; `MAX_HEAD` holds them to 16.
                sums[0] = _mm256_add_epi16(sums[0], _mm256_unpacklo_epi8(found, zero));
                sums[1] = _mm256_add_epi16(sums[1], _mm256_unpackhi_epi8(found, zero));
            }
        }
    }
    for (high, sum) in sums.into_iter().enumerate() {
        let mut words = [0u16; 16];
        // SAFETY: the array is as large as the vector.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), sum) };
        // Lane l of sum h holds vectors 4l.. of rows 2h and 2h + 1, each row eight vectors.
        for (at, word) in words.into_iter().enumerate() {
            out[(2 * high + at / 4 % 2) * 8 + at / 8 * 4 + at % 4] = i32::from(word);
        }
    }
}

/// # Safety
/// 32 bytes can be read at `from`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(from: *const u8) -> __m256i {
    // SAFETY: the caller's.
    unsafe { _mm256_loadu_si256(from.cast()) }
}

fn dots(rows: &[u8], query: &[i8], out: &mut [i32]) {
    super::check_rows(rows, query, out);
    // SAFETY: this set is handed out only where the processor has AVX2; `check_rows` holds the lengths.
    unsafe { dots_avx2(rows, query, out) };
}

/// # Safety
/// As `check_rows` says.
#[target_feature(enable = "avx2")]
unsafe fn dots_avx2(rows: &[u8], query: &[i8], out: &mut [i32]) {
    let length = query.len();
    for (row, out) in out.iter_mut().enumerate() {
        let mut sums = [_mm256_setzero_si256(); 4];
        for at in (0..length).step_by(64) {
            for (part, sum) in sums.iter_mut().enumerate() {
                let at = at + 16 * part;
                // SAFETY: `check_rows`: row `row` has `length` bytes, as the query, and `at + 16` is at most `length`.
                let (x, q) = unsafe {
                    (
                        _mm_loadu_si128(rows.as_ptr().add(row * length + at).cast()),
                        _mm_loadu_si128(query.as_ptr().add(at).cast()),
                    )
                };
                // Words, because bytes multiplied in pairs saturate.
                let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(x), _mm256_cvtepi8_epi16(q));
                *sum = _mm256_add_epi32(*sum, products);
            }
        }
        let sum = _mm256_add_epi32(_mm256_add_epi32(sums[0], sums[1]), _mm256_add_epi32(sums[2], sums[3]));
        let mut lanes = [0i32; 8];
        // SAFETY: the array is as large as the vector.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        *out = lanes.iter().sum();
    }
}

pub(super) fn prefetch(from: *const u8, bytes: usize) {
    let into_line = from.addr() % LINE;
    for at in (0..into_line + bytes).step_by(LINE) {
        // SAFETY: a hint, which no address can make fail; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_sub(into_line).wrapping_add(at).cast()) };
    }
}

fn exact(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    // SAFETY: this set is handed out only where the processor has AVX2; the lengths are equal.
    unsafe { exact_avx2(a, b) }
}

/// # Safety
/// The lengths are equal.
#[target_feature(enable = "avx2")]
unsafe fn exact_avx2(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [_mm256_setzero_pd(); LANES / 4];
    let whole = a.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `at + LANES` is at most the length of both.
            let (a, b) =
                unsafe { (_mm_loadu_ps(a.as_ptr().add(at + 4 * part)), _mm_loadu_ps(b.as_ptr().add(at + 4 * part))) };
            *sum = _mm256_add_pd(*sum, _mm256_mul_pd(_mm256_cvtps_pd(a), _mm256_cvtps_pd(b)));
        }
    }
    let mut lanes = [0.0; LANES];
    for (part, sum) in sums.into_iter().enumerate() {
        // SAFETY: four lanes for each of the sums.
        unsafe { _mm256_storeu_pd(lanes.as_mut_ptr().add(4 * part), sum) };
    }
    super::finish(lanes, a, b, whole)
}

fn matmul(a: &[f32], b: &[f32], columns: usize, out: &mut [f32]) {
    let (rows, inner) = super::check_product(a, b, columns, out);
    for column in (0..columns).step_by(16) {
        for row in 0..rows {
            // SAFETY: this set is handed out only where the processor has AVX2 and FMA; `check_product` holds the lengths.
            unsafe {
                product(&a[row * inner..][..inner], b, columns, column, &mut out[row * columns + column..][..16]);
            };
        }
    }
}

/// One row by sixteen columns.
///
/// # Safety
/// `b` has a row of `columns` for each value of `a`, `column + 16` is at most `columns`, `out` has 16 places.
#[target_feature(enable = "avx2,fma")]
unsafe fn product(a: &[f32], b: &[f32], columns: usize, column: usize, out: &mut [f32]) {
    let mut sums: [__m256; 2] = [_mm256_setzero_ps(); 2];
    for (inner, &factor) in a.iter().enumerate() {
        let factor = _mm256_set1_ps(factor);
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's.
            let b = unsafe { _mm256_loadu_ps(b.as_ptr().add(inner * columns + column + 8 * part)) };
            *sum = _mm256_fmadd_ps(factor, b, *sum);
        }
    }
    for (part, sum) in sums.into_iter().enumerate() {
        // SAFETY: sixteen places, in two eights.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(8 * part), sum) };
    }
}
