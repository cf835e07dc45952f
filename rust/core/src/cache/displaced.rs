//! Where keys and values go that leave the cache.

/// Keys and values that left the cache, to be dropped where the caller likes.
#[derive(Debug)]
pub struct Displaced<K, V> {
    pub(super) keys: Few<K>,
    pub(super) values: Few<V>,
}

impl<K, V> Displaced<K, V> {
    pub const fn new() -> Self {
        Self { keys: Few::new(), values: Few::new() }
    }
}

impl<K, V> Default for Displaced<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// One is the usual case and needs no allocation.
#[derive(Debug)]
pub(super) struct Few<T> {
    first: Option<T>,
    rest: Vec<T>,
}

impl<T> Few<T> {
    const fn new() -> Self {
        Self { first: None, rest: Vec::new() }
    }

    #[inline]
    pub(super) fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.push(item);
        }
    }
}
