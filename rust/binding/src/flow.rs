//! `sparecall.flow`: what a limit decides for each call. What waits, and what is rare, is Python's.

mod awaited;
mod breaker;
mod gate;
mod gcra;
mod gradient;
mod held;
mod lease;
mod window;

use pyo3::prelude::*;

pub(crate) use awaited::Done;
pub(crate) use breaker::{BreakerGate, Permit};
pub(crate) use gate::RateGate;
pub(crate) use gcra::Gcra;
pub(crate) use gradient::Gradient;
pub(crate) use lease::Lease;
pub(crate) use window::Window;

/// Puts fast functions in the place of those that every call takes.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    breaker::install(py)?;
    gate::install(py)?;
    lease::install(py)?;
    awaited::install(py)
}
