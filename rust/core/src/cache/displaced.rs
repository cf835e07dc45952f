//! Where keys and values go that leave the cache.

/// Keys and values that left the cache, to be dropped where the caller likes. One entry is the usual case: it needs no
/// allocation.
#[derive(Debug)]
#[allow(clippy::box_collection)] // a vector would be three words, and a call to drop
pub struct Displaced<K, V> {
    key: Option<K>,
    value: Option<V>,
    rest: Option<Box<Vec<(Option<K>, V)>>>,
}

impl<K, V> Displaced<K, V> {
    #[inline]
    pub const fn new() -> Self {
        Self { key: None, value: None, rest: None }
    }

    /// Takes a value, and its key where that left too.
    #[inline]
    pub(super) fn push(&mut self, key: Option<K>, value: V) {
        if self.value.is_none() {
            self.key = key;
            self.value = Some(value);
        } else {
            self.push_more(key, value);
        }
    }

    #[cold]
    fn push_more(&mut self, key: Option<K>, value: V) {
        self.rest.get_or_insert_default().push((key, value));
    }

    /// Drops what there is: where there is nothing, without a look at each part.
    #[inline]
    pub fn settle(self) {
        if self.value.is_none() {
            std::mem::forget(self);
        }
    }
}

impl<K, V> Default for Displaced<K, V> {
    fn default() -> Self {
        Self::new()
    }
}
