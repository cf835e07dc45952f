//! The computing core of sparecall: data structures and pure functions.
//!
//! Nothing here knows Python, threads or a clock: callers hold `&mut` (but for `queue`, which lies between threads) and pass `now`.
//! One module per word of the design; the binding, the stub, the Python module, the tests and the docs page carry the same word.

pub mod cache;
pub mod context;
pub mod cpu;
pub mod digest;
pub mod error;
pub mod flow;
pub mod frame;
pub mod index;
pub mod metrics;
pub mod queue;
pub mod semantic;
pub mod tokens;
