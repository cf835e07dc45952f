//! What a cache leaves behind when it goes. A chain of caches that hold each other must not take a stack frame for each.

use std::cell::{Cell, RefCell};

use pyo3::prelude::*;
use sparecall_core::cache::Displaced;

use super::object_cache::Cache;
use super::object_key::ObjectKey;

type Entries = Displaced<ObjectKey, Py<PyAny>>;

/// How many caches may go inside one another's going; the entries of the next wait until the outermost is done.
const DEPTH: u32 = 50;

thread_local! {
    static DEEP: Cell<u32> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Entries>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Cache {
    fn drop(&mut self) {
        Python::attach(|py| {
            let mut displaced = Displaced::new();
            if self.state.with(py, |state| state.cache.clear(&mut displaced)).is_ok() {
                leave(displaced);
            }
        });
    }
}

/// Drops `entries`, now or a little later.
fn leave(entries: Entries) {
    let deep = DEEP.get();
    if deep == DEPTH {
        WAITING.with_borrow_mut(|waiting| waiting.push(entries));
        return;
    }
    DEEP.set(deep + 1);
    drop(entries);
    if deep == 0 {
        // One at a time: dropping it may add others.
        while let Some(entries) = WAITING.with_borrow_mut(Vec::pop) {
            drop(entries);
        }
    }
    DEEP.set(deep);
}
