//! Caches into files and back, in pieces small enough that nobody waits for the interpreter.

use std::path::Path as FilePath;

use pyo3::prelude::*;
use sparecall_core::cache::snapshot::{Encoder, Form, Record, Snapshot};
use sparecall_core::cache::{Cost, Key, NEVER, Path, StoredKey};
use sparecall_core::error::Error;

use super::guarded::Guarded;
use super::state::{Settings, State};
use crate::error::{guard, to_python};
use crate::file::{self, Replacement};

/// What is read under one lock, or stored without a pause: so many entries.
pub(super) const AT_ONCE: usize = 256;
/// A piece of the file that is written without the interpreter.
const PIECE: usize = 1 << 18;

/// An entry that was read for a file.
pub(super) struct Kept<T> {
    item: T,
    tags: Vec<StoredKey>,
    weight: u64,
    cost: Cost,
    remaining: u64,
    memory: u8,
}

/// Writes every live entry to `path`. `read` takes what it needs of an entry under the lock; `show` makes bytes of it and
/// hands key, kind of value and value on.
pub(super) fn save<K: Path, V, T: Send>(
    py: Python<'_>,
    guarded: &Guarded<State<K, V>>,
    settings: &Settings,
    (path, form): (&FilePath, Form),
    read: impl Fn(&K, &V) -> T,
    show: impl Fn(&T, &mut dyn FnMut(Key<'_>, u8, &[u8])) -> PyResult<()>,
) -> PyResult<()> {
    let failed = |error| file::to_python(&error, path);
    let saved_at = settings.clock.wall(py)?;
    let order = guarded.with(py, |state| state.cache.order())?;
    let (order, file) = py.detach(|| (order(), Replacement::create(path)));
    let mut file = file.map_err(failed)?;
    let mut encoder = Encoder::new(form, saved_at);
    let mut size = 0;
    for slots in order.chunks(AT_ONCE) {
        let now = settings.clock.read(py)?.nanoseconds();
        let kept = guarded.with(py, |state| keep(state, slots, now, &read))?;
        for Kept { item, tags, weight, cost, remaining, memory } in &kept {
            let tags: Vec<Key<'_>> = tags.iter().map(StoredKey::as_key).collect();
            show(item, &mut |key, value_kind, value| {
                size += value.len();
                let record = Record {
                    key,
                    value_kind,
                    value,
                    memory: *memory,
                    weight: *weight,
                    cost: *cost,
                    remaining: *remaining,
                    tags: tags.clone(),
                };
                if value.len() > PIECE {
                    py.detach(|| encoder.push(&record));
                } else {
                    encoder.push(&record);
                }
            })?;
            if size > PIECE {
                size = 0;
                py.detach(|| file.write(&encoder.take())).map_err(failed)?;
            }
        }
        py.detach(std::thread::yield_now);
    }
    py.detach(|| {
        file.write(&encoder.finish())?;
        file.commit()
    })
    .map_err(failed)
}

/// Reads the live entries in `slots`: others may have come there since their order was read.
fn keep<K: Path, V, T>(state: &State<K, V>, slots: &[u32], now: u64, read: impl Fn(&K, &V) -> T) -> Vec<Kept<T>> {
    let entries = slots.iter().filter_map(|&slot| Some((slot, state.cache.entry(slot, now)?)));
    entries
        .map(|(slot, entry)| Kept {
            item: read(entry.key, entry.value),
            tags: state.cache.tags(slot).map(StoredKey::new).collect(),
            weight: entry.weight,
            cost: entry.cost,
            remaining: if entry.expires_at == NEVER { NEVER } else { entry.expires_at - now },
            memory: entry.memory,
        })
        .collect()
}

/// Reads the file `path`, and calls `each` with the records that are alive, in their order, when all of it has been found
/// good.
pub(super) fn load<R>(
    py: Python<'_>,
    settings: &Settings,
    (path, form): (&FilePath, Form),
    each: impl FnOnce(&mut dyn Iterator<Item = Record<'_>>) -> PyResult<R>,
) -> PyResult<R> {
    let bytes = py.detach(|| std::fs::read(path)).map_err(|error| file::to_python(&error, path))?;
    let wall_now = settings.clock.wall(py)?;
    let snapshot = guard(py, || py.detach(|| Snapshot::open(&bytes, form)).map_err(|error| to_python(py, &error)))?;
    let result = each(&mut snapshot.records(wall_now));
    py.detach(|| drop(bytes));
    result
}

/// For a file whose checksum is right and whose contents are not.
pub(super) fn forged(py: Python<'_>) -> PyErr {
    to_python(py, &Error::Snapshot { what: "a record holds what no cache would have saved" })
}
