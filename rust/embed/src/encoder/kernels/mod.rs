//! The inner loops of the encoder, one set for each instruction set; `get` hands out the set in force.
//!
//! All sets read the same packed weights: a panel is 32 columns, and in it two lines, of 16 numbers, for each inner index.
//! Sets may round differently.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod math;
mod portable;

use sparecall_core::cpu::{self, Level};

/// Columns of a panel.
pub(super) const PANEL: usize = 32;
/// Numbers in a line.
pub(super) const LINE: usize = 16;
/// Lines of a panel for each inner index.
const LINES: usize = PANEL / LINE;

/// A cache line of numbers.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [f32; LINE]);

impl Line {
    pub(super) const ZERO: Self = Self([0.0; LINE]);
}

/// `out = a * b + bias`: `a` has `rows` rows of `inner` numbers, `b` panels of `inner` rows. Each panel's 32 columns are written.
pub(super) struct Product<'a> {
    pub(super) a: &'a [f32],
    /// From one row of `a` to the next.
    pub(super) a_stride: usize,
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) b: &'a [Line],
    /// As wide as all panels.
    pub(super) bias: &'a [Line],
    pub(super) out: &'a mut [f32],
    pub(super) out_stride: usize,
}

impl Product<'_> {
    /// How many panels there are. Panics unless every slice has the length that the unchecked loops rely on.
    fn check(&self) -> usize {
        let panels = self.bias.len() / LINES;
        assert!(self.rows > 0 && panels > 0);
        assert!(self.bias.len() == panels * LINES && self.b.len() == panels * LINES * self.inner);
        assert!(self.a.len() >= (self.rows - 1) * self.a_stride + self.inner);
        assert!(self.out.len() >= (self.rows - 1) * self.out_stride + panels * PANEL);
        panels
    }

    /// Calls `tile` for each panel with some rows at a time, at most `high`: the panel, its first line, the first row and how many.
    fn tiles(&mut self, panels: usize, high: usize, mut tile: impl FnMut(&mut Self, usize, usize, usize)) {
        // Tiles of much the same height: a low one would wait for its sums.
        let tiles = self.rows.div_ceil(high);
        let (height, higher) = (self.rows / tiles, self.rows % tiles);
        for panel in 0..panels {
            let mut row = 0;
            for at in 0..tiles {
                let height = height + usize::from(at < higher);
                tile(self, panel, row, height);
                row += height;
            }
        }
    }
}

/// One set of inner loops.
pub(super) struct Kernels {
    pub(super) product: fn(Product<'_>),
    /// `x * Phi(x)` of each number, Phi by its error function.
    pub(super) gelu: fn(&mut [f32]),
    /// Makes a row shares of one.
    pub(super) softmax: fn(&mut [f32]),
    /// Adds `more` to a row, then makes its mean 0 and its variance 1, times `weight`, plus `bias`.
    pub(super) add_norm: fn(row: &mut [f32], more: &[f32], norm: &Norm),
}

/// The parameters of a `LayerNorm`.
#[derive(Debug)]
pub(super) struct Norm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) epsilon: f32,
}

/// The set for the level in force.
pub(super) fn get() -> &'static Kernels {
    for_level(cpu::level())
}

fn for_level(level: Level) -> &'static Kernels {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vbmi | Level::Avx512 => &avx512::KERNELS,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => &avx2::KERNELS,
        _ => &portable::KERNELS,
    }
}
