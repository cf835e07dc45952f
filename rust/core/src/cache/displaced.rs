//! Where keys and values go that leave the cache.

/// Keys and values that left the cache, to be dropped where the caller likes.
#[derive(Debug)]
pub struct Displaced<K, V> {
    pub(super) keys: Few<K>,
    pub(super) values: Few<V>,
}

impl<K, V> Displaced<K, V> {
    #[inline]
    pub const fn new() -> Self {
        Self { keys: Few::new(), values: Few::new() }
    }

    /// Drops what there is: where there is nothing, without a look at each part.
    #[inline]
    pub fn settle(self) {
        if self.values.first.is_none() && self.keys.first.is_none() {
            std::mem::forget(self);
        }
    }
}

impl<K, V> Default for Displaced<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// None or one is the usual case: it needs no allocation, and two words are looked at when it is dropped.
#[derive(Debug)]
#[allow(clippy::box_collection)] // a vector is three words and a call to drop
pub(super) struct Few<T> {
    first: Option<T>,
    rest: Option<Box<Vec<T>>>,
}

impl<T> Few<T> {
    #[inline]
    const fn new() -> Self {
        Self { first: None, rest: None }
    }

    #[inline]
    pub(super) fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.get_or_insert_default().push(item);
        }
    }
}
