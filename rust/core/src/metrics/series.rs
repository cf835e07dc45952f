//! What is counted: a number, or a histogram. Each step is one atomic operation on a cell (two for a histogram).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// A number that several threads change: a counter, which only grows, or a gauge.
#[derive(Debug, Default)]
pub struct Scalar {
    /// The bits of an `f64`. Whole numbers are exact up to 2^53.
    bits: AtomicU64,
}

impl Scalar {
    #[inline]
    pub fn add(&self, amount: f64) {
        // Relaxed everywhere: a count orders nothing but itself.
        let mut seen = self.bits.load(Ordering::Relaxed);
        loop {
            let sum = (f64::from_bits(seen) + amount).to_bits();
            match self.bits.compare_exchange_weak(seen, sum, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }

    pub fn value(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }
}

/// Counts by bucket and the sum of what was observed.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds, ascending; the bucket without one comes last.
    bounds: Box<[f64]>,
    buckets: Box<[AtomicU64]>,
    sum: Scalar,
}

impl Histogram {
    /// `bounds` as [`check_bounds`] returns them.
    pub(super) fn new(bounds: &[f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds: bounds.into(), buckets, sum: Scalar::default() }
    }

    /// Counts `value`, which is not NaN, in the first bucket whose bound it does not exceed.
    #[inline]
    pub fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|&bound| bound < value);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum.add(value);
    }

    pub fn sum(&self) -> f64 {
        self.sum.value()
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// Bounds with the count of everything up to each; the last bound is infinity.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.buckets.iter()).scan(0, |total, (bound, bucket)| {
            *total += bucket.load(Ordering::Relaxed);
            Some((bound, *total))
        })
    }
}

/// Bucket bounds as they are kept: ascending, finite; an infinity at the end is implied and dropped.
pub(super) fn check_bounds(mut bounds: Vec<f64>) -> Result<Vec<f64>> {
    if bounds.last() == Some(&f64::INFINITY) {
        bounds.pop();
    }
    if bounds.iter().all(|bound| bound.is_finite()) && bounds.is_sorted_by(|one, next| one < next) {
        return Ok(bounds);
    }
    let limit = "give finite bounds, each above the one before".to_owned();
    Err(Error::InvalidArgument { name: "buckets", value: format!("{bounds:?}"), limit })
}

/// One series of a family. Cloning shares it.
#[derive(Debug, Clone)]
pub enum Series {
    Scalar(Arc<Scalar>),
    Histogram(Arc<Histogram>),
}
