//! Counters for a hot path and their Prometheus text: families of series that share a name, told apart by label values.
//!
//! A caller asks a family for a series once and keeps it; counting is then one atomic operation, and the text is made
//! when somebody asks for it. Series are bounded per family: past the bound, new label values share one series whose
//! labels are all [`OTHER`].

mod family;
mod name;
mod series;
mod text;

use std::collections::BTreeMap;

pub use family::{Family, Kind, OTHER};
pub use series::{Histogram, Scalar, Series};

use crate::error::{Error, Result};

/// Families by name.
#[derive(Debug)]
pub struct Registry {
    families: Vec<Family>,
    by_name: BTreeMap<String, usize>,
    max_series: usize,
}

impl Registry {
    /// An empty registry. Each family holds at most `max_series` series and the [`OTHER`] one.
    pub const fn new(max_series: usize) -> Self {
        Self { families: Vec::new(), by_name: BTreeMap::new(), max_series }
    }

    /// Families registered.
    pub fn len(&self) -> usize {
        self.families.len()
    }

    pub fn is_empty(&self) -> bool {
        self.families.is_empty()
    }

    pub const fn max_series(&self) -> usize {
        self.max_series
    }

    /// The number by which [`Self::family`] knows the family. The same name and shape again is the same family (its first
    /// help text stays); another shape under the name is an error, and so is a name that another family's text uses.
    pub fn register(&mut self, kind: Kind, name: &str, help: &str, labels: &[String]) -> Result<usize> {
        name::check_metric(name)?;
        name::check_labels(labels, &kind)?;
        let kind = kind.checked()?;
        if let Some(&index) = self.by_name.get(name) {
            let known = &self.families[index];
            if known.kind() == &kind && known.labels() == labels {
                return Ok(index);
            }
            let limit = "it is registered with another kind, other labels or other buckets: give it another name";
            return Err(Error::InvalidArgument { name: "name", value: name.to_owned(), limit: limit.to_owned() });
        }
        if let Some(taken) = self.taken(name, &kind) {
            let limit = format!("its text would mix with that of {taken:?}: give it another name");
            return Err(Error::InvalidArgument { name: "name", value: name.to_owned(), limit });
        }
        self.families.push(Family::new(kind, name, help, labels, self.max_series));
        self.by_name.insert(name.to_owned(), self.families.len() - 1);
        Ok(self.families.len() - 1)
    }

    /// A family by the number [`Self::register`] gave it.
    pub fn family(&mut self, index: usize) -> &mut Family {
        &mut self.families[index]
    }

    /// Every series as Prometheus text format 0.0.4: families by name, series by label values.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for &index in self.by_name.values() {
            text::write_family(&mut out, &self.families[index]);
        }
        out
    }

    /// A family whose lines would carry names that a histogram `name` writes, or the other way round.
    fn taken(&self, name: &str, kind: &Kind) -> Option<&str> {
        const SUFFIXES: [&str; 3] = ["_bucket", "_count", "_sum"];
        let as_histogram = |name: &str, other: &str| {
            SUFFIXES.iter().any(|suffix| other.strip_prefix(name).is_some_and(|rest| rest == *suffix))
        };
        let clashes = |family: &&Family| {
            (matches!(kind, Kind::Histogram { .. }) && as_histogram(name, family.name()))
                || (matches!(family.kind(), Kind::Histogram { .. }) && as_histogram(family.name(), name))
        };
        self.families.iter().find(clashes).map(Family::name)
    }
}
