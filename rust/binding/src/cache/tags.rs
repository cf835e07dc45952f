//! Names of tags, and path prefixes, as core sees them.

use pyo3::prelude::*;
use pyo3::types::PyString;
use sparecall_core::cache::{Characters, Key, StoredKey};
use sparecall_core::error::Error;

use super::key;
use crate::error::{to_python, wrong_type};

/// What a tag weighs in a `BytesCache` beside its name.
pub(super) const TAG_WEIGHT: u64 = 32;

/// The tags of an entry, read from an iterable of str. Runs Python code.
#[inline]
pub(super) fn parse(tags: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(u32, StoredKey)>> {
    let Some(tags) = tags else { return Ok(Vec::new()) };
    if tags.is_instance_of::<PyString>() {
        return Err(wrong_type("tags", "an iterable of str; put a single one into a tuple", tags));
    }
    tags.try_iter()?.map(|tag| one(&tag?, |hash, name| (hash, StoredKey::new(name)))).collect()
}

/// Calls `work` with the hash and the memory of a name.
pub(super) fn one<R>(tag: &Bound<'_, PyAny>, work: impl FnOnce(u32, Key<'_>) -> R) -> PyResult<R> {
    if !tag.is_exact_instance_of::<PyString>() {
        return Err(wrong_type("a tag", "exactly str", tag));
    }
    let (hash, name) = key::parse(tag)?;
    Ok(work(hash, name))
}

/// Calls `work` with a prefix of paths.
pub(super) fn prefix<R>(prefix: &Bound<'_, PyAny>, work: impl FnOnce(Characters<'_>) -> R) -> PyResult<R> {
    let Ok(text) = prefix.cast_exact::<PyString>() else { return Err(wrong_type("prefix", "exactly str", prefix)) };
    let path = key::text(text)?;
    let Some(characters) = path.characters().filter(|_| !path.bytes.is_empty()) else {
        let limit = "an empty prefix names no path: use clear() to remove every entry".to_owned();
        let error = Error::InvalidArgument { name: "prefix", value: "''".to_owned(), limit };
        return Err(to_python(prefix.py(), &error));
    };
    Ok(work(characters))
}

/// What the tags add to the weight of an entry in a `BytesCache`.
pub(super) fn weight(tags: &[(u32, StoredKey)]) -> u64 {
    tags.iter().map(|(_, name)| TAG_WEIGHT + name.as_key().bytes.len() as u64).sum()
}

/// The tags of an entry in a file.
pub(super) fn restore(py: Python<'_>, tags: &[Key<'_>]) -> PyResult<Vec<(u32, StoredKey)>> {
    tags.iter().map(|&tag| one(&key::restore(py, tag)?, |hash, name| (hash, StoredKey::new(name)))).collect()
}
