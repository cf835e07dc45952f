//! Doubly linked lists of slot numbers that share one table of links: the order of use, the buckets of the timer wheel.
//!
//! The first links belong to the lists themselves and close each of them to a ring, so that no step asks for an end.

/// No slot.
pub const NIL: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    older: u32,
    newer: u32,
}

/// A fixed number of lists; a slot is in one of them or in none. Every operation is O(1).
#[derive(Debug, Clone)]
pub(super) struct Lists {
    links: Vec<Link>,
    count: u32,
}

impl Lists {
    /// `count` empty lists.
    pub(super) fn new(count: u32) -> Self {
        Self { links: (0..count).map(|list| Link { older: list, newer: list }).collect(), count }
    }

    /// The slot that has been in `list` longest.
    #[inline]
    pub(super) fn oldest(&self, list: u32) -> Option<u32> {
        self.slot(self.links[list as usize].newer)
    }

    /// The slot after `slot` towards the newest end of its list.
    #[inline]
    pub(super) fn newer(&self, slot: u32) -> Option<u32> {
        self.slot(self.links[(slot + self.count) as usize].newer)
    }

    /// The oldest of `list` that is not `spare`.
    #[inline]
    pub(super) fn oldest_but(&self, list: u32, spare: u32) -> Option<u32> {
        let oldest = self.oldest(list)?;
        if oldest == spare { self.newer(oldest) } else { Some(oldest) }
    }

    /// Adds `slot`, which is in no list, at the newest end.
    #[inline]
    pub(super) fn push_newest(&mut self, list: u32, slot: u32) {
        let newest = self.links[list as usize].older;
        self.put(slot, Link { older: newest, newer: list });
    }

    #[inline]
    fn put(&mut self, slot: u32, link: Link) {
        let node = slot + self.count;
        while self.links.len() <= node as usize {
            self.links.push(Link { older: node, newer: node });
        }
        self.links[node as usize] = link;
        self.links[link.older as usize].newer = node;
        self.links[link.newer as usize].older = node;
    }

    /// Takes `slot` out of the list it is in.
    #[inline]
    pub(super) fn unlink(&mut self, slot: u32) {
        let Link { older, newer } = self.links[(slot + self.count) as usize];
        self.links[older as usize].newer = newer;
        self.links[newer as usize].older = older;
    }

    /// Moves `slot`, which is in `list` or in another one, to the newest end of `list`.
    #[inline]
    pub(super) fn touch(&mut self, list: u32, slot: u32) {
        if self.links[list as usize].older != slot + self.count {
            self.unlink(slot);
            self.push_newest(list, slot);
        }
    }

    /// The slots of `list`, oldest first.
    pub(super) fn oldest_first(&self, list: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(self.oldest(list), |&slot| self.newer(slot))
    }

    /// Of memory, whatever the allocator adds.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.links.as_slice())
    }

    #[inline]
    fn slot(&self, node: u32) -> Option<u32> {
        (node >= self.count).then(|| node - self.count)
    }
}
