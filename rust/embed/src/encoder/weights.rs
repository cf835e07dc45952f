//! An encoder's weights as they are used: packed into panels when they are loaded.

use sparecall_core::error::Result;

use super::config::Config;
use super::kernels::{LINE, Line, Norm, PANEL};
use crate::safetensors::SafeTensors;

/// A linear layer: `panels` of `inner` rows of 32 columns, and a bias as wide as they are. Columns beyond the last are zero.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) inner: usize,
    pub(super) panels: Vec<Line>,
    pub(super) bias: Vec<Line>,
}

impl Linear {
    /// Packs matrices of rows of `inner` numbers, one row a column, side by side.
    fn new(inner: usize, parts: &[(Vec<f32>, Vec<f32>)]) -> Self {
        let columns = parts.iter().map(|(_, bias)| bias.len()).sum::<usize>();
        let wide = columns.next_multiple_of(PANEL);
        let (mut panels, mut bias) = (vec![Line::ZERO; wide / LINE * inner], vec![Line::ZERO; wide / LINE]);
        let rows = parts.iter().flat_map(|(rows, bias)| rows.chunks_exact(inner).zip(bias));
        for (column, (row, number)) in rows.enumerate() {
            bias[column / LINE].0[column % LINE] = *number;
            pack_column(&mut panels, inner, column, row);
        }
        Self { inner, panels, bias }
    }

    /// Columns, with those beyond the last.
    pub(super) fn width(&self) -> usize {
        self.bias.len() * LINE
    }
}

/// Writes one column into panels of `inner` rows.
pub(super) fn pack_column(panels: &mut [Line], inner: usize, column: usize, numbers: &[f32]) {
    let lines = PANEL / LINE;
    let start = column / PANEL * inner * lines + column % PANEL / LINE;
    for (line, number) in panels[start..].iter_mut().step_by(lines).zip(numbers) {
        line.0[column % LINE] = *number;
    }
}

/// One layer of the encoder.
#[derive(Debug)]
pub(super) struct Layer {
    /// Queries, keys and values, the queries divided by the root of a head's size.
    pub(super) attention: Linear,
    pub(super) attention_out: Linear,
    pub(super) attention_norm: Norm,
    pub(super) intermediate: Linear,
    pub(super) out: Linear,
    pub(super) out_norm: Norm,
}

/// All weights of an encoder.
#[derive(Debug)]
pub(super) struct Weights {
    /// A row for each id.
    pub(super) words: Vec<f32>,
    /// A row for each position, that of the first type added.
    pub(super) positions: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
}

/// The tensors of an encoder, whose names may begin with `bert.`.
struct Reader<'a> {
    tensors: SafeTensors<'a>,
    prefix: &'static str,
    epsilon: f32,
}

impl Reader<'_> {
    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.tensors.numbers(&format!("{}{name}", self.prefix), shape)
    }

    fn norm(&self, name: &str, size: usize) -> Result<Norm> {
        Ok(Norm {
            weight: self.numbers(&format!("{name}.LayerNorm.weight"), &[size])?,
            bias: self.numbers(&format!("{name}.LayerNorm.bias"), &[size])?,
            epsilon: self.epsilon,
        })
    }

    fn matrix(&self, name: &str, columns: usize, inner: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        let rows = self.numbers(&format!("{name}.weight"), &[columns, inner])?;
        Ok((rows, self.numbers(&format!("{name}.bias"), &[columns])?))
    }

    fn linear(&self, name: &str, columns: usize, inner: usize) -> Result<Linear> {
        Ok(Linear::new(inner, &[self.matrix(name, columns, inner)?]))
    }

    fn layer(&self, at: usize, config: &Config) -> Result<Layer> {
        let (hidden, between) = (config.hidden_size, config.intermediate_size);
        let name = |part: &str| format!("encoder.layer.{at}.{part}");
        let part = |part: &str| self.matrix(&name(&format!("attention.self.{part}")), hidden, hidden);
        let mut query = part("query")?;
        let scale = 1.0 / (config.head() as f32).sqrt();
        query.0.iter_mut().chain(&mut query.1).for_each(|number| *number *= scale);
        Ok(Layer {
            attention: Linear::new(hidden, &[query, part("key")?, part("value")?]),
            attention_out: self.linear(&name("attention.output.dense"), hidden, hidden)?,
            attention_norm: self.norm(&name("attention.output"), hidden)?,
            intermediate: self.linear(&name("intermediate.dense"), between, hidden)?,
            out: self.linear(&name("output.dense"), hidden, between)?,
            out_norm: self.norm(&name("output"), hidden)?,
        })
    }
}

impl Weights {
    pub(super) fn read(file: &[u8], config: &Config) -> Result<Self> {
        let tensors = SafeTensors::read(file)?;
        let prefix = if tensors.contains("embeddings.word_embeddings.weight") { "" } else { "bert." };
        let reader = Reader { tensors, prefix, epsilon: config.layer_norm_eps };
        let hidden = config.hidden_size;
        let table = |name: &str, rows| reader.numbers(&format!("embeddings.{name}_embeddings.weight"), &[rows, hidden]);
        let types = table("token_type", config.type_vocab_size)?;
        let mut positions = table("position", config.max_position_embeddings)?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(number, of_type)| *number += of_type);
        }
        Ok(Self {
            words: table("word", config.vocab_size)?,
            positions,
            norm: reader.norm("embeddings", hidden)?,
            layers: (0..config.num_hidden_layers).map(|at| reader.layer(at, config)).collect::<Result<_>>()?,
        })
    }
}
