//! The order of use: a doubly linked list of slot numbers, kept beside the slots.

/// No slot.
pub(super) const NIL: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    older: u32,
    newer: u32,
}

/// Least recently used at one end, most recently used at the other. Every operation is O(1).
#[derive(Debug)]
pub(super) struct Order {
    links: Vec<Link>,
    oldest: u32,
    newest: u32,
}

impl Order {
    pub(super) const fn new() -> Self {
        Self { links: Vec::new(), oldest: NIL, newest: NIL }
    }

    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NIL).then_some(self.oldest)
    }

    /// Adds `index`, which is not in the list and at most one past the highest ever added.
    pub(super) fn push_newest(&mut self, index: u32) {
        let link = Link { older: self.newest, newer: NIL };
        if index as usize == self.links.len() {
            self.links.push(link);
        } else {
            self.links[index as usize] = link;
        }
        match self.newest {
            NIL => self.oldest = index,
            newest => self.links[newest as usize].newer = index,
        }
        self.newest = index;
    }

    pub(super) fn unlink(&mut self, index: u32) {
        let Link { older, newer } = self.links[index as usize];
        match older {
            NIL => self.oldest = newer,
            older => self.links[older as usize].newer = newer,
        }
        match newer {
            NIL => self.newest = older,
            newer => self.links[newer as usize].older = older,
        }
    }

    #[inline]
    pub(super) fn touch(&mut self, index: u32) {
        if self.newest != index {
            self.unlink(index);
            self.push_newest(index);
        }
    }

    pub(super) fn oldest_first(&self) -> impl Iterator<Item = u32> {
        std::iter::successors(self.oldest(), |&index| {
            let newer = self.links[index as usize].newer;
            (newer != NIL).then_some(newer)
        })
    }
}
