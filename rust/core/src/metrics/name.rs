//! Which names Prometheus allows.

use super::Kind;
use crate::error::{Error, Result};

pub(super) fn check_metric(name: &str) -> Result<()> {
    if is_name(name, b":_") {
        return Ok(());
    }
    refuse("name", name, "a metric is named by letters, digits, _ and :, and does not start with a digit")
}

pub(super) fn check_labels(labels: &[String], kind: &Kind) -> Result<()> {
    for (at, label) in labels.iter().enumerate() {
        if !is_name(label, b"_") || label.starts_with("__") {
            return refuse(
                "label",
                label,
                "a label is named by letters, digits and _, and starts with a letter or one _",
            );
        }
        if label == "le" && matches!(kind, Kind::Histogram { .. }) {
            return refuse("label", label, "a histogram writes that label itself");
        }
        if labels[..at].contains(label) {
            return refuse("label", label, "a label is named once");
        }
    }
    Ok(())
}

fn is_name(name: &str, beside_letters: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || beside_letters.contains(byte);
    name.as_bytes().first().is_some_and(|first| !first.is_ascii_digit()) && name.as_bytes().iter().all(allowed)
}

fn refuse(name: &'static str, value: &str, limit: &str) -> Result<()> {
    Err(Error::InvalidArgument { name, value: format!("{value:?}"), limit: limit.to_owned() })
}
