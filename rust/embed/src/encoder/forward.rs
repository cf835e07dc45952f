//! The forward pass over some texts at once. Their tokens stand one below the other, without padding: products take all rows
//! together, attention each text by itself.

use std::ops::Range;

use super::config::{Config, MAX_POSITIONS};
use super::kernels::{self, Kernels, LINE, Line, PANEL, Product};
use super::weights::{Layer, Linear, Weights, pack_column};

/// The buffers of a pass, kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// The vectors of the tokens.
    rows: Vec<f32>,
    attention: Vec<f32>,
    context: Vec<f32>,
    intermediate: Vec<f32>,
    out: Vec<f32>,
    scores: Vec<f32>,
    keys: Vec<Line>,
    values: Vec<Line>,
}

/// A zero bias, as wide as the keys of the longest text or the values of the widest head.
static ZEROS: [Line; MAX_POSITIONS / LINE] = [Line::ZERO; MAX_POSITIONS / LINE];

struct Pass<'a> {
    kernels: &'static Kernels,
    config: &'a Config,
    /// Where each text's tokens stand.
    texts: &'a [Range<usize>],
    tokens: usize,
}

/// The vectors that the last layer gives the tokens of some texts: a row for each of `ids`. No id and no text's length is beyond
/// what the weights have.
pub(super) fn run<'a>(
    config: &Config,
    weights: &Weights,
    ids: &[u32],
    texts: &[Range<usize>],
    buffers: &'a mut Buffers,
) -> &'a [f32] {
    let pass = Pass { kernels: kernels::get(), config, texts, tokens: ids.len() };
    pass.embed(weights, ids, &mut buffers.rows);
    for layer in &weights.layers {
        pass.layer(layer, buffers);
    }
    &buffers.rows
}

impl Pass<'_> {
    fn embed(&self, weights: &Weights, ids: &[u32], rows: &mut Vec<f32>) {
        let hidden = self.config.hidden_size;
        rows.clear();
        for text in self.texts {
            for (id, position) in ids[text.clone()].iter().zip(weights.positions.chunks_exact(hidden)) {
                let start = rows.len();
                rows.extend_from_slice(&weights.words[*id as usize * hidden..][..hidden]);
                (self.kernels.add_norm)(&mut rows[start..], position, &weights.norm);
            }
        }
    }

    fn layer(&self, layer: &Layer, buffers: &mut Buffers) {
        let hidden = self.config.hidden_size;
        self.linear(&layer.attention, &buffers.rows, hidden, &mut buffers.attention);
        let context = self.attend(layer.attention.width(), buffers);
        self.linear(&layer.attention_out, &buffers.context, context, &mut buffers.out);
        self.add_norm(&layer.attention_norm, &layer.attention_out, &mut buffers.rows, &buffers.out);
        self.linear(&layer.intermediate, &buffers.rows, hidden, &mut buffers.intermediate);
        let between = layer.intermediate.width();
        (self.kernels.gelu)(&mut buffers.intermediate[..self.tokens * between]);
        self.linear(&layer.out, &buffers.intermediate, between, &mut buffers.out);
        self.add_norm(&layer.out_norm, &layer.out, &mut buffers.rows, &buffers.out);
    }

    fn linear(&self, layer: &Linear, a: &[f32], a_stride: usize, out: &mut Vec<f32>) {
        let out_stride = layer.width();
        grow(out, self.tokens * out_stride);
        (self.kernels.product)(Product {
            a,
            a_stride,
            rows: self.tokens,
            inner: layer.inner,
            b: &layer.panels,
            bias: &layer.bias,
            out,
            out_stride,
        });
    }

    fn add_norm(&self, norm: &kernels::Norm, layer: &Linear, rows: &mut [f32], more: &[f32]) {
        let hidden = self.config.hidden_size;
        for (row, more) in rows.chunks_exact_mut(hidden).zip(more.chunks_exact(layer.width())) {
            (self.kernels.add_norm)(row, &more[..hidden], norm);
        }
    }

    /// Attention of each text's tokens to each other, head by head. Returns from where to where a row of the context is.
    fn attend(&self, stride: usize, buffers: &mut Buffers) -> usize {
        let (hidden, head) = (self.config.hidden_size, self.config.head());
        let wide = head.next_multiple_of(PANEL);
        // A head's columns are written with those beyond its last: the next head overwrites them, and the last one's have room.
        let context = hidden + wide - head;
        grow(&mut buffers.context, self.tokens * context);
        for text in self.texts {
            let length = text.len();
            let across = length.next_multiple_of(PANEL);
            grow(&mut buffers.scores, length * across);
            clear(&mut buffers.keys, across / LINE * head);
            clear(&mut buffers.values, wide / LINE * length);
            let rows = &buffers.attention[text.start * stride..text.end * stride];
            for at in (0..hidden).step_by(head) {
                for (token, row) in rows.chunks_exact(stride).enumerate() {
                    pack_column(&mut buffers.keys, head, token, &row[hidden + at..][..head]);
                    pack_row(&mut buffers.values, length, token, &row[2 * hidden + at..][..head]);
                }
                (self.kernels.product)(Product {
                    a: &rows[at..],
                    a_stride: stride,
                    rows: length,
                    inner: head,
                    b: &buffers.keys,
                    bias: &ZEROS[..across / LINE],
                    out: &mut buffers.scores,
                    out_stride: across,
                });
                for row in buffers.scores.chunks_exact_mut(across).take(length) {
                    (self.kernels.softmax)(&mut row[..length]);
                }
                (self.kernels.product)(Product {
                    a: &buffers.scores,
                    a_stride: across,
                    rows: length,
                    inner: length,
                    b: &buffers.values,
                    bias: &ZEROS[..wide / LINE],
                    out: &mut buffers.context[text.start * context + at..],
                    out_stride: context,
                });
            }
        }
        context
    }
}

/// Writes one row into panels of `inner` rows.
fn pack_row(panels: &mut [Line], inner: usize, row: usize, numbers: &[f32]) {
    let lines = PANEL / LINE;
    for (at, numbers) in numbers.chunks(LINE).enumerate() {
        panels[at / lines * inner * lines + row * lines + at % lines].0[..numbers.len()].copy_from_slice(numbers);
    }
}

/// Makes room for `length` numbers, whatever they are.
fn grow(buffer: &mut Vec<f32>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
}

fn clear(lines: &mut Vec<Line>, length: usize) {
    lines.clear();
    lines.resize(length, Line::ZERO);
}
