//! `sparecall.semantic`, its native part: profiles of texts, the decision and its verdicts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sparecall_core::semantic::{self, Evidence, Group, Kind, NAMES, Signals};

use crate::error::{guard, to_python};
use crate::queue::Work;
use crate::text::{HeldText, Text};

/// Above so many bytes a profile takes long enough to let go of the interpreter.
const DETACH_ABOVE: usize = 40_000;
/// Nanoseconds a byte that a profile is predicted to take.
const PROFILE: f64 = 12.5;

/// A text's side of a decision, made once: its words, numbers and names, bounded in size. Immutable.
#[pyclass(frozen, eq, module = "sparecall._core", name = "SemanticProfile")]
#[derive(PartialEq)]
pub(crate) struct Profile {
    inner: semantic::Profile,
}

#[pymethods]
impl Profile {
    #[new]
    #[pyo3(signature = (text, /))]
    fn new(py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<Self> {
        let text = Text::of(text, "text")?;
        let long = text.max_utf8_len() > DETACH_ABOVE;
        let work = || Self { inner: semantic::Profile::of(&text.utf8()) };
        guard(py, || Ok(if long { py.detach(work) } else { work() }))
    }

    /// A profile as work for the workers.
    #[staticmethod]
    fn _work(text: &Bound<'_, PyAny>) -> PyResult<Work> {
        let text = HeldText::of(text, "text")?;
        let seconds = PROFILE * text.text().max_utf8_len() as f64 / 1e9;
        let work = move || Self { inner: semantic::Profile::of(&text.text().utf8()) };
        Ok(Work::new(seconds, work, |py, profile| Ok(Py::new(py, profile)?.into_any())))
    }

    /// Bytes for `from_bytes`.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.to_bytes())
    }

    /// The profile that `to_bytes` wrote.
    #[staticmethod]
    #[pyo3(signature = (data, /))]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        guard(py, || match semantic::Profile::from_bytes(data) {
            Ok(inner) => Ok(Self { inner }),
            Err(error) => Err(to_python(py, &error)),
        })
    }

    /// Whether the other's text is this one up to case, spacing, punctuation and contractions.
    #[pyo3(signature = (other, /))]
    fn same(&self, other: &Self) -> bool {
        self.inner.same(&other.inner)
    }

    /// Whether the text has no word at all.
    #[getter]
    fn empty(&self) -> bool {
        self.inner.is_empty()
    }

    fn __repr__(&self) -> String {
        format!("SemanticProfile({} words)", self.inner.len())
    }
}

/// What was decided about one candidate. Immutable.
#[pyclass(frozen, module = "sparecall._core", name = "SemanticVerdict")]
pub(crate) struct Verdict {
    inner: semantic::Verdict,
}

#[pymethods]
impl Verdict {
    /// That the candidate's answer serves the query.
    #[getter]
    fn probability(&self) -> f64 {
        self.inner.probability
    }

    /// The upper limit of the share of wrong answers among what is served together with this.
    #[getter]
    fn upper(&self) -> f64 {
        self.inner.upper
    }

    /// Whether to serve it.
    #[getter]
    fn serve(&self) -> bool {
        self.inner.serve
    }

    /// Whether it is a hit that goes upstream all the same, for a verdict.
    #[getter]
    fn audit(&self) -> bool {
        self.inner.audit
    }

    /// Whether a fresh answer, should one come, is worth comparing with the candidate's.
    #[getter]
    fn compare(&self) -> bool {
        self.inner.compare
    }

    /// `respelt`, `plain` or `guarded`.
    #[getter]
    fn kind(&self) -> &'static str {
        match self.inner.kind {
            Kind::Respelt => "respelt",
            Kind::Plain => "plain",
            Kind::Guarded => "guarded",
        }
    }

    /// The guards that fired, in short words.
    #[getter]
    fn guards(&self) -> Vec<String> {
        self.inner.guards.words().collect()
    }

    /// The guards and what came of it, in short words.
    #[getter]
    fn why(&self) -> &str {
        &self.inner.why
    }

    fn __repr__(&self) -> String {
        let semantic::Verdict { serve, probability, upper, why, .. } = &self.inner;
        let serve = if *serve { "True" } else { "False" };
        format!("SemanticVerdict(serve={serve}, probability={probability:.4}, upper={upper:.4}, why={why:?})")
    }
}

/// Judges candidates under a limit on wrong hits, and learns from verdicts on answers. Thread-safe.
#[pyclass(frozen, module = "sparecall._core", name = "SemanticDecision")]
pub(crate) struct Decision {
    /// No Python code runs under it.
    inner: Mutex<semantic::Decision>,
}

impl Decision {
    fn lock(&self) -> MutexGuard<'_, semantic::Decision> {
        // A panic under the lock can at worst have lost a verdict.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of a group's offset; 0 is none.
fn key(name: &str) -> u64 {
    if name.is_empty() { 0 } else { semantic::key_of(name.as_bytes()) }
}

#[pymethods]
impl Decision {
    #[new]
    #[pyo3(signature = (*, max_error=0.02, audit_share=0.05, seed=0, embedder="other"))]
    fn new(py: Python<'_>, max_error: f64, audit_share: f64, seed: u64, embedder: &str) -> PyResult<Self> {
        let made = semantic::Decision::new(max_error, audit_share, seed, embedder);
        Ok(Self { inner: Mutex::new(made.map_err(|error| to_python(py, &error))?) })
    }

    /// Counts the words of a text that was stored, so that rare ones weigh more.
    #[pyo3(signature = (profile, /))]
    fn stored(&self, py: Python<'_>, profile: &Profile) -> PyResult<()> {
        guard(py, || {
            self.lock().stored(&profile.inner);
            Ok(())
        })
    }

    /// Decides about the best candidate of a query.
    #[allow(clippy::too_many_arguments)] // keyword arguments of Python
    #[pyo3(
        signature = (query, candidate, cosine, *, second=-2.0, density=1.0, age=0.0, scope="", category="", entry=None, max_error=None),
        text_signature = "($self, query, candidate, cosine, *, second=-2.0, density=1.0, age=0.0, scope='', category='', entry=None, max_error=None)"
    )]
    fn judge(
        &self,
        py: Python<'_>,
        query: &Profile,
        candidate: &Profile,
        cosine: f32,
        second: f32,
        density: f32,
        age: f32,
        scope: &str,
        category: &str,
        entry: Option<i64>,
        max_error: Option<f64>,
    ) -> PyResult<Verdict> {
        let signals = Signals { cosine, second, density, age };
        let entry = entry.map_or(0, |id| semantic::key_of(&id.to_le_bytes()));
        let group = Group { scope: key(scope), category: key(category), entry };
        guard(py, || {
            let judged = self.lock().judge(&query.inner, &candidate.inner, signals, group, max_error);
            match judged {
                Ok(inner) => Ok(Verdict { inner }),
                Err(error) => Err(to_python(py, &error)),
            }
        })
    }

    /// Learns whether the candidate's answer was right for the query.
    #[pyo3(signature = (verdict, *, correct, weight=1.0))]
    fn learn(&self, py: Python<'_>, verdict: &Verdict, correct: bool, weight: f64) -> PyResult<()> {
        let evidence: &Evidence = &verdict.inner.evidence;
        guard(py, || self.lock().learn(evidence, correct, weight).map_err(|error| to_python(py, &error)))
    }

    /// What is known of the decision's own errors.
    fn report(&self, py: Python<'_>) -> PyResult<Report> {
        guard(py, || Ok(Report { inner: self.lock().report() }))
    }

    /// All that was learnt, for `restore`; not the arguments.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = guard(py, || Ok(self.lock().to_bytes()))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Takes over what another decision of the same embedder had learnt.
    #[pyo3(signature = (data, /))]
    fn restore(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        guard(py, || self.lock().restore(data).map_err(|error| to_python(py, &error)))
    }

    fn __repr__(&self) -> String {
        let inner = self.lock();
        let (limit, share) = (inner.max_error(), inner.audit_share());
        format!("SemanticDecision(max_error={limit}, audit_share={share}, embedder={:?})", inner.embedder())
    }
}

/// What is known of a decision's errors. Immutable.
#[pyclass(frozen, module = "sparecall._core", name = "SemanticReport")]
pub(crate) struct Report {
    inner: semantic::Report,
}

#[pymethods]
impl Report {
    /// Candidates judged.
    #[getter]
    fn judged(&self) -> u64 {
        self.inner.judged
    }

    /// Of those, found good enough to serve.
    #[getter]
    fn hits(&self) -> u64 {
        self.inner.hits
    }

    /// Of those, served.
    #[getter]
    fn served(&self) -> u64 {
        self.inner.served
    }

    /// Hits with a verdict on their answer.
    #[getter]
    fn audits(&self) -> u64 {
        self.inner.audits
    }

    /// Of those, wrong.
    #[getter]
    fn wrong(&self) -> u64 {
        self.inner.wrong
    }

    /// Verdicts of any kind.
    #[getter]
    fn verdicts(&self) -> u64 {
        self.inner.verdicts
    }

    /// The share of wrong ones among audited hits; 0 without any.
    #[getter]
    fn error(&self) -> f64 {
        self.inner.error
    }

    /// Its 95 % interval (Wilson).
    #[getter]
    fn error_interval(&self) -> (f64, f64) {
        (self.inner.error_low, self.inner.error_high)
    }

    /// How often the world was found changed.
    #[getter]
    fn alarms(&self) -> u64 {
        self.inner.alarms
    }

    /// Whether anything but respellings may be served now.
    #[getter]
    fn open(&self) -> bool {
        self.inner.open
    }

    /// The probability from which on plain candidates are served; 1.0 where none is.
    #[getter]
    fn threshold(&self) -> f64 {
        self.inner.threshold
    }

    /// Whether it serves, and if not, why.
    #[getter]
    fn why(&self) -> &'static str {
        self.inner.why
    }

    fn __repr__(&self) -> String {
        let semantic::Report { served, audits, wrong, error_high, why, .. } = &self.inner;
        format!("SemanticReport(served={served}, audits={audits}, wrong={wrong}, error<={error_high:.4}, why={why:?})")
    }
}

/// The 95 % interval (Wilson) of a share of which `wrong` of `audits` were seen.
#[pyfunction]
#[pyo3(signature = (wrong, audits, /))]
pub(crate) fn semantic_error_interval(wrong: u64, audits: u64) -> (f64, f64) {
    semantic::error_interval(wrong, audits)
}

/// The names of the features, in order.
#[pyfunction]
pub(crate) fn _semantic_feature_names() -> Vec<&'static str> {
    NAMES.to_vec()
}

/// For training: the features of pairs of texts, with how rare words are among `stored`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // as pyo3 hands it over
pub(crate) fn _semantic_features(
    py: Python<'_>,
    pairs: Vec<(String, String)>,
    stored: Vec<String>,
) -> PyResult<Vec<Vec<f32>>> {
    guard(py, || {
        let mut decision = semantic::Decision::new(1.0, 0.0, 0, "other").map_err(|error| to_python(py, &error))?;
        for text in &stored {
            decision.stored(&semantic::Profile::of(text));
        }
        let features = |(query, text): &(String, String)| {
            decision.features(&semantic::Profile::of(query), &semantic::Profile::of(text)).to_vec()
        };
        Ok(pairs.iter().map(features).collect())
    })
}

/// For training: the hashes of a text's stems.
#[pyfunction]
pub(crate) fn _semantic_stems(text: &str) -> Vec<u32> {
    semantic::Profile::of(text).stems().collect()
}
