//! What a model folder's small files say: the encoder's shape, its pooling and its longest text.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sparecall_core::error::{Error, Result};

const MAX_HIDDEN: usize = 1024;
const MAX_INTERMEDIATE: usize = 8192;
const MAX_LAYERS: usize = 64;
pub(super) const MAX_POSITIONS: usize = 8192;
const MAX_VOCABULARY: usize = 2_000_000;

/// The files of a model's folder, named as there. Those that may be missing are `None`.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// `model.safetensors`
    pub weights: &'a [u8],
    /// `config.json`
    pub config: &'a [u8],
    /// `tokenizer.json`; it comes before `vocab.txt`.
    pub tokenizer: Option<&'a [u8]>,
    /// `vocab.txt`
    pub vocab: Option<&'a [u8]>,
    /// `tokenizer_config.json`; read only with `vocab.txt`.
    pub tokenizer_config: Option<&'a [u8]>,
    /// `modules.json`
    pub modules: Option<&'a [u8]>,
    /// `1_Pooling/config.json`
    pub pooling: Option<&'a [u8]>,
    /// `sentence_bert_config.json`
    pub sentence: Option<&'a [u8]>,
}

/// `config.json`, as far as it matters.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    model_type: Option<String>,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) type_vocab_size: usize,
    pub(super) vocab_size: usize,
    #[serde(default = "epsilon")]
    pub(super) layer_norm_eps: f32,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
}

fn epsilon() -> f32 {
    1e-12
}

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    Mean,
    /// That of the first token, `[CLS]`.
    First,
}

#[derive(Deserialize)]
#[allow(clippy::struct_excessive_bools)] // the file's own switches
struct PoolingFile {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

#[derive(Deserialize)]
struct Sentence {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

impl Config {
    pub(super) fn read(file: &[u8]) -> Result<Self> {
        let config: Self = json("config.json", file)?;
        config.check_kind()?;
        let within = |name: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(refuse(format!("config.json: {name} is {value}; 1 to {most} are supported")))
        };
        within("hidden_size", config.hidden_size, MAX_HIDDEN)?;
        within("num_hidden_layers", config.num_hidden_layers, MAX_LAYERS)?;
        within("num_attention_heads", config.num_attention_heads, config.hidden_size)?;
        within("intermediate_size", config.intermediate_size, MAX_INTERMEDIATE)?;
        within("max_position_embeddings", config.max_position_embeddings, MAX_POSITIONS)?;
        within("type_vocab_size", config.type_vocab_size, 16)?;
        within("vocab_size", config.vocab_size, MAX_VOCABULARY)?;
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            return Err(refuse("config.json: hidden_size is no multiple of num_attention_heads"));
        }
        if config.max_position_embeddings < 2 {
            return Err(refuse("config.json: max_position_embeddings is 1; [CLS] and [SEP] take two"));
        }
        if !(config.layer_norm_eps >= 0.0 && config.layer_norm_eps < 1.0) {
            return Err(refuse("config.json: layer_norm_eps is not from 0 to 1"));
        }
        Ok(config)
    }

    fn check_kind(&self) -> Result<()> {
        let only = |name: &str, given: &Option<String>, supported: &str| match given.as_deref() {
            Some(other) if other != supported => {
                let other: String = other.chars().take(40).collect();
                Err(refuse(format!("config.json: the {name} {other} is not supported, only {supported} is")))
            }
            _ => Ok(()),
        };
        only("model_type", &self.model_type, "bert")?;
        only("hidden_act", &self.hidden_act, "gelu")?;
        only("position_embedding_type", &self.position_embedding_type, "absolute")
    }

    /// Numbers in the vector of a head.
    pub(super) fn head(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

/// The pooling, after a look at the modules that follow the encoder.
pub(super) fn pooling(files: &Files<'_>) -> Result<Pooling> {
    if let Some(file) = files.modules {
        let modules: Vec<Module> = json("modules.json", file)?;
        let known = |module: &Module| {
            ["Transformer", "Pooling", "Normalize"].contains(&module.kind.rsplit('.').next().unwrap_or_default())
        };
        if !modules.iter().all(known) {
            return Err(refuse("modules.json: only Transformer, Pooling and Normalize are supported"));
        }
    }
    let Some(file) = files.pooling else { return Ok(Pooling::Mean) };
    let modes: PoolingFile = json("1_Pooling/config.json", file)?;
    let others = modes.pooling_mode_max_tokens
        || modes.pooling_mode_mean_sqrt_len_tokens
        || modes.pooling_mode_weightedmean_tokens
        || modes.pooling_mode_lasttoken;
    match (modes.pooling_mode_mean_tokens, modes.pooling_mode_cls_token, others) {
        (true, false, false) => Ok(Pooling::Mean),
        (false, true, false) => Ok(Pooling::First),
        _ => Err(refuse("1_Pooling/config.json: the pooling must be that of mean tokens or that of the CLS token")),
    }
}

/// The most tokens of a text.
pub(super) fn max_tokens(files: &Files<'_>, config: &Config) -> Result<usize> {
    let Some(file) = files.sentence else { return Ok(config.max_position_embeddings) };
    let sentence: Sentence = json("sentence_bert_config.json", file)?;
    if sentence.do_lower_case {
        return Err(refuse("sentence_bert_config.json: do_lower_case is not supported, the tokenizer's own is"));
    }
    let most = sentence.max_seq_length.unwrap_or(config.max_position_embeddings);
    if !(2..=config.max_position_embeddings).contains(&most) {
        return Err(refuse(format!(
            "sentence_bert_config.json: max_seq_length is {most}; it must be from 2 to max_position_embeddings"
        )));
    }
    Ok(most)
}

pub(super) fn json<T: DeserializeOwned>(name: &str, file: &[u8]) -> Result<T> {
    serde_json::from_slice(file).map_err(|error| {
        refuse(format!(
            "{name}: it is not JSON, or a value is missing or has the wrong type, at line {} column {}",
            error.line(),
            error.column()
        ))
    })
}

pub(super) fn refuse(what: impl Into<String>) -> Error {
    Error::ModelFile { what: what.into() }
}
