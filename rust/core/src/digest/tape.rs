//! The flat tape a document is read into: nodes in document order, plus the few bytes that had to be rewritten.

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Null,
    False,
    True,
    Number,
    String,
    Array,
    Object,
}

/// One value. Object members are a string node (the key) followed by the value's nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// The bytes stand in `Scratch::decoded`, not in the body: the body spelled them another way.
    pub(super) decoded: bool,
    /// Where the value starts in the body.
    pub(super) at: u32,
    /// Strings and numbers: their canonical bytes, `start..end`. Objects: their slice of `Scratch::order`. Arrays: `end` counts the items.
    pub(super) start: u32,
    pub(super) end: u32,
    /// The node after this value and all it holds.
    pub(super) next: u32,
}

/// Above this a scratch gives its memory back, so that one huge body does not stay paid for.
const KEPT_BYTES: usize = 4 << 20;

/// The reusable memory of one reader: a warm one allocates nothing for a document.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) nodes: Vec<Node>,
    /// Key nodes of each object, sorted by their bytes.
    pub(super) order: Vec<u32>,
    /// Unescaped strings and respelled numbers.
    pub(super) decoded: Vec<u8>,
    /// What waits for the hasher.
    pub(super) pending: Vec<u8>,
}

impl Scratch {
    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.order.clear();
        self.decoded.clear();
    }

    /// Forgets the document, and the memory too where it is much.
    pub(super) fn trim(&mut self) {
        let held = self.nodes.capacity() * size_of::<Node>() + self.order.capacity() * 4 + self.decoded.capacity();
        if held > KEPT_BYTES {
            *self = Self::default();
        }
    }
}

/// A document that was read: the body and its tape.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) body: &'a [u8],
    pub(super) nodes: &'a [Node],
    pub(super) order: &'a [u32],
    pub(super) decoded: &'a [u8],
}

impl<'a> Document<'a> {
    /// The document's own value.
    pub(super) const ROOT: u32 = 0;

    pub(super) fn node(self, index: u32) -> Node {
        self.nodes[index as usize]
    }

    /// The canonical bytes of a string (WTF-8) or number.
    #[inline]
    pub(super) fn bytes(self, node: Node) -> &'a [u8] {
        bytes(self.body, self.decoded, node)
    }

    /// The members of an object, keys and the indices of their values, in canonical order.
    #[inline]
    pub(super) fn members(self, object: Node) -> impl ExactSizeIterator<Item = (&'a [u8], u32)> + Clone {
        let keys = &self.order[object.start as usize..object.end as usize];
        keys.iter().map(move |&key| (self.bytes(self.node(key)), key + 1))
    }

    /// The indices of an array's items; `array` is the index of its node.
    pub(super) fn items(self, array: u32) -> impl Iterator<Item = u32> {
        let end = self.node(array).next;
        let mut item = array + 1;
        std::iter::from_fn(move || {
            let current = item;
            (current < end).then(|| {
                item = self.node(current).next;
                current
            })
        })
    }
}

/// The canonical bytes of a string or number node.
#[inline]
pub(super) fn bytes<'a>(body: &'a [u8], decoded: &'a [u8], node: Node) -> &'a [u8] {
    let source = if node.decoded { decoded } else { body };
    &source[node.start as usize..node.end as usize]
}
