//! Where keys and values go that leave the cache.

/// Keys and values that left the cache, to be dropped where the caller likes. One entry is the usual case: it needs no
/// allocation.
#[derive(Debug)]
#[allow(clippy::box_collection)] // a vector would be three words, and a call to drop
pub struct Displaced<K, V> {
    key: Option<K>,
    value: Option<V>,
    rest: Option<Box<More<K, V>>>,
}

type More<K, V> = Vec<(Option<K>, V)>;

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

    /// Calls `work` with each value, and its key where that left too.
    #[inline]
    pub fn for_each(self, mut work: impl FnMut(Option<K>, V)) {
        let Self { key, value, rest } = self;
        if let Some(value) = value {
            work(key, value);
        }
        if let Some(rest) = rest {
            rest.into_iter().for_each(|(key, value)| work(key, value));
        }
    }
}

impl<K, V> Default for Displaced<K, V> {
    fn default() -> Self {
        Self::new()
    }
}
