//! Monotonic time in nanoseconds: the coarse clock (6 ns a reading against 26, a few milliseconds late) or one the user brings.

#![allow(unsafe_code)]

use pyo3::prelude::*;
use sparecall_core::error::Error;

const NANOSECONDS: f64 = 1e9;

/// Where a word takes the time from.
pub(crate) enum Clock {
    Coarse,
    /// A callable that returns seconds as a float. It is Python code: call it before any lock is taken.
    Injected(Py<PyAny>),
}

/// A reading, or the promise that the coarse clock may be read at any time, under a lock too.
#[derive(Clone, Copy)]
pub(crate) struct Now(Option<u64>);

impl Clock {
    /// The coarse clock, or the callable given.
    pub(crate) fn given(clock: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        match clock {
            None => Ok(Self::Coarse),
            Some(clock) if clock.is_callable() => Ok(Self::Injected(clock.unbind())),
            Some(clock) => Err(crate::error::wrong_type("clock", "a callable that returns seconds", &clock)),
        }
    }

    #[inline]
    pub(crate) fn read(&self, py: Python<'_>) -> PyResult<Now> {
        match self {
            Self::Coarse => Ok(Now(None)),
            Self::Injected(clock) => Self::call(py, clock),
        }
    }

    #[cold]
    fn call(py: Python<'_>, clock: &Py<PyAny>) -> PyResult<Now> {
        let seconds: f64 = clock.bind(py).call0()?.extract()?;
        if !(seconds.is_finite() && seconds >= 0.0) {
            return Err(refuse(py, "the clock's time", seconds, "a clock returns seconds, finite and not negative"));
        }
        Ok(Now(Some((seconds * NANOSECONDS).round() as u64)))
    }

    /// Nanoseconds of a clock that outlives the process: since 1970, or the injected clock's own.
    pub(crate) fn wall(&self, py: Python<'_>) -> PyResult<u64> {
        match self.read(py)? {
            Now(Some(nanoseconds)) => Ok(nanoseconds),
            Now(None) => Ok(std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64)),
        }
    }
}

impl Now {
    #[inline]
    pub(crate) fn nanoseconds(self) -> u64 {
        self.0.unwrap_or_else(coarse)
    }
}

/// A length of time as nanoseconds; infinity becomes `u64::MAX`, and nothing above zero becomes zero.
pub(crate) fn duration(py: Python<'_>, name: &'static str, seconds: f64) -> PyResult<u64> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(refuse(py, name, seconds, "give seconds from 0 up, or inf for no end"));
    }
    Ok((seconds * NANOSECONDS).ceil() as u64)
}

fn refuse(py: Python<'_>, name: &'static str, seconds: f64, limit: &str) -> PyErr {
    let error = Error::InvalidArgument { name, value: seconds.to_string(), limit: limit.to_owned() };
    crate::error::to_python(py, &error)
}

/// Seconds of the precise clock, as Python's `time.monotonic` has them. 26 ns.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn monotonic() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec * 1_000_000_000 + time.tv_nsec) as f64 * 1e-9
}

/// Seconds of a precise clock: only where Python's own cannot be asked for.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn monotonic() -> f64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_secs_f64()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn coarse() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to; this clock exists on every Linux since 2.6.32.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn coarse() -> u64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_nanos() as u64
}
