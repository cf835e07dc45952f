//! `StaticEmbedder`: its model is mapped from the package once, and every instance shares it.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fs::File;
use std::path::PathBuf;
use std::sync::OnceLock;

use memmap2::Mmap;
use pyo3::prelude::*;
use sparecall_core::error::{Error, Result};
use sparecall_embed::statics::{DIM, Scratch, Statics};

use super::{array, held, objects, views};
use crate::error::{guard, to_python};
use crate::queue::Work;

/// Bytes of text, and texts, above which the interpreter is let go: half a millisecond.
const DETACH_ABOVE: usize = 20_000;
const DETACH_TEXTS_ABOVE: usize = 250;
/// Nanoseconds that a byte and a text are predicted to take.
const BYTE: f64 = 25.0;
const TEXT: f64 = 2_000.0;

/// The model's file in the package, checked; the first call maps it for good.
fn shipped(py: Python<'_>) -> PyResult<&'static Statics<'static>> {
    static MODEL: OnceLock<Result<Statics<'static>>> = OnceLock::new();
    let package = PyModule::import(py, "sparecall")?.getattr("__file__")?.extract::<PathBuf>()?;
    let model = py.detach(|| MODEL.get_or_init(|| map(package.with_file_name("static.bin"))).as_ref());
    model.map_err(|error| to_python(py, error))
}

fn map(file: PathBuf) -> Result<Statics<'static>> {
    let corrupt = |_| Error::Corrupt { what: "the static embedder's model" };
    let file = File::open(file).map_err(corrupt)?;
    // SAFETY: the file is a part of the installed package, as this library is; installers put new files in place of old ones.
    let mapped = unsafe { Mmap::map(&file) }.map_err(corrupt)?;
    Statics::read(Box::leak(Box::new(mapped)))
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The default embedder: unit sums of token vectors regressed onto all-MiniLM-L6-v2.
#[pyclass(frozen, subclass, module = "sparecall.embed")]
pub(crate) struct StaticEmbedder {
    model: &'static Statics<'static>,
}

#[pymethods]
impl StaticEmbedder {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        Ok(Self { model: shipped(py)? })
    }

    /// How many numbers a vector has.
    #[getter]
    #[allow(clippy::unused_self)] // an attribute of the instance, as with other embedders
    fn dim(&self) -> usize {
        DIM
    }

    /// The vectors of `texts`, a row each.
    fn embed<'py>(&self, py: Python<'py>, texts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        guard(py, || {
            let objects = objects(texts)?;
            let (views, length) = views(&objects)?;
            let mut values = vec![0.0; views.len() * DIM];
            let mut work = || {
                SCRATCH.with_borrow_mut(|scratch| {
                    for (text, row) in views.iter().zip(values.chunks_exact_mut(DIM)) {
                        self.model.embed(&text.utf8(), scratch, row);
                    }
                });
            };
            if length > DETACH_ABOVE || views.len() > DETACH_TEXTS_ABOVE {
                py.detach(work);
            } else {
                work();
            }
            array(py, views.len(), DIM, &values)
        })
    }

    /// `embed` as work for the workers.
    fn _embed_work(&self, texts: &Bound<'_, PyAny>) -> PyResult<Work> {
        let (texts, length) = held(texts)?;
        let model = self.model;
        let seconds = (BYTE * length as f64 + TEXT * texts.len() as f64) / 1e9;
        let work = move || {
            let mut values = vec![0.0; texts.len() * DIM];
            SCRATCH.with_borrow_mut(|scratch| {
                for (text, row) in texts.iter().zip(values.chunks_exact_mut(DIM)) {
                    model.embed(&text.text().utf8(), scratch, row);
                }
            });
            values
        };
        let finish = |py: Python<'_>, values: Vec<f32>| array(py, values.len() / DIM, DIM, &values).map(Bound::unbind);
        Ok(Work::new(seconds, work, finish))
    }

    #[allow(clippy::unused_self)]
    fn __repr__(&self) -> String {
        format!("StaticEmbedder(dim={DIM})")
    }
}
