//! BERT-family sentence encoders: text to the unit vector that sentence-transformers gives.
//!
//! The forward pass is that of Devlin et al., "BERT", 2019, with the pooling of Reimers and Gurevych, "Sentence-BERT", 2019.

mod config;
mod forward;
mod kernels;
mod weights;

pub use config::Files;
use config::{Config, Pooling, json, refuse};
use forward::Buffers;
use serde::Deserialize;
use sparecall_core::error::{Error, Result};
use weights::Weights;

use crate::wordpiece::{Options, WordPiece};

/// Tokens that go through the layers together: enough to read the weights seldom, few enough for the nearer caches.
const TOGETHER: usize = 128;

/// A sentence encoder. Immutable; any number of threads may use it at once.
#[derive(Debug)]
pub struct Encoder {
    config: Config,
    pooling: Pooling,
    max_tokens: usize,
    tokenizer: WordPiece,
    weights: Weights,
}

#[derive(Deserialize)]
struct TokenizerConfig {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
}

impl Encoder {
    /// Reads the files of a model. They are checked before anything is used; what is not supported is an error.
    pub fn read(files: &Files<'_>) -> Result<Self> {
        let config = Config::read(files.config)?;
        let pooling = config::pooling(files)?;
        let max_tokens = config::max_tokens(files, &config)?;
        let tokenizer = tokenizer(files)?;
        if tokenizer.highest_id() as usize >= config.vocab_size {
            return Err(refuse(format!(
                "the tokenizer has the id {}, but config.json a vocab_size of {}",
                tokenizer.highest_id(),
                config.vocab_size
            )));
        }
        let weights = Weights::read(files.weights, &config)?;
        Ok(Self { config, pooling, max_tokens, tokenizer, weights })
    }

    /// Numbers in a vector.
    pub fn dim(&self) -> usize {
        self.config.hidden_size
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.config.num_hidden_layers
    }

    /// The most tokens of a text, `[CLS]` and `[SEP]` with them; what goes beyond is cut off.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The ids of `text` that the encoder reads, those of `[CLS]` and `[SEP]` with them.
    pub fn token_ids(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.tokenizer.encode(text, self.max_tokens, &mut ids);
        ids
    }

    /// About how many nanoseconds it takes to embed texts of so many bytes in all.
    pub fn predict(&self, texts: usize, bytes: usize) -> f64 {
        /// Of one multiplication and addition, and of a weight that must come from memory.
        const MULTIPLY: f64 = 0.025;
        const READ: f64 = 0.25;
        let (hidden, between) = (self.config.hidden_size as f64, self.config.intermediate_size as f64);
        let weights = self.config.num_hidden_layers as f64 * hidden * (4.0 * hidden + 2.0 * between);
        let tokens = (bytes / 4 + 2 * texts).min(self.max_tokens.saturating_mul(texts)) as f64;
        weights * (tokens * MULTIPLY + (tokens / TOGETHER as f64).min(1.0).ceil() * READ) + bytes as f64
    }

    /// Appends the vector of each text, of length 1, to `vectors`. An error where the weights give numbers that are not finite.
    pub fn embed<T: AsRef<str>>(&self, texts: impl IntoIterator<Item = T>, vectors: &mut Vec<f32>) -> Result<()> {
        let mut batch = Batch { encoder: self, ids: Vec::new(), texts: Vec::new(), buffers: Buffers::default() };
        for text in texts {
            batch.add(text.as_ref(), vectors)?;
        }
        batch.flush(vectors)
    }
}

/// Texts on their way through the layers together.
struct Batch<'a> {
    encoder: &'a Encoder,
    ids: Vec<u32>,
    texts: Vec<std::ops::Range<usize>>,
    buffers: Buffers,
}

impl Batch<'_> {
    fn add(&mut self, text: &str, vectors: &mut Vec<f32>) -> Result<()> {
        let start = self.ids.len();
        self.encoder.tokenizer.encode(text, self.encoder.max_tokens, &mut self.ids);
        if start > 0 && self.ids.len() > TOGETHER {
            let own = self.ids.split_off(start);
            self.flush(vectors)?;
            self.ids = own;
        }
        let start = self.texts.last().map_or(0, |text| text.end);
        self.texts.push(start..self.ids.len());
        Ok(())
    }

    fn flush(&mut self, vectors: &mut Vec<f32>) -> Result<()> {
        if self.texts.is_empty() {
            return Ok(());
        }
        let Encoder { config, pooling, weights, .. } = self.encoder;
        let dim = config.hidden_size;
        let rows = forward::run(config, weights, &self.ids, &self.texts, &mut self.buffers);
        for text in &self.texts {
            let own = match pooling {
                Pooling::Mean => text.clone(),
                Pooling::First => text.start..text.start + 1,
            };
            let start = vectors.len();
            vectors.resize(start + dim, 0.0);
            for row in rows[own.start * dim..own.end * dim].chunks_exact(dim) {
                vectors[start..].iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
            }
            normalise(&mut vectors[start..])?;
        }
        self.ids.clear();
        self.texts.clear();
        Ok(())
    }
}

fn normalise(vector: &mut [f32]) -> Result<()> {
    let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return Err(refuse("its weights give a text a vector without a direction"));
    }
    for number in vector {
        *number = (f64::from(*number) / length) as f32;
    }
    Ok(())
}

fn tokenizer(files: &Files<'_>) -> Result<WordPiece> {
    if let Some(file) = files.tokenizer {
        return WordPiece::from_json(file).map_err(|error| in_file("tokenizer.json", error));
    }
    let file = files.vocab.ok_or_else(|| refuse("there is neither a tokenizer.json nor a vocab.txt"))?;
    let mut options = Options::default();
    if let Some(file) = files.tokenizer_config {
        let given: TokenizerConfig = json("tokenizer_config.json", file)?;
        options.lowercase = given.do_lower_case.unwrap_or(options.lowercase);
        options.strip_accents = given.strip_accents;
        options.handle_chinese_chars = given.tokenize_chinese_chars.unwrap_or(options.handle_chinese_chars);
    }
    WordPiece::from_vocab(file, options).map_err(|error| in_file("vocab.txt", error))
}

/// Says which of a model's files an error is of.
fn in_file(name: &str, error: Error) -> Error {
    match error {
        Error::TokenizerFile { what } => Error::TokenizerFile { what: format!("{name}: {what}") },
        other => other,
    }
}
