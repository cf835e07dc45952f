//! The inner loops in portable Rust.

use super::{Kernels, LINE, LINES, PANEL, Product, math};

pub(super) static KERNELS: Kernels =
    Kernels { product, gelu: math::gelu::<false>, softmax: math::softmax::<false>, add_norm: math::add_norm::<false> };

/// Rows at a time.
const HIGH: usize = 4;

fn product(mut all: Product<'_>) {
    let panels = all.check();
    all.tiles(panels, HIGH, |all, panel, row, height| {
        let lines = &all.b[panel * LINES * all.inner..][..LINES * all.inner];
        let bias = &all.bias[panel * LINES..][..LINES];
        for half in 0..LINES {
            let mut sums = [bias[half].0; HIGH];
            for k in 0..all.inner {
                let line = &lines[k * LINES + half].0;
                for (at, sums) in sums.iter_mut().enumerate().take(height) {
                    let factor = all.a[(row + at) * all.a_stride + k];
                    for (sum, number) in sums.iter_mut().zip(line) {
                        *sum += factor * number;
                    }
                }
            }
            for (at, sums) in sums.iter().enumerate().take(height) {
                let start = (row + at) * all.out_stride + panel * PANEL + half * LINE;
                all.out[start..start + LINE].copy_from_slice(sums);
            }
        }
    });
}
