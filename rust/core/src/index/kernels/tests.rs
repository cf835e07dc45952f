//! Every set of inner loops against the portable one, on buffers that end where memory ends.
#![allow(unsafe_code)]

use proptest::prelude::*;

use super::{BLOCK, Kernels, Line, PAIRS, QUAD_CODES, QUAD_TABLES, Screen, Screened, TILE, Tables, for_level, scalar};
use crate::cpu::{self, Level};

/// A copy of some values whose last byte is the last of a page; the page after cannot be touched.
struct Guarded<T> {
    pages: *mut u8,
    mapped: usize,
    start: *mut T,
    length: usize,
}

impl<T: Copy> Guarded<T> {
    fn new(values: &[T]) -> Self {
        const PAGE: usize = 4096;
        let bytes = size_of_val(values);
        let mapped = bytes.next_multiple_of(PAGE) + PAGE;
        // SAFETY: fresh anonymous memory; the last page is closed; the values fit before it, aligned as their size divides.
        unsafe {
            let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let pages = libc::mmap(std::ptr::null_mut(), mapped, prot, flags, -1, 0).cast::<u8>();
            assert!(pages.cast() != libc::MAP_FAILED);
            assert_eq!(libc::mprotect(pages.add(mapped - PAGE).cast(), PAGE, libc::PROT_NONE), 0);
            let start = pages.add(mapped - PAGE - bytes).cast::<T>();
            std::ptr::copy_nonoverlapping(values.as_ptr(), start, values.len());
            Self { pages, mapped, start, length: values.len() }
        }
    }
}

impl<T> std::ops::Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `new` wrote so many values there.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl<T> std::ops::DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `new` wrote so many values there, and this is their only owner.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, once.
        unsafe { libc::munmap(self.pages.cast(), self.mapped) };
    }
}

/// The sets that this processor can run.
fn sets() -> impl Iterator<Item = &'static Kernels> {
    Level::ALL.into_iter().filter(|&level| level <= cpu::detect()).map(for_level)
}

fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    }
}

fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut next = noise(seed);
    (0..count).map(|_| (f32::from(next()) - 127.5) * 10f32.powi(i32::from(next() % 60) - 30)).collect()
}

#[test]
fn every_level_runs_its_own_set() {
    let levels: Vec<Level> = sets().map(|kernels| kernels.level).collect();
    assert_eq!(levels.first(), Some(&Level::Scalar));
    assert!(levels.len() == 1 || levels[1] == Level::Avx2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn screens_are_equal_to_the_bit(
        seed: u64, blocks in 0..4usize, quads in 1..17usize, queries in 0..=TILE, shift in 0..13u32, extreme: bool,
    ) {
        let mut next = noise(seed);
        let mut bytes = |count: usize| -> Vec<u8> {
            (0..count).map(|_| if extreme { 255 } else { next() }).collect()
        };
        let lines = |bytes: Vec<u8>| -> Vec<Line> { bytes.as_chunks().0.iter().copied().map(Line).collect() };
        let codes = Guarded::new(&lines(bytes(blocks * quads * QUAD_CODES)));
        let pairs = Guarded::new(&bytes(blocks * PAIRS));
        let data = Screened { quads, codes: &codes, pairs: &pairs, next: (&[], &pairs) };
        let tables: Vec<(Vec<Line>, [i16; 2])> = (0..queries).map(|_| {
            let sums = lines(bytes(quads * QUAD_TABLES));
            let factors = bytes(4);
            let factor = |at: usize| i16::from_le_bytes([factors[at], factors[at + 1] & 127]);
            (sums, [factor(0), factor(2)])
        }).collect();
        let mut results = sets().map(|kernels| {
            let tables: Vec<Tables> = tables.iter().map(|(sums, coefficients)| {
                Tables { sums: sums.clone(), shift, coefficients: *coefficients }
            }).collect();
            let mut scores: Vec<Guarded<i32>> = (0..queries).map(|_| Guarded::new(&vec![7; blocks * BLOCK])).collect();
            let mut masks: Vec<Guarded<u64>> = (0..queries).map(|_| Guarded::new(&vec![7; blocks])).collect();
            let mut screens: Vec<Screen<'_>> = tables.iter().zip(&mut scores).zip(&mut masks).enumerate()
                .map(|(at, ((tables, scores), masks))| Screen { tables, threshold: i32::from(at as u8) << (shift + 12), scores, masks })
                .collect();
            (kernels.screen)(&data, &mut screens);
            (scores.iter().map(|scores| scores.to_vec()).collect::<Vec<_>>(), masks.iter().map(|masks| masks.to_vec()).collect::<Vec<_>>())
        });
        let oracle = results.next().expect("the portable set");
        for result in results {
            prop_assert_eq!(&result, &oracle);
        }
    }

    #[test]
    fn products_of_bytes_are_equal(seed: u64, rows in 0..5usize, lines in 1..9usize, extreme: bool) {
        let mut next = noise(seed);
        let rows_of_bytes: Vec<u8> = (0..rows * lines * 64).map(|_| if extreme { 255 } else { next() }).collect();
        let query: Vec<i8> = (0..lines * 64).map(|_| if extreme { -127 } else { next().cast_signed().max(-127) }).collect();
        let (rows_of_bytes, query) = (Guarded::new(&rows_of_bytes), Guarded::new(&query));
        let mut results = sets().map(|kernels| {
            let mut out = Guarded::new(&vec![0i32; rows]);
            for row in rows_of_bytes.chunks(lines * 64) {
                (kernels.prefetch)(row.as_ptr(), row.len() + 5000);
            }
            (kernels.dots)(&rows_of_bytes, &query, &mut out);
            out.to_vec()
        });
        let oracle = results.next().expect("the portable set");
        for result in results {
            prop_assert_eq!(&result, &oracle);
        }
    }

    #[test]
    fn exact_products_are_equal_to_the_bit(seed: u64, length in 0..200usize) {
        let (a, b) = (Guarded::new(&floats(length, seed)), Guarded::new(&floats(length, !seed)));
        let mut results = sets().map(|kernels| (kernels.exact)(&a, &b).to_bits());
        let oracle = results.next().expect("the portable set");
        for result in results {
            prop_assert_eq!(result, oracle);
        }
    }

    #[test]
    fn matrix_products_are_within_the_rounding_the_bound_allows_for(
        seed: u64, rows in 0..9usize, inner in 0..70usize, sixteens in 1..17usize,
    ) {
        let columns = 16 * sixteens;
        let mut next = noise(seed);
        let mut values = |count: usize| (0..count).map(|_| f32::from(next()) - 127.5).collect::<Vec<_>>();
        let (a, b) = (Guarded::new(&values(rows * inner)), Guarded::new(&values(inner * columns)));
        for kernels in sets() {
            let mut out = Guarded::new(&vec![f32::NAN; rows * columns]);
            (kernels.matmul)(&a, &b, columns, &mut out);
            for (at, &value) in out.iter().enumerate() {
                let (row, column) = (at / columns, at % columns);
                let terms = (0..inner).map(|k| f64::from(a[row * inner + k]) * f64::from(b[k * columns + column]));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                let allowed = inner as f64 * f64::from(f32::EPSILON) / 2.0 * size * 1.01;
                prop_assert!((f64::from(value) - sum).abs() <= allowed, "{value} is not {sum}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "assertion")]
fn a_row_of_another_length_is_refused() {
    (scalar::KERNELS.dots)(&[0; 64], &[0; 128], &mut [0]);
}
