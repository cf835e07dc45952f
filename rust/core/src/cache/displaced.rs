//! Where values go that leave the cache.

/// Values that left the cache, to be dropped where the caller likes. One is the usual case and needs no allocation.
#[derive(Debug)]
pub struct Displaced<V> {
    first: Option<V>,
    rest: Vec<V>,
}

impl<V> Displaced<V> {
    pub const fn new() -> Self {
        Self { first: None, rest: Vec::new() }
    }

    pub(super) fn push(&mut self, value: V) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.rest.push(value);
        }
    }

    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl<V> Default for Displaced<V> {
    fn default() -> Self {
        Self::new()
    }
}
