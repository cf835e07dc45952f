//! `sparecall.tokens.Encoding`: texts to ids and back, under tiktoken's method names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PySet, PyString, PyTuple};
use sparecall_core::tokens::{MAX_FILE, Pattern, Tokenizer, TokenizerScratch};

use super::chosen::Chosen;
use super::special::{Names, Rules, disallowed};
use super::{DETACH_ABOVE, check_length, objects, views, with_scratch};
use crate::error::{guard, to_python, wrong_type};
use crate::file;
use crate::text::Text;

/// Texts of fewer bytes than this for each thread are not worth starting it.
const THREAD_WORTH: usize = 256 * 1024;
/// Decoding as many tokens takes about as long as counting [`DETACH_ABOVE`] bytes.
const DETACH_ABOVE_TOKENS: usize = 32 * 1024;

/// Texts to tokens and back, with the method names of tiktoken's `Encoding`. Made by `get_encoding` and `load_encoding`.
#[pyclass(frozen, module = "sparecall._core")]
pub(crate) struct TokenEncoding {
    tokenizer: Handle,
}

enum Handle {
    Shipped(&'static Tokenizer),
    Loaded(Arc<Tokenizer>),
}

#[pymethods]
impl TokenEncoding {
    /// The name of the encoding.
    #[getter]
    pub(super) fn name(&self) -> &str {
        self.tokenizer().name()
    }

    /// The highest id.
    #[getter]
    fn max_token_value(&self) -> u32 {
        self.tokenizer().max_id()
    }

    /// The highest id and 1.
    #[getter]
    fn n_vocab(&self) -> u32 {
        self.max_token_value() + 1
    }

    /// The id of `<|endoftext|>`.
    #[getter]
    fn eot_token(&self) -> PyResult<u32> {
        let text = "<|endoftext|>";
        let special = self.tokenizer().specials().iter().find(|special| special.text == text);
        special.map(|special| special.id).ok_or_else(|| PyKeyError::new_err(text))
    }

    /// The texts of the special tokens.
    #[getter]
    fn special_tokens_set<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PySet>> {
        let special = self.tokenizer().specials().iter().filter(|special| special.special);
        PySet::new(py, special.map(|special| special.text.as_str()))
    }

    /// Count the tokens of `text` without special ones.
    fn count(&self, py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<usize> {
        guard(py, || {
            let text = Text::of(text, "text")?;
            let length = check_length(py, "text", &text)?;
            let work = || with_scratch(|scratch| self.tokenizer().count(&text.utf8(), scratch));
            Ok(if length > DETACH_ABOVE { py.detach(work) } else { work() })
        })
    }

    /// Count the tokens of each of `texts`, in their order.
    fn count_many(&self, py: Python<'_>, texts: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
        guard(py, || {
            let texts = objects(texts, "texts")?;
            let (views, length) = views(py, &texts, "texts")?;
            let count = |text: &Text<'_>, scratch: &mut TokenizerScratch| self.tokenizer().count(&text.utf8(), scratch);
            let work = || with_scratch(|scratch| views.iter().map(|text| count(text, scratch)).collect());
            Ok(if length > DETACH_ABOVE { py.detach(work) } else { work() })
        })
    }

    /// Encode `text`; special tokens in it are plain text.
    fn encode_ordinary<'py>(&self, py: Python<'py>, text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.ids(py, text, &Rules::ordinary())?)
    }

    /// Encode `text`; special tokens in it are tokens where allowed, and an error where disallowed.
    #[pyo3(signature = (text, *, allowed_special = Names::These(Vec::new()), disallowed_special = Names::All),
           text_signature = "($self, text, *, allowed_special=(), disallowed_special='all')")]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        allowed_special: Names,
        disallowed_special: Names,
    ) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.ids(py, text, &Rules::new(allowed_special, disallowed_special))?)
    }

    /// Encode `text` as `encode` does, into a numpy array of `uint32`.
    #[pyo3(signature = (text, *, allowed_special = Names::These(Vec::new()), disallowed_special = Names::All),
           text_signature = "($self, text, *, allowed_special=(), disallowed_special='all')")]
    fn encode_to_numpy<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        allowed_special: Names,
        disallowed_special: Names,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ids = self.ids(py, text, &Rules::new(allowed_special, disallowed_special))?;
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_ne_bytes()).collect();
        py.import("numpy")?.call_method1("frombuffer", (PyBytes::new(py, &bytes), "uint32"))
    }

    /// Encode each of the texts as `encode_ordinary` does, long ones on several threads.
    #[pyo3(signature = (text, *, num_threads = 8))]
    fn encode_ordinary_batch<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        num_threads: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.ids_of_many(py, text, num_threads, &Rules::ordinary())?)
    }

    /// Encode each of the texts as `encode` does, long ones on several threads.
    #[pyo3(signature = (text, *, num_threads = 8, allowed_special = Names::These(Vec::new()), disallowed_special = Names::All),
           text_signature = "($self, text, *, num_threads=8, allowed_special=(), disallowed_special='all')")]
    fn encode_batch<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        num_threads: usize,
        allowed_special: Names,
        disallowed_special: Names,
    ) -> PyResult<Bound<'py, PyList>> {
        let rules = Rules::new(allowed_special, disallowed_special);
        PyList::new(py, self.ids_of_many(py, text, num_threads, &rules)?)
    }

    /// The id of the token that is this text or these bytes, special ones too.
    fn encode_single_token(&self, py: Python<'_>, text_or_bytes: &Bound<'_, PyAny>) -> PyResult<u32> {
        guard(py, || {
            let id = if let Ok(bytes) = text_or_bytes.cast::<PyBytes>() {
                self.tokenizer().id(bytes.as_bytes())
            } else if let Ok(text) = text_or_bytes.cast::<PyString>() {
                self.tokenizer().id(text.to_str()?.as_bytes())
            } else {
                return Err(wrong_type("text_or_bytes", "str or bytes", text_or_bytes));
            };
            id.ok_or_else(|| PyKeyError::new_err("these bytes are no token of this encoding"))
        })
    }

    /// The bytes that the tokens spell.
    fn decode_bytes<'py>(&self, py: Python<'py>, tokens: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.bytes(py, tokens)?))
    }

    /// The text that the tokens spell; `errors` says what becomes of bytes that are no UTF-8, as in `bytes.decode`.
    #[pyo3(signature = (tokens, errors = "replace"))]
    fn decode<'py>(&self, py: Python<'py>, tokens: &Bound<'py, PyAny>, errors: &str) -> PyResult<Bound<'py, PyString>> {
        read(py, &self.bytes(py, tokens)?, errors)
    }

    /// The bytes of one token.
    fn decode_single_token_bytes<'py>(&self, py: Python<'py>, token: u32) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.token(token)?))
    }

    /// The bytes of each of the tokens.
    fn decode_tokens_bytes<'py>(
        &self,
        py: Python<'py>,
        tokens: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        ids_of(tokens)?.into_iter().map(|token| self.decode_single_token_bytes(py, token)).collect()
    }

    /// The text that the tokens spell, and for each token the place in it of the first character with a byte of it.
    fn decode_with_offsets<'py>(
        &self,
        py: Python<'py>,
        tokens: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyString>, Vec<usize>)> {
        let goes_on = |byte: &u8| (0x80..0xc0).contains(byte);
        let (mut bytes, mut offsets, mut characters) = (Vec::new(), Vec::new(), 0_usize);
        for token in ids_of(tokens)? {
            let token = self.token(token)?;
            offsets.push(characters.saturating_sub(usize::from(token.first().is_some_and(goes_on))));
            characters += token.iter().filter(|byte| !goes_on(byte)).count();
            bytes.extend_from_slice(token);
        }
        Ok((read(py, &bytes, "strict")?, offsets))
    }

    /// The text of each of the lists of tokens.
    #[pyo3(signature = (batch, *, errors = "replace", num_threads = 8))]
    fn decode_batch<'py>(
        &self,
        py: Python<'py>,
        batch: &Bound<'py, PyAny>,
        errors: &str,
        num_threads: usize,
    ) -> PyResult<Vec<Bound<'py, PyString>>> {
        let _ = num_threads; // decoding is a copy: threads would wait for the interpreter
        batch.try_iter()?.map(|tokens| self.decode(py, &tokens?, errors)).collect()
    }

    /// The bytes of each of the lists of tokens.
    #[pyo3(signature = (batch, *, num_threads = 8))]
    fn decode_bytes_batch<'py>(
        &self,
        py: Python<'py>,
        batch: &Bound<'py, PyAny>,
        num_threads: usize,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let _ = num_threads;
        batch.try_iter()?.map(|tokens| self.decode_bytes(py, &tokens?)).collect()
    }

    /// The bytes of every token of the vocabulary, sorted; special tokens that were added to it are left out.
    fn token_byte_values<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let mut tokens: Vec<&[u8]> = self.tokenizer().tokens().collect();
        tokens.sort_unstable();
        tokens.into_iter().map(|token| PyBytes::new(py, token)).collect()
    }

    /// Whether the id is that of a special token.
    fn is_special_token(&self, token: u32) -> bool {
        self.tokenizer().special(token).is_some_and(|special| special.special)
    }

    fn __repr__(&self) -> String {
        format!("<Encoding {:?}>", self.name())
    }

    /// A shipped encoding is pickled and copied by its name.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        match &self.tokenizer {
            Handle::Shipped(tokenizer) => {
                let get = py.import("sparecall._core")?.getattr("tokens_get_encoding")?;
                Ok((get, PyTuple::new(py, [tokenizer.name()])?))
            }
            Handle::Loaded(_) => Err(PyTypeError::new_err(
                "an encoding loaded from a file cannot be pickled or copied: load the file where it is needed",
            )),
        }
    }
}

impl TokenEncoding {
    /// What counts as it does, special tokens aside, where its text is cut as it is.
    pub(super) fn chosen(&self) -> Option<Chosen> {
        match &self.tokenizer {
            Handle::Shipped(tokenizer) => tokenizer.plain().map(Chosen::Shipped),
            Handle::Loaded(tokenizer) => tokenizer.plain().map(|_| Chosen::Loaded(Arc::clone(tokenizer))),
        }
    }

    fn tokenizer(&self) -> &Tokenizer {
        match &self.tokenizer {
            Handle::Shipped(tokenizer) => tokenizer,
            Handle::Loaded(tokenizer) => tokenizer,
        }
    }

    fn ids(&self, py: Python<'_>, text: &Bound<'_, PyAny>, rules: &Rules) -> PyResult<Vec<u32>> {
        guard(py, || {
            let text = Text::of(text, "text")?;
            let length = check_length(py, "text", &text)?;
            let work = || with_scratch(|scratch| self.encode_view(&text, rules, scratch));
            let ids = if length > DETACH_ABOVE { py.detach(work) } else { work() };
            ids.map_err(|token| disallowed(py, &token))
        })
    }

    fn ids_of_many(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        num_threads: usize,
        rules: &Rules,
    ) -> PyResult<Vec<Vec<u32>>> {
        guard(py, || {
            let texts = objects(texts, "text")?;
            let (views, length) = views(py, &texts, "text")?;
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let threads = num_threads.min(cores).min(length / THREAD_WORTH).min(views.len()).max(1);
            let work = || self.encode_views(&views, threads, rules);
            let ids = if length > DETACH_ABOVE { py.detach(work) } else { work() };
            ids.map_err(|token| disallowed(py, &token))
        })
    }

    /// The ids of a text, or the special token that it may not hold.
    fn encode_view(&self, text: &Text<'_>, rules: &Rules, scratch: &mut TokenizerScratch) -> Result<Vec<u32>, String> {
        let text = text.utf8();
        if let Some(token) = rules.offence(self.tokenizer(), &text) {
            return Err(token);
        }
        let mut ids = Vec::new();
        self.tokenizer().encode(&text, rules.allowed(), scratch, &mut ids);
        Ok(ids)
    }

    /// The same for many, by as many threads; each takes the next text that none has taken.
    fn encode_views(&self, views: &[Text<'_>], threads: usize, rules: &Rules) -> Result<Vec<Vec<u32>>, String> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut scratch = TokenizerScratch::default();
            let mut done = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(text) = views.get(place) else { return done };
                done.push((place, self.encode_view(text, rules, &mut scratch)));
            }
        };
        let mut done = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            done
        });
        done.sort_unstable_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, ids)| ids).collect()
    }

    fn token(&self, token: u32) -> PyResult<&[u8]> {
        self.tokenizer().token(token).ok_or_else(|| PyKeyError::new_err(token))
    }

    fn bytes(&self, py: Python<'_>, tokens: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
        let tokens = ids_of(tokens)?;
        guard(py, || {
            let work = || {
                let mut bytes = Vec::new();
                for token in &tokens {
                    bytes.extend_from_slice(self.tokenizer().token(*token).ok_or(*token)?);
                }
                Ok(bytes)
            };
            let bytes = if tokens.len() > DETACH_ABOVE_TOKENS { py.detach(work) } else { work() };
            bytes.map_err(|token: u32| PyKeyError::new_err(format!("invalid token for decoding: {token}")))
        })
    }
}

fn ids_of(tokens: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    tokens.extract()
}

/// The text of bytes, by Python's own decoder where they are no UTF-8.
fn read<'py>(py: Python<'py>, bytes: &[u8], errors: &str) -> PyResult<Bound<'py, PyString>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(PyString::new(py, text)),
        Err(_) => Ok(PyBytes::new(py, bytes).call_method1("decode", ("utf-8", errors))?.cast_into()?),
    }
}

/// Get the shipped encoding of that name.
#[pyfunction]
pub(crate) fn tokens_get_encoding(py: Python<'_>, name: &str) -> PyResult<Py<TokenEncoding>> {
    static ENCODINGS: [PyOnceLock<Py<TokenEncoding>>; 3] = [const { PyOnceLock::new() }; 3];
    guard(py, || {
        let tokenizer = py.detach(|| Tokenizer::by_name(name)).map_err(|error| to_python(py, &error))?;
        let slot = Tokenizer::names().position(|known| known == name).unwrap_or(0);
        let encoding = ENCODINGS[slot]
            .get_or_try_init(py, || Py::new(py, TokenEncoding { tokenizer: Handle::Shipped(tokenizer) }));
        encoding.map(|encoding| encoding.clone_ref(py))
    })
}

#[allow(clippy::needless_pass_by_value)] // pyo3 hands paths over by value
/// Load an encoding from a `.tiktoken` file or the byte-level BPE of a `tokenizer.json`.
#[pyfunction]
#[pyo3(signature = (path, *, name = None, pattern = None, special_tokens = None))]
pub(crate) fn tokens_load_encoding(
    py: Python<'_>,
    path: PathBuf,
    name: Option<String>,
    pattern: Option<&str>,
    special_tokens: Option<BTreeMap<String, u32>>,
) -> PyResult<TokenEncoding> {
    guard(py, || {
        let pattern = pattern.map(Pattern::find).transpose().map_err(|error| to_python(py, &error))?;
        let name = name.unwrap_or_else(|| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let specials = special_tokens.unwrap_or_default().into_iter().collect();
        let tokenizer = py.detach(|| {
            let mut bytes = Vec::new();
            // One byte above the limit shows that there are too many.
            let read = File::open(&path).and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes));
            read.map(|_| Tokenizer::read(&name, &bytes, pattern, specials))
        });
        let tokenizer = tokenizer.map_err(|error| file::to_python(&error, &path))?;
        let tokenizer = tokenizer.map_err(|error| to_python(py, &error))?;
        Ok(TokenEncoding { tokenizer: Handle::Loaded(Arc::new(tokenizer)) })
    })
}
