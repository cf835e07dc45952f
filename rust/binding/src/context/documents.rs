//! Documents made ready: one, or many at once.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use sparecall_core::context::{Document, Kind, Lines, Reading};
use sparecall_core::error::Error;
use sparecall_core::tokens::{Encoding, TokenizerScratch};

use super::DETACH_ABOVE;
use crate::error::{guard, to_python};
use crate::text::Text;
use crate::tokens::{Chosen, check_length, with_scratch};

/// Texts of fewer bytes for each thread are not worth starting it.
const THREAD_WORTH: usize = 64 * 1024;
/// So much memory of threads is kept for others.
const MOST_SPARE: usize = 8;

/// A text in segments, with the tokens, words and values of each. Immutable.
#[pyclass(frozen, module = "sparecall._core", name = "ContextDocument")]
pub(crate) struct ContextDocument {
    pub(super) inner: Document,
}

impl ContextDocument {
    fn read(
        text: &str,
        tokens: Option<usize>,
        reading: Reading<'_>,
        encoding: &Encoding,
        scratch: &mut TokenizerScratch,
    ) -> Self {
        let scratch = &mut scratch.fast;
        let tokens = tokens.unwrap_or_else(|| encoding.count_with(text, scratch));
        Self { inner: Document::read(text, tokens, reading, encoding, scratch) }
    }
}

#[pymethods]
#[allow(clippy::needless_pass_by_value)] // what pyo3 hands over
impl ContextDocument {
    #[new]
    #[pyo3(signature = (text, encoding, /, *, compact = false, tokens = None, kind = None, worth = None, owners = None))]
    #[allow(clippy::too_many_arguments)] // keywords of one Python function
    fn new(
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
        encoding: Chosen,
        compact: bool,
        tokens: Option<usize>,
        kind: Option<&str>,
        worth: Option<Vec<f32>>,
        owners: Option<Vec<String>>,
    ) -> PyResult<Self> {
        guard(py, || {
            let text = Text::of(text, "text")?;
            let length = check_length(py, "text", &text)?;
            let kind = kind.map(|name| kind_of(py, name)).transpose()?;
            if worth.is_some() || owners.is_some() {
                let lines = text.utf8().split_inclusive('\n').count();
                let refuse = |name, value, limit: &str| {
                    let limit = format!("give one for each of the {lines} lines{limit}");
                    Err(to_python(py, &Error::InvalidArgument { name, value, limit }))
                };
                let worth = worth.as_deref().unwrap_or_default();
                if worth.len() != lines || worth.iter().any(|one| !one.is_finite() || *one < 0.0) {
                    return refuse("worth", format!("{} numbers", worth.len()), ", 0 or more");
                }
                if let Some(owners) = owners.as_ref().filter(|owners| owners.len() != lines) {
                    return refuse("owners", format!("{} paths", owners.len()), ", beside worth");
                }
            }
            let work = || {
                let text = text.utf8();
                let lines =
                    worth.as_deref().map(|worth| Lines { worth, owners: owners.as_deref().unwrap_or_default() });
                let reading = Reading { may_be_compact: compact, kind, lines };
                with_scratch(|scratch| Self::read(&text, tokens, reading, &encoding, scratch))
            };
            Ok(if length > DETACH_ABOVE { py.detach(work) } else { work() })
        })
    }

    /// The text, in its compact form where that has fewer tokens.
    #[getter]
    fn text(&self) -> &str {
        self.inner.text()
    }

    /// Whether `text` is the compact form of what came.
    #[getter]
    fn is_compact(&self) -> bool {
        self.inner.is_compact()
    }

    /// The text with a few words in place of encoded bytes that are many; None where there are none.
    #[getter]
    fn without_data(&self) -> Option<String> {
        self.inner.without_data()
    }

    /// What the text looks like: `json`, `diff`, `test`, `log`, `code`, `data` or `prose`.
    #[getter]
    fn kind(&self) -> &'static str {
        self.inner.kind().name()
    }

    /// The tokens of `text`.
    #[getter]
    fn tokens(&self) -> u32 {
        self.inner.tokens()
    }

    /// The bytes it takes in memory, about.
    #[getter]
    fn size(&self) -> usize {
        self.inner.size()
    }

    /// How many segments it has.
    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn __repr__(&self) -> String {
        format!("ContextDocument({}, {} tokens in {} segments)", self.kind(), self.tokens(), self.inner.len())
    }
}

fn kind_of(py: Python<'_>, name: &str) -> PyResult<Kind> {
    Kind::by_name(name).ok_or_else(|| {
        let limit = "json, diff, test, log, code, data or prose".to_owned();
        to_python(py, &Error::InvalidArgument { name: "kind", value: format!("{name:?}"), limit })
    })
}

/// Read many texts, on several processors where that pays; see `_core.pyi`.
#[pyfunction]
#[pyo3(signature = (texts, encoding, /))]
#[allow(clippy::needless_pass_by_value)] // what pyo3 hands over
pub(crate) fn context_documents(
    py: Python<'_>,
    texts: Vec<(Bound<'_, PyAny>, bool, Option<usize>)>,
    encoding: Chosen,
) -> PyResult<Vec<ContextDocument>> {
    guard(py, || {
        let mut length = 0;
        let mut wanted = Vec::with_capacity(texts.len());
        for (text, compact, tokens) in &texts {
            let text = Text::of(text, "text")?;
            length += check_length(py, "text", &text)?;
            wanted.push(Wanted { text, may_be_compact: *compact, tokens: *tokens });
        }
        let most = wanted.len().min(length / THREAD_WORTH);
        // Asking how many processors there are reads files.
        let cores = if most > 1 { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 };
        let mut spare = take_spare(py, cores.min(most).saturating_sub(1));
        let mut work = || read_all(&wanted, &encoding, &mut spare);
        let done = if length > DETACH_ABOVE { py.detach(work) } else { work() };
        put_spare(py, spare);
        Ok(done)
    })
}

/// A text, and how it is to be read.
struct Wanted<'a> {
    text: Text<'a>,
    may_be_compact: bool,
    tokens: Option<usize>,
}

/// Reads texts on this thread and one more for each of `spare`; each takes the longest that none has taken.
fn read_all(wanted: &[Wanted<'_>], encoding: &Encoding, spare: &mut [TokenizerScratch]) -> Vec<ContextDocument> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|&at| Reverse(wanted[at].text.max_utf8_len()));
    let next = AtomicUsize::new(0);
    let work = |scratch: &mut TokenizerScratch| {
        let mut done = Vec::new();
        while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let one = &wanted[at];
            let reading = Reading { may_be_compact: one.may_be_compact, ..Reading::default() };
            done.push((at, ContextDocument::read(&one.text.utf8(), one.tokens, reading, encoding, scratch)));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = spare.iter_mut().map(|scratch| scope.spawn(|| work(scratch))).collect();
        let mut done = with_scratch(work);
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, document)| document).collect()
}

/// What threads that come and go have counted with, for the next ones. Locked only attached: who forks is attached, so no other thread
/// holds it then.
static SPARE: Mutex<Vec<TokenizerScratch>> = Mutex::new(Vec::new());

fn take_spare(_attached: Python<'_>, count: usize) -> Vec<TokenizerScratch> {
    let mut all = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = all.len().saturating_sub(count);
    let mut taken = all.split_off(kept);
    taken.resize_with(count, TokenizerScratch::default);
    taken
}

fn put_spare(_attached: Python<'_>, taken: Vec<TokenizerScratch>) {
    let mut all = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    all.extend(taken);
    all.truncate(MOST_SPARE);
}
