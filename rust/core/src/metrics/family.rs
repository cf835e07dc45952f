//! A family: one name, one kind, one list of labels, and its series by their label values.

use std::collections::HashMap;
use std::sync::Arc;

use super::series::{Histogram, Scalar, Series, check_bounds};
use crate::error::{Error, Result};

/// Every label value of the series that takes what exceeds a bound.
pub const OTHER: &str = "other";

/// A label value longer than this, in bytes, counts as [`OTHER`]: series are bounded in size as in number.
const MAX_VALUE: usize = 256;

/// Between the values in a key; never part of UTF-8, so that no two lists of values share a key.
const SEPARATOR: u8 = 0xff;

/// What the series of a family are.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram { buckets: Vec<f64> },
}

impl Kind {
    /// As Prometheus writes it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram { .. } => "histogram",
        }
    }

    pub(super) fn checked(self) -> Result<Self> {
        match self {
            Self::Histogram { buckets } => Ok(Self::Histogram { buckets: check_bounds(buckets)? }),
            scalar => Ok(scalar),
        }
    }

    fn series(&self) -> Series {
        match self {
            Self::Counter | Self::Gauge => Series::Scalar(Arc::new(Scalar::default())),
            Self::Histogram { buckets } => Series::Histogram(Arc::new(Histogram::new(buckets))),
        }
    }
}

/// Series under one name.
#[derive(Debug)]
pub struct Family {
    kind: Kind,
    name: String,
    help: String,
    labels: Vec<String>,
    max_series: usize,
    /// By label values joined by [`SEPARATOR`].
    series: HashMap<Box<[u8]>, Series>,
    /// Reused for the key of each look-up.
    key: Vec<u8>,
}

impl Family {
    pub(super) fn new(kind: Kind, name: &str, help: &str, labels: &[String], max_series: usize) -> Self {
        let (name, help) = (name.to_owned(), help.to_owned());
        let mut family =
            Self { kind, name, help, labels: labels.to_vec(), max_series, series: HashMap::new(), key: Vec::new() };
        if labels.is_empty() {
            family.series.insert(Box::default(), family.kind.series()); // there is only this one: show it from the start
        }
        family
    }

    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn help(&self) -> &str {
        &self.help
    }

    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The series of these label values, one for each label; the shared one where there are too many or one is too long.
    pub fn series<'a>(&mut self, values: impl ExactSizeIterator<Item = &'a str>) -> Result<Series> {
        if values.len() != self.labels.len() {
            let (value, labels) = (format!("{} long", values.len()), self.labels.join(", "));
            let limit = format!("give one value for each of: {labels}");
            return Err(Error::InvalidArgument { name: "the list of label values", value, limit });
        }
        self.key.clear();
        let mut fits = true;
        for value in values {
            fits &= value.len() <= MAX_VALUE;
            if fits {
                push_value(&mut self.key, value);
            }
        }
        if fits && let Some(series) = self.series.get(self.key.as_slice()) {
            return Ok(series.clone());
        }
        if !fits || self.series.len() >= self.max_series {
            self.key.clear();
            self.labels.iter().for_each(|_| push_value(&mut self.key, OTHER));
        }
        let kind = &self.kind;
        Ok(self.series.entry(self.key.as_slice().into()).or_insert_with(|| kind.series()).clone())
    }

    /// Every series with its label values, in the order of these.
    pub(super) fn sorted(&self) -> Vec<(Vec<&str>, &Series)> {
        let mut all: Vec<_> = self.series.iter().map(|(key, series)| (split(key), series)).collect();
        all.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        all
    }
}

fn push_value(key: &mut Vec<u8>, value: &str) {
    key.extend_from_slice(value.as_bytes());
    key.push(SEPARATOR);
}

/// The label values of a key. Each came from a `str`, so none is lost.
fn split(key: &[u8]) -> Vec<&str> {
    key.split_inclusive(|&byte| byte == SEPARATOR)
        .filter_map(|value| std::str::from_utf8(&value[..value.len() - 1]).ok())
        .collect()
}
