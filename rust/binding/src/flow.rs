//! `sparecall.flow`: what a limit decides for each call. What waits, and what is rare, is Python's.

mod adaptive_limit;
mod adaptive_permit;
mod awaited;
mod breaker;
mod expected;
mod gate;
mod gcra;
mod held;
mod lease;
mod window;

use pyo3::prelude::*;

pub(crate) use adaptive_limit::LimitGate;
pub(crate) use adaptive_permit::AdaptivePermit;
pub(crate) use awaited::Done;
pub(crate) use breaker::{BreakerGate, Permit};
pub(crate) use expected::Expected;
pub(crate) use gate::RateGate;
pub(crate) use gcra::Gcra;
pub(crate) use lease::Lease;
pub(crate) use window::Window;

/// Puts fast functions in the place of those that every call takes.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    adaptive_limit::install(py)?;
    adaptive_permit::install(py)?;
    breaker::install(py)?;
    gate::install(py)?;
    lease::install(py)?;
    awaited::install(py)
}
