//! `sparecall._core`: the compiled module. One thin file per word: parse arguments, pick the lock, call core, wrap.

mod cache;
mod clock;
mod context;
mod digest;
mod embed;
mod error;
mod fastcall;
mod file;
mod flow;
mod frame;
mod index;
mod metrics;
mod outline;
mod queue;
mod semantic;
mod text;
mod tokens;

use pyo3::prelude::*;

/// The compiled core of sparecall. Import the faces (`sparecall.digest`, `sparecall.tokens`, `sparecall.cache`), not this module.
// `gil_used = true`: free-threaded builds are not tested yet, so the interpreter keeps its lock there.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;
    use pyo3::types::PyDict;
    use sparecall_core::cpu::{self, Level};

    #[pymodule_export]
    use crate::cache::{BytesCache, Cache, CacheStats};
    #[pymodule_export]
    use crate::context::{
        ContextBoard, ContextDocument, ContextRepeats, context_documents, context_reduce, context_same, context_select,
    };
    #[pymodule_export]
    use crate::digest::{
        _digest_inspect_work, Difference, Inspection, digest_compare, digest_inspect, digest_scope_of_key,
    };
    #[pymodule_export]
    use crate::embed::{MiniLMEmbedder, StaticEmbedder};
    #[pymodule_export]
    use crate::flow::{AdaptivePermit, BreakerGate, Done, Expected, Gcra, Lease, LimitGate, Permit, RateGate, Window};
    #[pymodule_export]
    use crate::frame::{_frame_draft, _frame_lengths, FrameDraft, FrameReader, frame_pack, frame_unpack};
    #[pymodule_export]
    use crate::index::{Matches, VectorIndex, VectorQuery};
    #[pymodule_export]
    use crate::metrics::{Counter, Family, Gauge, Histogram, Registry};
    #[pymodule_export]
    use crate::outline::{
        _outline_merge_work, _outline_work, FormerSymbol, IndexedSymbol, MergeConflict, Merged, Outline, OutlineSymbol,
        Skeleton, SymbolDiff, SymbolIndex, SymbolWords, outline_languages, outline_merge, outline_read,
    };
    #[pymodule_export]
    use crate::queue::{
        _queue_after_fork, _queue_hold, _queue_let_go, _queue_pause, Inbox, Port, QueueTicket, Work, WorkTicket,
        queue_workers,
    };
    #[pymodule_export]
    use crate::semantic::{
        _semantic_feature_names, _semantic_features, _semantic_stems, Decision, Profile, Report, Verdict,
        semantic_error_interval,
    };
    #[pymodule_export]
    use crate::tokens::encoding::{TokenEncoding, tokens_get_encoding, tokens_load_encoding};
    #[pymodule_export]
    use crate::tokens::{
        _tokens_count_many_work, _tokens_count_work, _tokens_encode, _tokens_ranks, Meter, Prefix, tokens_count,
        tokens_count_many, tokens_encodings, tokens_truncate,
    };

    /// How this module was built and what it found: `profile`, `version`, `target`, `cpu_level`.
    #[pyfunction]
    fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let info = PyDict::new(py);
        info.set_item("profile", if cfg!(debug_assertions) { "debug" } else { "release" })?;
        info.set_item("version", env!("CARGO_PKG_VERSION"))?;
        info.set_item("target", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS))?;
        info.set_item("cpu_level", cpu::level().name())?;
        Ok(info)
    }

    /// For tests: dispatch kernels on the level of that name, or on the highest this processor has where that is lower.
    #[pyfunction]
    fn _set_cpu_level(py: Python<'_>, name: &str) -> PyResult<&'static str> {
        let level = Level::from_name(name).ok_or_else(|| {
            crate::error::to_python(
                py,
                &sparecall_core::error::Error::UnknownName {
                    kind: "cpu level",
                    name: name.to_owned(),
                    known: Level::ALL.map(Level::name).join(", "),
                },
            )
        })?;
        Ok(cpu::set(level).name())
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::error::silence_panics();
        crate::flow::install(module.py())?;
        crate::cache::install_fast_methods(module.py())
    }
}
