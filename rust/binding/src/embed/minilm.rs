//! `MiniLMEmbedder`: reads a model's folder, then embeds without the interpreter.

use std::fs::File;
use std::io::{self, Error, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::prelude::*;
use sparecall_embed::encoder::{Encoder, Files};

use super::{array, held, objects, views};
use crate::error::{guard, to_python};
use crate::file;
use crate::queue::Work;
use crate::text::Text;

/// Nanoseconds above which the interpreter is let go.
const DETACH_ABOVE: f64 = 500_000.0;
/// Bytes of a text whose tokens take half a millisecond to find, at worst.
const DETACH_TEXT_ABOVE: usize = 10_000;
/// The most bytes of the weights and of any other file. BERT's large model has 1.3 GB.
const MAX_WEIGHTS: u64 = 4 << 30;
const MAX_OTHER: u64 = 64 << 20;

/// A BERT-family sentence encoder, such as all-MiniLM-L6-v2, from the files of its folder.
#[pyclass(frozen, subclass, module = "sparecall.embed")]
pub(crate) struct MiniLMEmbedder {
    encoder: Arc<Encoder>,
}

#[pymethods]
impl MiniLMEmbedder {
    #[new]
    #[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
    fn new(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        guard(py, || {
            let read = || Folder::read(&folder);
            let folder = py.detach(read).map_err(|(error, path)| file::to_python(&error, &path))?;
            let encoder = py.detach(|| Encoder::read(&folder.files())).map_err(|error| to_python(py, &error))?;
            Ok(Self { encoder: Arc::new(encoder) })
        })
    }

    /// How many numbers a vector has.
    #[getter]
    fn dim(&self) -> usize {
        self.encoder.dim()
    }

    /// The most tokens of a text that are read.
    #[getter]
    fn max_tokens(&self) -> usize {
        self.encoder.max_tokens()
    }

    /// The vectors of `texts`, a row each.
    fn embed<'py>(&self, py: Python<'py>, texts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        guard(py, || {
            let objects = objects(texts)?;
            let (views, length) = views(&objects)?;
            let mut vectors = Vec::new();
            let mut work = || self.encoder.embed(views.iter().map(Text::utf8), &mut vectors);
            let long = self.encoder.predict(views.len(), length) > DETACH_ABOVE;
            let done = if long { py.detach(work) } else { work() };
            done.map_err(|error| to_python(py, &error))?;
            array(py, views.len(), self.encoder.dim(), &vectors)
        })
    }

    /// `embed` as work for the workers.
    fn _embed_work(&self, texts: &Bound<'_, PyAny>) -> PyResult<Work> {
        let (texts, length) = held(texts)?;
        let (encoder, dim) = (self.encoder.clone(), self.encoder.dim());
        let seconds = encoder.predict(texts.len(), length) / 1e9;
        let work = move || {
            let mut vectors = Vec::new();
            encoder.embed(texts.iter().map(|text| text.text().utf8()), &mut vectors).map(|()| vectors)
        };
        let finish = move |py: Python<'_>, vectors: Result<Vec<f32>, sparecall_core::error::Error>| {
            let vectors = vectors.map_err(|error| to_python(py, &error))?;
            array(py, vectors.len() / dim, dim, &vectors).map(Bound::unbind)
        };
        Ok(Work::new(seconds, work, finish))
    }

    /// The tokens of `text` that are read.
    fn token_ids(&self, py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
        guard(py, || {
            let text = Text::of(text, "text")?;
            let work = || self.encoder.token_ids(&text.utf8());
            Ok(if text.max_utf8_len() > DETACH_TEXT_ABOVE { py.detach(work) } else { work() })
        })
    }

    fn __repr__(&self) -> String {
        let encoder = &self.encoder;
        format!(
            "MiniLMEmbedder(dim={}, layers={}, max_tokens={})",
            encoder.dim(),
            encoder.layers(),
            encoder.max_tokens()
        )
    }
}

/// What is in the files of a folder; `None` for one that is not there and need not be.
struct Folder {
    weights: Vec<u8>,
    config: Vec<u8>,
    tokenizer: Option<Vec<u8>>,
    vocab: Option<Vec<u8>>,
    tokenizer_config: Option<Vec<u8>>,
    modules: Option<Vec<u8>>,
    pooling: Option<Vec<u8>>,
    sentence: Option<Vec<u8>>,
}

impl Folder {
    /// The files, or what went wrong with which.
    fn read(folder: &Path) -> Result<Self, (Error, PathBuf)> {
        let needed = |name: &str, most| read(&folder.join(name), most).map_err(|error| (error, folder.join(name)));
        let optional = |name: &str| match needed(name, MAX_OTHER) {
            Ok(bytes) => Ok(Some(bytes)),
            Err((error, _)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(other) => Err(other),
        };
        Ok(Self {
            config: needed("config.json", MAX_OTHER)?,
            tokenizer: optional("tokenizer.json")?,
            vocab: optional("vocab.txt")?,
            tokenizer_config: optional("tokenizer_config.json")?,
            modules: optional("modules.json")?,
            pooling: optional("1_Pooling/config.json")?,
            sentence: optional("sentence_bert_config.json")?,
            weights: needed("model.safetensors", MAX_WEIGHTS)?,
        })
    }

    fn files(&self) -> Files<'_> {
        Files {
            weights: &self.weights,
            config: &self.config,
            tokenizer: self.tokenizer.as_deref(),
            vocab: self.vocab.as_deref(),
            tokenizer_config: self.tokenizer_config.as_deref(),
            modules: self.modules.as_deref(),
            pooling: self.pooling.as_deref(),
            sentence: self.sentence.as_deref(),
        }
    }
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len().min(most);
    let mut bytes = Vec::with_capacity(size as usize);
    if file.take(most + 1).read_to_end(&mut bytes)? as u64 > most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("the file has more than {most} bytes, the limit")));
    }
    Ok(bytes)
}
